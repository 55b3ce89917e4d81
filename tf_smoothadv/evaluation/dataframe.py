"""Results as a table of pandas, one row an image and attack, and as a Parquet or CSV file."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_smoothadv import checks, metrics, transfer
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.records import schema
from tf_smoothadv.evaluation.transfer import prefix

if TYPE_CHECKING:
    import pandas

__all__ = ["FORMATS", "KINDS", "WHITE_BOX", "load_results", "write"]

WHITE_BOX, TRANSFER = KINDS = ("white_box", "transfer")
PARQUET, CSV = FORMATS = ("parquet", "csv")
LISTS = ("trace_gradients", "trace_distortions")
OF_TRANSFER = {
    "dataset": str,
    "data": str,
    "settings": str,
    "levels": int | None,
    "images": list[str],
    "attacks": dict[str, Any],
    "sources": list[str],
}
TEXTS = ("folder", "dataset", "data", "network", "attack", "attack_settings", "image", "file", "settings")


def load_results(*folders: str | os.PathLike[str], kind: str = WHITE_BOX) -> pandas.DataFrame:
    """The records in folders of results as one table, one row an image and attack.

    Args:
        folders: each a folder of results, or one with such folders anywhere inside, as of a study.
        kind: "white_box", the runs of `eval.white_box`, `eval.front` and `eval.referee`; or "transfer". Inside of a
            folder, results of the other kind are left out.

    Returns:
        A DataFrame. Its columns are `folder`, `dataset`, `data` (where the images lay), `network` (that was attacked),
        `settings`, `levels`, `attack`, `attack_settings` (JSON), `image` (its name), `file` (of the delivered image, if
        it was kept), and the fields of `metrics.Record` or `transfer.Record`: `index`, `label`, `gradients` and so on;
        of what they hold inside, both names, as `delivered_distortion` and `delivered_visibility_ssim`. Of the trace
        there are two columns of arrays, `trace_gradients` and `trace_distortions`.

    Raises:
        ImportError: pandas is not installed.
        ValueError: no folder, or none with results; results of the other kind, of a run that has not come to its end,
            or damaged ones.

    `load_results("results/study").groupby(["network", "attack"])["delivered_distortion"].mean()` are a study's means.
    """
    pandas = _imported("pandas")
    checks.one_of("kind", kind, KINDS)
    if not folders:
        raise ValueError("name at least one folder of results; received none")
    found = dict.fromkeys(inner for folder in folders for inner in _folders(pathlib.Path(folder), kind))
    rows = [row for folder in found for row in (_runs(folder) if kind == WHITE_BOX else _transfers(folder))]
    table = pandas.DataFrame(rows)
    return table.astype({**dict.fromkeys(TEXTS, "string"), "levels": "Int64"})


def write(table: pandas.DataFrame, path: pathlib.Path, form: str) -> None:
    """Writes a table of `load_results`.

    Args:
        table: the whole of it.
        path: of the file.
        form: "parquet", which keeps the types; or "csv", where the columns of arrays are JSON.

    Raises:
        ImportError: "parquet" needs pyarrow, which is not installed.
        ValueError: another form.
        OSError: where it cannot be written.
    """
    checks.one_of("format", form, FORMATS)
    if form == PARQUET:
        _imported("pyarrow")
    with records.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == CSV:
            texts = {name: table[name].map(lambda values: json.dumps(values.tolist())) for name in LISTS}
            table.assign(**texts).to_csv(path, index=False)
        else:
            table.to_parquet(path, index=False)


def _imported(name: str) -> Any:
    """A package of the extra `results`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"a table of results needs {name}: pip install 'tf_smoothadv[results]'") from error


def _folders(folder: pathlib.Path, kind: str) -> Iterator[pathlib.Path]:
    """The folder itself, or those of this kind inside."""
    own = _kind(folder)
    if own is not None and own != kind:
        raise ValueError(f"{folder} holds results of the kind {own!r}, not {kind!r}: a table has one kind")
    found = [folder] if own else sorted(path.parent for path in folder.rglob(records.RECORDS))
    chosen = [inner for inner in found if _kind(inner) == kind]
    if not chosen:
        others = f"; those of the kind {_kind(found[0])!r} are another table" if found else ""
        raise ValueError(f"{folder} holds no results of the kind {kind!r}{others}")
    yield from chosen


def _kind(folder: pathlib.Path) -> str | None:
    """What kind of results a folder itself holds; None without any."""
    if not (folder / records.RECORDS).exists():
        return None
    return TRANSFER if "sources" in records.settings_of(folder) else WHITE_BOX


def _runs(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The rows of a run."""
    finished = records.read(folder)
    told = {name: getattr(finished, name) for name in ("dataset", "data", "settings", "levels")}
    for record in finished.run.records:
        path = finished.picture(record.index, record.attack)
        yield _row(record, {**told, "network": finished.model}, folder, finished.attacks, finished.images, path)


def _transfers(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The rows of a transfer."""
    if not (folder / records.TRANSFER).exists():
        raise ValueError(f"{folder} holds an unfinished transfer; give the command that began it once more")
    made_with = schema.taken(records.settings_of(folder), OF_TRANSFER)
    told = {name: made_with[name] for name in ("dataset", "data", "settings", "levels")}
    names, attacks = made_with["images"], made_with["attacks"]
    for record in records.read_all(folder, transfer.Record, ("source", *records.KEY)):
        if record.attack not in attacks or not 0 <= record.index < len(names):
            raise ValueError(f"{folder} is damaged: its settings do not know {record.attack!r} on image {record.index}")
        attack = prefix(record.source, made_with["sources"]) + record.attack
        path = folder / records.IMAGES / attack / f"{names[record.index]}.png"
        yield _row(record, {**told, "network": record.source}, folder, attacks, names, path)


def _row(
    record: metrics.Record,
    told: dict[str, Any],
    folder: pathlib.Path,
    attacks: dict[str, Any],
    names: list[str],
    path: pathlib.Path,
) -> dict[str, Any]:
    fields = dict(_flat("", dataclasses.asdict(record)))
    trace = fields.pop("trace")
    return {
        "folder": str(folder),
        **{name: told[name] for name in ("dataset", "data", "network", "settings", "levels")},
        "attack": fields.pop("attack"),
        "attack_settings": json.dumps(attacks[record.attack]),
        "image": names[record.index],
        "file": str(path) if path.exists() else None,
        **fields,
        "trace_gradients": np.array([gradients for gradients, _ in trace], np.int64),
        "trace_distortions": np.array([distortion for _, distortion in trace], np.float64),
    }


def _flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values inside of values, under both their names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}_", value)
        else:
            yield prefix + name, value
