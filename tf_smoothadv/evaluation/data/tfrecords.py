"""TFRecord files of images, packed or not."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

__all__ = ["ENCODED", "GZIP", "LABEL", "Records", "feature"]

ENCODED, LABEL = "image/encoded", "image/class/label"
GZIP, ZLIB = b"\x1f\x8b\x08", b"\x78"  # how packed files begin
FEATURES = {ENCODED: tf.io.FixedLenFeature([], tf.string), LABEL: tf.io.FixedLenFeature([], tf.int64)}


class Records:
    """The images in TFRecord files, one after the other.

    Args:
        files: of different names.
    """

    def __init__(self, files: Sequence[pathlib.Path]) -> None:
        self._files = files

    def __iter__(self) -> Iterator[tf.Tensor]:
        return iter(feature(self._files, ENCODED))

    def place(self, name: str) -> tuple[str, int]:
        """The file of the image of that name, and its number there, from 0."""
        file, _, number = name.rpartition("-")
        return next(str(path) for path in self._files if path.name == file), int(number)

    @classmethod
    def read(cls, file: pathlib.Path, number: int) -> tf.Tensor:
        """The content of one image, a scalar string."""
        return next(iter(feature([file], ENCODED).skip(number)))


def feature(files: Sequence[pathlib.Path], name: str) -> tf.data.Dataset:
    """A feature of every record of some files, one after the other."""
    packed = tf.data.Dataset.from_tensor_slices(([str(file) for file in files], [_packing(file) for file in files]))
    return packed.flat_map(tf.data.TFRecordDataset).map(lambda one: tf.io.parse_single_example(one, FEATURES)[name])


def _packing(file: pathlib.Path) -> str:
    """How a TFRecord file is compressed, as TensorFlow calls it."""
    with open(file, "rb") as opened:
        start = opened.read(8)
    if start.startswith(GZIP):
        return "GZIP"
    # A file that is not packed starts with the length of a record, of which the upper half is zero.
    return "ZLIB" if start.startswith(ZLIB) and any(start[4:]) else ""
