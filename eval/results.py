"""A folder of results: what it was made with, and its records, written as they come.

A run that was interrupted is started again with the same settings and goes on where its records end.
"""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import json
import math
import operator
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from tf_smoothadv import protocol

SETTINGS = "settings.json"
RECORDS = "records.jsonl"
SUMMARY = "summary.json"
TRANSFER = "transfer.json"
IMAGES = "images"
KEY = ("attack", "image")
ORIGINAL = "original"  # where an attack's name stands for its own

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
        except ValueError:
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
        for record in records:
            self._records[self._key(record)] = record
            self._file.write(json.dumps(finite(dataclasses.asdict(record))) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

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
        text = path.read_text()
        whole, _, cut = text.rpartition("\n")
        self._records = _parsed(whole, self._kind, self._key)
        if cut:
            logging.warning("the last record of %s was cut off and is made again", path)
            os.truncate(path, len(text.encode()) - len(cut.encode()))


def settings_of(folder: pathlib.Path) -> dict[str, Any]:
    """What the records in a folder were made with; nothing where there is no such folder yet.

    Raises:
        ValueError: a file that is not what `Results` writes.
    """
    if not (folder / SETTINGS).exists():
        return {}
    try:
        return dict(json.loads((folder / SETTINGS).read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / SETTINGS} is damaged: {error}") from error


def write(path: pathlib.Path, values: Any) -> None:
    """Writes JSON, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    with open(new, "w") as file:
        file.write(json.dumps(finite(values), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _parsed(text: str, kind: type[R], key: Callable[[Any], Any]) -> dict[Any, R]:
    """Records by their key. One that was made again, because its batch was cut off, counts once, as it was last."""
    records = (kind(**row(line)) for line in text.splitlines())
    return {key(record): record for record in records}


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


def row(line: str) -> dict[str, Any]:
    """A line of RECORDS by name; what JSON has no number for is NaN again."""
    return {key: math.nan if value is None else value for key, value in json.loads(line).items()}


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


def read_transfer(folder: pathlib.Path) -> dict[str, Any]:
    """What `eval.transfer` left in a folder.

    Raises:
        ValueError: damaged results.
    """
    try:
        summary = json.loads((folder / TRANSFER).read_text())
        for key in ("dataset", "accuracy", "num_correct", "num_images", "attacks"):
            summary[key]
        for by_attack in summary["transfer"].values():
            for on_targets in by_attack.values():
                for target, scores in on_targets.items():
                    on_targets[target] = {key: math.nan if value is None else value for key, value in scores.items()}
        return summary
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} does not hold results as eval.transfer writes them: {error!r}") from error


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
    try:
        summary, made_with = json.loads((folder / SUMMARY).read_text()), settings_of(folder)
        records = _parsed((folder / RECORDS).read_text(), protocol.Record, operator.attrgetter(*KEY))
        return Finished(
            folder,
            **{key: summary[key] for key in ("model", "dataset", "settings", "levels")},
            **{key: made_with[key] for key in ("images", "data", "attacks")},
            run=protocol.Run(tuple(records.values()), summary["num_images"], summary["num_correct"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder} does not hold results as eval.white_box writes them: {error!r}") from error


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
        tf.io.write_file(str(folder / f"{name}.png"), tf.io.encode_png(pixels))


def read_images(folder: pathlib.Path, names: Sequence[str], channels: int) -> np.ndarray:
    """What `write_images` wrote, [B, H, W, C] in [0, 1]."""
    files = (tf.io.read_file(str(folder / f"{name}.png")) for name in names)
    return np.stack([tf.io.decode_png(file, channels).numpy() for file in files]) / np.float32(255)


def attack_summary(run: protocol.Run, name: str) -> dict[str, float]:
    """One attack in numbers; distortions and energies are means over its successes."""
    computed, delivered = run.outcome(name), run.outcome(name, delivered=True)
    return {
        "p_suc": computed.p_suc,
        "mean_distortion": computed.mean_distortion,
        "max_distortion": computed.max_distortion,
        "p_suc_8bit": delivered.p_suc,
        "mean_distortion_8bit": delivered.mean_distortion,
        "gradients_per_image": float(np.mean(computed.gradients)),
        "seconds_per_image": float(np.mean(computed.seconds)),
        "smoothness_energy": computed.mean_smoothness_energy,
        "smoothness_energy_8bit": delivered.mean_smoothness_energy,
    }


def finite(values: Any) -> Any:
    """For JSON, which has no NaN: null in its place."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values
