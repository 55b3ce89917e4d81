"""A folder of results: what it was made with, and its records, written as they come.

A run that was interrupted is started again with the same settings and goes on where its records end. One with more
attacks, or with more images behind those it had, goes on too: what it has is not made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import operator
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

import filelock
import numpy as np
import tensorflow as tf
from absl import logging

from tf_smoothadv import metrics
from tf_smoothadv.evaluation.records import amendment, schema

__all__ = [
    "BLIND",
    "DETECTABILITY",
    "IMAGES",
    "KEY",
    "ORIGINAL",
    "RECORDS",
    "SETTINGS",
    "SHARD",
    "SUMMARY",
    "TRANSFER",
    "Results",
    "finite",
    "line",
    "output_folder",
    "parsed",
    "settings_of",
    "write",
    "write_images",
    "writing",
]

SETTINGS = "settings.json"
RECORDS = "records.jsonl"
LOCK = ".lock"
SUMMARY = "summary.json"
TRANSFER = "transfer.json"
DETECTABILITY = "detectability.json"
BLIND = "blind.json"
IMAGES = "images"
KEY = ("attack", "index")
ORIGINAL = "original"  # where an attack's name stands for its own
SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")

R = TypeVar("R", bound=metrics.Record)


class Results(Generic[R]):
    """The records in a folder.

    Args:
        folder: where they lie, or shall; made if it is not there.
        settings: what they depend on, plain values by name.
        kind: their class.
        key: its attributes that tell them apart.

    Raises:
        ValueError: the folder holds records made with other settings, or another process is writing there. Settings
            with more attacks, or with more images behind the others, are no other ones.
    """

    def __init__(self, folder: pathlib.Path, settings: dict[str, Any], kind: type[R], key: Sequence[str] = KEY) -> None:
        self.folder = folder
        self.kind = kind
        self._key = operator.attrgetter(*key)
        self._records: dict[tuple[Any, ...], R] = {}
        folder.mkdir(parents=True, exist_ok=True)
        settings = amendment.as_read(settings)
        self._lock = _locked(folder)
        self._file = open(folder / RECORDS, "a")  # noqa: SIM115 (closed by `close`)
        try:
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
                    self._file.write(line(record))
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                with contextlib.suppress(OSError):  # of writing what is left, which it tries again
                    self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the writing, and lets others write."""
        self._file.close()
        self._lock.release()

    def _go_on(self, settings: dict[str, Any]) -> None:
        """Takes up the records that are there, if they were made with the same settings."""
        if (self.folder / SETTINGS).exists():
            old = settings_of(self.folder)
            name = amendment.different(old, settings)
            if name and not amendment.grown(old, settings):
                raise ValueError(
                    f"{self.folder} holds results with {name}={old.get(name)!r}, these would have "
                    f"{name}={settings.get(name)!r}: name another --output, or delete it"
                )
            self._read()
            if name:  # what is told there is of fewer attacks or images
                for told in (SUMMARY, TRANSFER):
                    (self.folder / told).unlink(missing_ok=True)
        write(self.folder / SETTINGS, settings)

    def _read(self) -> None:
        path = self.folder / RECORDS
        content = path.read_bytes()
        whole, _, cut = content.rpartition(b"\n")
        self._records = parsed(path, whole, self.kind, self._key)
        if cut:
            logging.warning("the last record of %s was cut off and is made again", path)
            os.truncate(path, len(content) - len(cut))


def output_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """A folder to write to, made if it is not there.

    Raises:
        ValueError: it cannot be made, or nothing can be written there.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}; name another folder") from error
    return folder


def settings_of(folder: pathlib.Path) -> dict[str, Any]:
    """What the records in a folder were made with; nothing where there is no such folder yet.

    Raises:
        ValueError: a file that is not what `Results` writes.
    """
    return schema.read(folder / SETTINGS) if (folder / SETTINGS).exists() else {}


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


def line(record: metrics.Record) -> str:
    """A record as it stands in a file."""
    return json.dumps(finite(dataclasses.asdict(record))) + "\n"


def parsed(path: pathlib.Path, content: bytes, kind: type[R], key: Callable[[Any], Any]) -> dict[Any, R]:
    """Records by their key. One that was made again, because its batch was cut off, counts once, as it was last."""
    records = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = schema.built(kind, _nested(schema.parsed(line)))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number} is no record: {error}; delete the line, and the command that made the results "
                "makes its record again"
            ) from error
        records[key(record)] = record
    return records


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a record; of one from before it had scores, whose names lay side by side, as it is now."""
    if "image" in values:  # before it was called index
        values = {("index" if key == "image" else key): value for key, value in values.items()}
    if "computed" in values or "success_8bit" not in values:
        return values
    names = [field.name for field in dataclasses.fields(metrics.Score)]
    scores = {
        key: {name: values[name + suffix] for name in names if name + suffix in values}
        for key, suffix in (("computed", ""), ("delivered", "_8bit"))
    }
    others = {key: value for key, value in values.items() if key.removesuffix("_8bit") not in names}
    predictions = {"predictions": others.pop("delivered")} if "delivered" in others else {}
    return {**others, **predictions, **scores}


def _locked(folder: pathlib.Path) -> filelock.BaseFileLock:
    """Keeps other processes from writing to a folder until this one ends, however it ends."""
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"another process is writing results to {folder}: wait for it, or name another --output"
        ) from None
    return lock


def write_images(folder: pathlib.Path, images: np.ndarray, names: Sequence[str]) -> None:
    """Images [B, H, W, C] as 8-bit PNG, FOLDER/NAME.png."""
    for name, image in zip(names, images):
        pixels = tf.constant(np.round(image * 255).astype(np.uint8))
        path = folder / f"{name}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())


def finite(values: Any) -> Any:
    """For JSON, which has no NaN: null in its place."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values
