"""A folder of results: what it was made with, and its records, written as they come.

A run that was interrupted is started again with the same settings and goes on where its records end.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import json
import math
import operator
import os
import pathlib
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from eval import fields
from tf_smoothadv import protocol

SETTINGS = "settings.json"
RECORDS = "records.jsonl"
SUMMARY = "summary.json"
TRANSFER = "transfer.json"
IMAGES = "images"
KEY = ("attack", "image")
ORIGINAL = "original"  # where an attack's name stands for its own
SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")

R = TypeVar("R", bound=protocol.Record)


class Results(Generic[R]):
    """The records in a folder.

    Args:
        folder: where they lie, or shall; made if it is not there.
        settings: what they depend on, plain values by name.
        kind: their class.
        key: its attributes that tell them apart.

    Raises:
        ValueError: the folder holds records made with other settings, or another process is writing there.
    """

    def __init__(self, folder: pathlib.Path, settings: dict[str, Any], kind: type[R], key: Sequence[str] = KEY) -> None:
        self.folder = folder
        self._kind = kind
        self._key = operator.attrgetter(*key)
        self._records: dict[tuple[Any, ...], R] = {}
        folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))  # as they come back from the file
        self._file = open(folder / RECORDS, "a")  # noqa: SIM115 (closed by `close`)
        try:
            _lock(self._file, folder)
            self._go_on(settings)
        except (ValueError, OSError):
            self.close()
            raise

    @property
    def records(self) -> list[R]:
        """All of them, in the order in which their keys came first."""
        return list(self._records.values())

    @property
    def done(self) -> set[tuple[Any, ...]]:
        """The keys that there are records of."""
        return set(self._records)

    def append(self, records: Iterable[R]) -> None:
        """Adds records, and returns once they are on the disk."""
        with writing(self.folder / RECORDS):
            try:
                for record in records:
                    self._records[self._key(record)] = record
                    self._file.write(json.dumps(finite(dataclasses.asdict(record))) + "\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                with contextlib.suppress(OSError):  # of writing what is left, which it tries again
                    self.close()
                raise

    def close(self) -> None:
        """Ends the writing."""
        self._file.close()

    def _go_on(self, settings: dict[str, Any]) -> None:
        """Takes up the records that are there, if they were made with the same settings."""
        if (self.folder / SETTINGS).exists():
            old = settings_of(self.folder)
            name = different(old, settings)
            if name:
                raise ValueError(
                    f"{self.folder} holds results with {name}={old.get(name)!r}, these would have "
                    f"{name}={settings.get(name)!r}: name another --output, or delete it"
                )
            self._read()
        write(self.folder / SETTINGS, settings)

    def _read(self) -> None:
        path = self.folder / RECORDS
        content = path.read_bytes()
        whole, _, cut = content.rpartition(b"\n")
        self._records = _parsed(path, whole, self._kind, self._key)
        if cut:
            logging.warning("the last record of %s was cut off and is made again", path)
            os.truncate(path, len(content) - len(cut))


def settings_of(folder: pathlib.Path) -> dict[str, Any]:
    """What the records in a folder were made with; nothing where there is no such folder yet.

    Raises:
        ValueError: a file that is not what `Results` writes.
    """
    return fields.read(folder / SETTINGS) if (folder / SETTINGS).exists() else {}


def write(path: pathlib.Path, values: Any) -> None:
    """Writes JSON, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    with writing(path):
        with open(new, "w") as file:
            file.write(json.dumps(finite(values), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Tells of an OSError inside where it was and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}; make room there or name another --output, and give the "
            "same command again"
        ) from error


def _parsed(path: pathlib.Path, content: bytes, kind: type[R], key: Callable[[Any], Any]) -> dict[Any, R]:
    """Records by their key. One that was made again, because its batch was cut off, counts once, as it was last."""
    kinds = typing.get_type_hints(kind)
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    records = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            values = fields.parsed(line)
            there = {name: type_ for name, type_ in kinds.items() if name in values or name not in optional}
            record = kind(**fields.taken(values, there))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number} is no record: {error}; delete the line, and the command that made the results "
                "makes its record again"
            ) from error
        records[key(record)] = record
    return records


def _lock(file: IO[str], folder: pathlib.Path) -> None:
    """Keeps other processes from the file until this one ends, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another process is writing results to {folder}: wait for it, or name another --output"
        ) from None


def different(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting in which these differ."""
    return next((key for key in [*old, *new] if old.get(key) != new.get(key)), None)


class Finished(NamedTuple):
    """A folder of results of a run that came to its end.

    Attributes:
        folder: where they lie.
        model, dataset, settings, levels: as `eval.white_box` was given them.
        images: names, by position in the dataset.
        data: where the images were read.
        attacks: the parameters of each attack.
        run: the records.
    """

    folder: pathlib.Path
    model: str
    dataset: str
    settings: str
    levels: int | None
    images: list[str]
    data: str
    attacks: dict[str, dict[str, Any]]
    run: protocol.Run

    def picture(self, image: int, attack: str = ORIGINAL) -> pathlib.Path:
        """The file that `write_images` wrote, if it did."""
        return self.folder / IMAGES / attack / f"{self.images[image]}.png"

    @property
    def pictured(self) -> list[protocol.Record]:
        """The records that there are files of, the original's and the adversarial image's."""
        return [
            record
            for record in self.run.records
            if self.picture(record.image).exists() and self.picture(record.image, record.attack).exists()
        ]


