"""Where test images lie: the names and classes of those that are there, and the images, read as asked for."""

from __future__ import annotations

import csv
import glob
import io
import itertools
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging

from tf_smoothadv.evaluation.data import decoding, mnist
from tf_smoothadv.evaluation.data.remote import Remote, folder_of
from tf_smoothadv.evaluation.data.tfrecords import GZIP, LABEL, Records, feature

__all__ = [
    "CLASSES",
    "GZIP",
    "SAMPLE",
    "Source",
    "digits",
    "folder",
    "nips2017",
    "readable",
    "rows",
    "tfrecord",
    "warn_of_ignored",
]

SAMPLE = pathlib.Path(__file__).parent / "samples" / "mnist.npz"
NUM_CLASSES = 1000
CLASSES = "classes.txt"
SHARDS = ("*.tfrecord*", "*-of-*")


Place = pathlib.Path | Remote


class Source(NamedTuple):
    """Test images, not decoded yet.

    Attributes:
        listing: the name and the class, from 0, of each image. Names differ and do as relative file paths.
        images: as many in the same order, the same each time: image files, of this machine or another, the content of
            such (a string tensor), or pixels [H, W, C] in [0, 1].
        folders: how many folders have classes by their order alone; None where something names the classes.
        targets: of each image by its name, the class that the dataset has for targeted attacks; none by default.
    """

    listing: Iterable[tuple[str, int]]
    images: Iterable[Place | tf.Tensor]
    folders: int | None = None
    targets: Mapping[str, int] = types.MappingProxyType({})


def digits(path: str | None) -> Source:
    """MNIST's test digits; names are their indices.

    Args:
        path: a file mnist.npz in Keras's form, or "download" for Keras's own copy; None for the sample that ships with
            the project.

    Raises:
        ValueError: a file that cannot be read.
    """
    images, labels = mnist.load(path)[1] if path == mnist.DOWNLOAD else mnist.read(path or str(SAMPLE), "test")
    listing = [(f"{position:05d}", int(label)) for position, label in enumerate(labels)]
    return Source(listing, tf.data.Dataset.from_tensor_slices(images))


def nips2017(path: str) -> Source:
    """The images of the NIPS 2017 adversarial competition, in the order of its table; names are the column ImageId.

    Rows whose image is missing are left out, and a warning tells how many.

    Args:
        path: a folder with images.csv (columns ImageId, TrueLabel and, if it is there, TargetClass, 1 to 1000, which
            are the classes 0 to 999; others are ignored) and images/<ImageId>.png, which may hold any format that
            `decoding` reads.

    Raises:
        ValueError: a table that cannot be read, a wrong row, or no image at all.
    """
    table, images = (root := folder_of(path)) / "images.csv", root / "images"
    labels: dict[str, int] = {}
    targets: dict[str, int] = {}
    for where, row in rows(table, ("ImageId", "TrueLabel")):
        name = row["ImageId"]
        # Windows knows every separator, and drives.
        if name in ("", "..") or pathlib.PureWindowsPath(name).name != name:
            raise ValueError(f"{where}: ImageId must be a plain file name; received {name!r}")
        if name in labels:
            raise ValueError(f"{where}: every ImageId must be another; received {name!r} again")
        labels[name] = _class_of(row["TrueLabel"], f"{where}: TrueLabel")
        if row.get("TargetClass"):
            targets[name] = _class_of(row["TargetClass"], f"{where}: TargetClass")

    there = {file.stem for file in images.glob("*.png")}
    missing = [f"{name}.png" for name in labels if name not in there]
    if len(missing) == len(labels):
        raise ValueError(f"none of the {len(labels)} images of {table} is in {images}")
    if missing:
        logging.warning("%d of the %d images of %s are missing: %s", len(missing), len(labels), table, _some(missing))
    listing = [(name, label) for name, label in labels.items() if name in there]
    return Source(listing, [images / f"{name}.png" for name, _ in listing], targets=targets)


def folder(path: str) -> Source:
    """PNG, JPEG, BMP and WebP images in one folder a class, as ImageNet has them; names are CLASS/FILE.

    A folder's class is its place in sorted order. A file classes.txt, with one folder's name a line, gives each folder
    the number of its line instead, from 0; folders may then be missing. Images come in turns, one of every class and
    then the next of every class, so that the first N are not all of one class. Images are files whose names end in one
    of `decoding.SUFFIXES`, in capitals or not; their content tells the format. A warning names what else is there, but
    for hidden files, and is ignored.

    Raises:
        ValueError: no such folder, no image in it, or a folder that classes.txt does not name.
    """
    root = folder_of(path)
    if not root.is_dir():
        raise ValueError(f"no such folder: {root}")
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    listed = root / CLASSES
    classes = _classes(listed, names)
    turns = sorted(
        (turn, classes[name], f"{name}/{file}") for name in names for turn, file in enumerate(_images(root / name))
    )
    if not turns:
        raise ValueError(
            f"{root} must hold a folder of images ({' '.join(decoding.SUFFIXES)}) for each class; found none"
        )
    listing = [(name, label) for _, label, name in turns]
    files = [root / name for name, _ in listing]
    others = {*root.iterdir(), *(entry for name in names for entry in (root / name).iterdir())}
    warn_of_ignored(root, others - {listed, *files, *(root / name for name in names)})
    return Source(listing, files, None if listed.exists() else len(names))


