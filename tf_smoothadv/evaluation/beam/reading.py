"""The images of a pipeline, as each of its processes reads them."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, inspection
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.beam import files
from tf_smoothadv.evaluation.beam.plan import Picture
from tf_smoothadv.evaluation.beam.tasks import Networks
from tf_smoothadv.evaluation.data.tfrecords import Records

__all__ = ["Reading"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images are read, and the first of them.

    Attributes:
        first: those that networks are measured on: of one process the same.
        size: pixels a side that images are resized to; None leaves them.
        resize: how, see `resizing.squared`.
        shape: [H, W, C] of all the images; None where these have sizes of their own.
        arguments: flags of Beam, which its filesystems look at.
    """

    first: list[Picture]
    size: int | None
    resize: str
    shape: tuple[int, ...] | None
    arguments: tuple[str, ...] = ()

    def begin(self, networks: Networks) -> None:
        """Measures what the compiled functions of networks allow for rounding, which each process does for itself.

        What else there is to check of the networks is checked once, by the process that starts the pipeline.

        Raises:
            ValueError, OSError: images that cannot be read, or what `Classifier.check` refuses.
        """
        files.use(self.arguments)
        images = next(data.alike(map(self.read, self.first), lambda image: tuple(image.shape), len(self.first)))
        for network in networks.values():
            inspection.num_classes(network, tf.stack(images))

    def read(self, picture: Picture) -> tf.Tensor:
        """An image, as `data.load` has it.

        Raises:
            ValueError, OSError: what cannot be read, or is of another size than the others.
        """
        place = picture.place
        image: Any
        if isinstance(place, np.ndarray):
            image = tf.constant(place / np.float32(255))
        elif isinstance(place, str):
            image = tf.constant(files.read(place))
        else:
            with _local(place[0]) as file:
                image = Records.read(file, place[1])
        image = data.prepared(image, self.size, picture.name, self.resize)
        if self.shape is not None:
            checks.same_shape(picture.name, tuple(image.shape), self.shape)
        return image


@contextlib.contextmanager
def _local(path: str) -> Iterator[pathlib.Path]:
    """A local file of the same content and name."""
    if "://" not in path:
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, path.rpartition("/")[2])
        copy.write_bytes(files.read(path))
        yield copy