SCORES = dict.fromkeys(("p_suc", "mean_distortion", "p_suc_correct"), float)
TRANSFERRED = {
    "dataset": str,
    "num_images": int,
    "num_correct": dict[str, int],
    "accuracy": dict[str, float],
    "attacks": dict[str, Any],
    "transfer": dict[str, dict[str, dict[str, dict[str, float | None]]]],
}


def read_transfer(folder: pathlib.Path) -> dict[str, Any]:
    """What `eval.transfer` left in a folder.

    Raises:
        ValueError: damaged results.
    """
    try:
        summary = fields.taken(fields.read(folder / TRANSFER), TRANSFERRED)
        for source, by_attack in summary["transfer"].items():
            fields.taken(summary["num_correct"], {source: int})
            for on_targets in by_attack.values():
                for target in summary["accuracy"]:
                    on_targets[target] = fields.taken(on_targets.get(target, {}), SCORES)
        return summary
    except ValueError as error:
        raise ValueError(f"{folder} does not hold results as eval.transfer writes them: {error}") from error


def read(folder: pathlib.Path) -> Finished:
    """What `eval.white_box` left in a folder.

    Raises:
        ValueError: it holds no results, those of a run that has not come to its end, or damaged ones.
    """
    if not (folder / RECORDS).exists():
        raise ValueError(f"{folder} holds no results of eval.white_box: {RECORDS} is missing")
    if not (folder / SUMMARY).exists():
        raise ValueError(
            f"{folder} holds an unfinished run: {SUMMARY} is missing; give the command that began it once more, it "
            "goes on where it stopped"
        )
    kinds = typing.get_type_hints(Finished)
    try:
        summary, made_with = fields.read(folder / SUMMARY), settings_of(folder)
        counts = fields.taken(summary, {"num_images": int, "num_correct": int})
        if not 0 < counts["num_correct"] <= counts["num_images"]:
            raise ValueError(f"{SUMMARY} tells of {counts['num_correct']} of {counts['num_images']} images")
        records = _parsed(folder / RECORDS, (folder / RECORDS).read_bytes(), protocol.Record, operator.attrgetter(*KEY))
        finished = Finished(
            folder,
            **fields.taken(summary, {key: kinds[key] for key in ("model", "dataset", "settings", "levels")}),
            **fields.taken(made_with, {key: kinds[key] for key in ("images", "data", "attacks")}),
            run=protocol.Run(tuple(records.values()), **counts),
        )
        _check_records(finished)
        return finished
    except ValueError as error:
        raise ValueError(f"{folder} does not hold results as eval.white_box writes them: {error}") from error


def _check_records(finished: Finished) -> None:
    """Raises ValueError unless there are records, all of attacks and images that the settings name."""
    if not finished.run.records:
        raise ValueError(f"{RECORDS} is empty")
    for record in finished.run.records:
        if record.attack not in finished.attacks or not 0 <= record.image < len(finished.images):
            raise ValueError(
                f"{RECORDS} tells of {record.attack!r} on image {record.image}, {SETTINGS} of "
                f"{', '.join(finished.attacks)} on {len(finished.images)} images"
            )


def named(runs: list[Finished]) -> dict[str, Finished]:
    """Runs by their models' names, with the folder where that is not enough."""
    count = collections.Counter(finished.model for finished in runs)
    return {
        finished.model if count[finished.model] == 1 else f"{finished.model} ({finished.folder})": finished
        for finished in runs
    }


def write_images(folder: pathlib.Path, images: np.ndarray, names: Sequence[str]) -> None:
    """Images [B, H, W, C] as 8-bit PNG, FOLDER/NAME.png."""
    for name, image in zip(names, images):
        pixels = tf.constant(np.round(image * 255).astype(np.uint8))
        path = folder / f"{name}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())


def attack_summary(run: protocol.Run, name: str) -> dict[str, float]:
    """One attack in numbers; distortions and energies are means over its successes, NaN is what is not known."""
    computed, delivered = run.outcome(name), run.outcome(name, delivered=True)
    return {
        "p_suc": computed.p_suc,
        "mean_distortion": computed.mean_distortion,
        "max_distortion": computed.max_distortion,
        "p_suc_8bit": delivered.p_suc,
        "mean_distortion_8bit": delivered.mean_distortion,
        "gradients_per_image": float(np.mean(computed.gradients)) or math.nan,
        "seconds_per_image": float(np.mean(computed.seconds)) or math.nan,
        "smoothness_energy": computed.mean_smoothness_energy,
        "smoothness_energy_8bit": delivered.mean_smoothness_energy,
        "faulty_images": run.faulty(name)[0],
    }


def finite(values: Any) -> Any:
    """For JSON, which has no NaN: null in its place."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values