def tfrecord(path: str) -> Source:
    """TFRecord files of tf.train.Example with image/encoded and image/class/label; names are FILE-RECORD.

    Labels are those of TF-Slim's ImageNet conversion, 1 to 1000 (0 is the background): the classes 0 to 999.

    Args:
        path: a file, a glob, or a folder, of which files named *.tfrecord* or *-of-* are taken; in sorted order. Files
            packed by GZIP or ZLIB are unpacked.

    Raises:
        ValueError: no such file; while the listing is gone through, what is no such record, or a label out of range.
    """
    if "://" in path:
        raise ValueError(f"TFRecord files must lie on this machine, or where it is mounted; received {path}")
    root = pathlib.Path(path)
    patterns = [f"{glob.escape(path)}/{shard}" for shard in SHARDS] if root.is_dir() else [path]
    found = {pathlib.Path(name) for pattern in patterns for name in glob.glob(pattern)}
    files = sorted(file for file in found if file.is_file())
    if not files:
        raise ValueError(f"no TFRecord files: {path} must be a file, a glob, or a folder of {' or '.join(SHARDS)}")
    if len({file.name for file in files}) < len(files):
        raise ValueError(f"the files of {path} must have different names: their images are named by them")
    if root.is_dir():
        warn_of_ignored(root, set(root.iterdir()) - set(files))
    return Source(itertools.chain.from_iterable(map(_labelled, files)), Records(files))


def readable(elements: Iterable[tf.Tensor], where: Callable[[int], str]) -> Iterator[tf.Tensor]:
    """The elements of a tf.data.Dataset; the first one that TensorFlow cannot read is an error that says where it is.

    Args:
        elements: a dataset that keeps its order.
        where: a function from an element's index to the place that messages name.

    Raises:
        ValueError: in place of TensorFlow's own errors, which name their node instead of the file.
    """
    position = 0
    try:
        for element in elements:
            yield element
            position += 1
    except tf.errors.OpError as error:
        raise ValueError(f"cannot read {where(position)}: {_reason(error)}") from error


def warn_of_ignored(root: Any, paths: Iterable[Any]) -> None:
    """Tells which of these files and folders below `root`, but for hidden ones, are not used."""
    ignored = sorted(path.relative_to(root).as_posix() for path in paths if not path.name.startswith("."))
    if ignored:
        logging.warning("%d files or folders of %s are ignored: %s", len(ignored), root, _some(ignored))


def _reason(error: tf.errors.OpError) -> str:
    """What TensorFlow says is wrong, without its nodes and iterators."""
    line = re.sub(r".*(\}\}|Iterator::\S*:) ", "", str(error).splitlines()[0])
    return re.sub(r" \[Op:.*", "", line)


def rows(table: Place, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, each with its place."""
    reader = csv.DictReader(io.StringIO(_text(table)), restval="")
    try:
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise ValueError(
                    f"{table} must have a column {column}; its first line has {reader.fieldnames or 'none'}"
                )
        for row in reader:
            yield f"{table}, line {reader.line_num}", row
    except csv.Error as error:
        raise ValueError(f"{table}, after line {reader.line_num}: {error}") from None


def _text(path: Place) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}") from None


def _class_of(label: str | int, what: str) -> int:
    """ImageNet's class from 0 for a label from 1, where 0 is the background."""
    try:
        number = int(label)
    except ValueError:
        number = 0
    if not 1 <= number <= NUM_CLASSES:
        raise ValueError(f"{what} must be an integer from 1 to {NUM_CLASSES}; received {label!r}")
    return number - 1


def _classes(listed: Place, folders: Sequence[str]) -> dict[str, int]:
    """The class of each folder."""
    if not listed.exists():
        return {name: position for position, name in enumerate(folders)}
    classes: dict[str, int] = {}
    for position, line in enumerate(_text(listed).splitlines()):
        name = line.strip()
        if name in classes:
            raise ValueError(
                f"{listed}, line {position + 1}: every line must name another folder; received {name!r} again"
            )
        classes[name] = position
    unlisted = [name for name in folders if name not in classes]
    if unlisted:
        raise ValueError(f"{listed} must name every folder beside it; it does not name {_some(unlisted)}")
    return classes


def _images(folder: Place) -> list[str]:
    names = (file.name for file in folder.iterdir() if file.is_file())
    return sorted(name for name in names if not name.startswith(".") and name.lower().endswith(decoding.SUFFIXES))


def _labelled(file: pathlib.Path) -> Iterator[tuple[str, int]]:
    """The listing of a TFRecord file, one record after the other."""
    labels = readable(feature([file], LABEL), lambda record: f"{file}, record {record}")
    for record, label in enumerate(labels):
        yield f"{file.name}-{record:05d}", _class_of(int(label), f"{file}, record {record}: {LABEL}")


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
