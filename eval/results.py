"""A folder of results: what it was made with, and its records, written as they come.

A run that was interrupted is started again with the same settings and goes on where its records end.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import operator
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from tf_smoothadv import protocol

SETTINGS = "settings.json"
RECORDS = "records.jsonl"
SUMMARY = "summary.json"
TRANSFER = "transfer.json"
IMAGES = "images"
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
        ValueError: the folder holds records made with other settings.
    """

    def __init__(
        self, folder: pathlib.Path, settings: dict[str, Any], kind: type[R], key: Sequence[str] = ("attack", "image")
    ) -> None:
        self.folder = folder
        self._kind = kind
        self._key = operator.attrgetter(*key)
        self._records: dict[tuple[Any, ...], R] = {}
        folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))  # as they come back from the file
        if (folder / RECORDS).exists():
            _same(json.loads((folder / SETTINGS).read_text()), settings, folder)
            self._read()
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")
        self._file = open(folder / RECORDS, "a")  # noqa: SIM115 (closed by `close`)

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

    def _read(self) -> None:
        path = self.folder / RECORDS
        text = path.read_text()
        whole, _, cut = text.rpartition("\n")
        for line in whole.splitlines():
            record = self._kind(**row(line))
            self._records[self._key(record)] = record
        if cut:
            logging.warning("the last record of %s was cut off and is made again", path)
            os.truncate(path, len(text.encode()) - len(cut.encode()))


def _same(old: dict[str, Any], new: dict[str, Any], folder: pathlib.Path) -> None:
    for key in [*old, *new]:
        if old.get(key) != new.get(key):
            raise ValueError(
                f"{folder} holds results with {key}={old.get(key)!r}, these would have {key}={new.get(key)!r}: "
                "name another --output, or delete it"
            )


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
        summary, made_with = (json.loads((folder / name).read_text()) for name in (SUMMARY, SETTINGS))
        lines = (folder / RECORDS).read_text().splitlines()
        return Finished(
            folder,
            **{key: summary[key] for key in ("model", "dataset", "settings", "levels")},
            **{key: made_with[key] for key in ("images", "data", "attacks")},
            run=protocol.Run(
                tuple(protocol.Record(**row(line)) for line in lines), summary["num_images"], summary["num_correct"]
            ),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
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
