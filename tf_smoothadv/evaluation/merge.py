"""Joins the folders of all the shards of a run into what one run over all the images leaves."""

from __future__ import annotations

import dataclasses
import operator
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import rich.console

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import records, transfer
from tf_smoothadv.evaluation.outputs import EXAMPLES, write_outputs
from tf_smoothadv.transfer import Record as TransferRecord

__all__ = ["common", "interleaved", "joined", "merge"]

R = TypeVar("R", bound=metrics.Record)

OWN = ("shard", "images", "batch_size", "begins")  # settings in which shards may differ


def merge(folders: Iterable[str | pathlib.Path], output: str | pathlib.Path) -> None:
    """Joins folders; pixels and numbers are the shards' own.

    Args:
        folders: of all the shards of one run, or of one transfer.
        output: the folder to write what that writes, images included.

    Raises:
        ValueError: shards that are missing, come twice, or were made with different settings.
    """
    shards = _in_order([pathlib.Path(folder) for folder in dict.fromkeys(folders)])
    if (shards[0] / records.TRANSFER).exists():
        _merge_transfers(shards, records.output_folder(output))
    else:
        _merge_runs(shards, records.output_folder(output))


def _merge_runs(shards: list[pathlib.Path], output: pathlib.Path) -> None:
    finished = [records.read(folder) for folder in shards]
    made_with = _whole(shards, [one.images for one in finished])
    attacks = list(made_with["attacks"])
    whole = joined([one.run.records for one in finished])
    whole.sort(key=lambda record: (record.index, attacks.index(record.attack)))
    with records.Results(output, made_with, metrics.Record) as results:
        results.append(record for record in whole if (record.attack, record.index) not in results.done)
        _copy(shards, output)
        counts = sum(one.run.num_images for one in finished), sum(one.run.num_correct for one in finished)
        run = metrics.Run(tuple(whole), *counts, finished[0].run.epsilons)
        write_outputs(output, run, rich.console.Console(highlight=False))


def _merge_transfers(shards: list[pathlib.Path], output: pathlib.Path) -> None:
    summaries = [records.read_transfer(folder) for folder in shards]
    made_with = _whole(shards, [records.settings_of(folder)["images"] for folder in shards])
    key = operator.attrgetter(*transfer.KEY)
    whole = joined([records.read_all(folder, TransferRecord, transfer.KEY) for folder in shards])
    sources, attacks = made_with["sources"], list(made_with["attacks"])
    whole.sort(key=lambda record: (sources.index(record.source), record.index, attacks.index(record.attack)))
    with records.Results(output, made_with, TransferRecord, transfer.KEY) as results:
        results.append(record for record in whole if key(record) not in results.done)
        _copy(shards, output)
        names = made_with["targets"]
        num_correct = {name: sum(summary["num_correct"][name] for summary in summaries) for name in names}
        summary = transfer.summarized(whole, num_correct, made_with)
        transfer.write_outputs(results, summary, rich.console.Console(highlight=False))


def _whole(shards: list[pathlib.Path], images: list[list[str]]) -> dict[str, Any]:
    """The settings of the whole."""
    made_with = {**records.settings_of(shards[0]), "shard": "1/1", "images": interleaved(images)}
    return {name: value for name, value in made_with.items() if name != "begins"}  # of the shard's own images


def _copy(shards: list[pathlib.Path], output: pathlib.Path) -> None:
    """Copies the images of all shards, and the examples of the first."""
    for source in shards:
        for kept in (records.IMAGES, EXAMPLES):
            if (source / kept).exists() and (kept == records.IMAGES or source == shards[0]):
                shutil.copytree(source / kept, output / kept, dirs_exist_ok=True)


def _in_order(folders: list[pathlib.Path]) -> list[pathlib.Path]:
    """The folders by their shards.

    Raises:
        ValueError: shards that are missing, come twice, or were made with different settings.
    """
    settings = {folder: records.settings_of(folder) for folder in folders}
    by_shard: dict[str, pathlib.Path] = {}
    first = settings[folders[0]]
    for folder, made_with in settings.items():
        shard = made_with.get("shard")
        if not (isinstance(shard, str) and records.SHARD.fullmatch(shard)):
            raise ValueError(f"{folder} holds no results of a --shard=i/n")
        if shard in by_shard:
            raise ValueError(f"{by_shard[shard]} and {folder} both hold shard {shard}")
        name = records.different(common(first), common(made_with))
        if name:
            raise ValueError(
                f"shards of one run must have the same settings: {folders[0]} has {name}={first.get(name)!r}, "
                f"{folder} has {name}={made_with.get(name)!r}"
            )
        by_shard[shard] = folder
    parts = int(first["shard"].partition("/")[2])
    missing = [shard for shard in (f"{part}/{parts}" for part in range(1, parts + 1)) if shard not in by_shard]
    if missing or len(by_shard) > parts:
        raise ValueError(
            f"all the shards of one run must be named; received {', '.join(by_shard)}"
            + (f", without {', '.join(missing)}" if missing else "")
        )
    return [by_shard[f"{part}/{parts}"] for part in range(1, parts + 1)]


def common(made_with: dict[str, Any]) -> dict[str, Any]:
    """The settings that shards of one run share."""
    return {key: value for key, value in made_with.items() if key not in OWN}


def interleaved(parts: list[list[str]]) -> list[str]:
    """The names of all the images, of which the i-th part has every n-th from the i-th on.

    Raises:
        ValueError: parts that cannot be such.
    """
    count = sum(map(len, parts))
    expected = [len(range(part, count, len(parts))) for part in range(len(parts))]
    if list(map(len, parts)) != expected:
        raise ValueError(
            f"shards of {count} images must have {', '.join(map(str, expected))} of them; these have "
            f"{', '.join(str(len(part)) for part in parts)}: give each the same --num_images"
        )
    return [parts[place % len(parts)][place // len(parts)] for place in range(count)]


def joined(shards: Sequence[Iterable[R]]) -> list[R]:
    """All the records, with the indices of images in the whole."""
    return [
        dataclasses.replace(record, index=record.index * len(shards) + part)
        for part, kept in enumerate(shards)
        for record in kept
    ]
