"""The images that the binaries work on, in batches.

From Python any `tf.data.Dataset` of batches (images [B, H, W, C] in [0, 1], labels [B]) does as well: it goes straight
into `protocol.evaluate`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from eval import sources
from tf_smoothadv import checks, protocol
from tf_smoothadv.attacks import core

SOURCES: dict[str, Callable[[Any], sources.Source]] = {
    "mnist": sources.digits,
    "nips2017": sources.nips2017,
    "folder": sources.folder,
    "tfrecord": sources.tfrecord,
}
DATASETS = tuple(SOURCES)
NUM_IMAGES = {"mnist": 200}
IMAGE_SIZES = {"folder": 299, "tfrecord": 299}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Test images; iterating gives batches (images [B, H, W, C] float32 in [0, 1], labels [B] int32).

    Images are decoded in parallel, a few ahead of the batch asked for, and come in the same order each time. Their
    values are multiples of 1 / 255.

    Attributes:
        names: one an image, by its position: all different, and fit to be a relative file path without its suffix.
        labels: the classes, from 0.
        images: [H, W, C], one by one.
        batch_size: B; the last batch may be smaller.
        path: where the images lie.

    Raises:
        ValueError: while iterating, an image that cannot be read, or of another size than those before it.
    """

    names: list[str]
    labels: list[int]
    images: tf.data.Dataset
    batch_size: int
    path: str

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        images = self._of_one_size()
        for start in range(0, len(self.names), self.batch_size):
            labels = self.labels[start : start + self.batch_size]
            yield tf.stack(list(itertools.islice(images, len(labels)))), tf.constant(labels, tf.int32)

    def _of_one_size(self) -> Iterator[tf.Tensor]:
        first = None
        images = sources.readable(self.images, lambda position: f"{self.names[position]} of {self.path}")
        for name, image in zip(self.names, images):
            height, width, _ = image.shape
            first = first or (height, width)
            if (height, width) != first:
                raise ValueError(
                    f"images must be of one size: {name} of {self.path} is {height} x {width}, those before it are "
                    f"{first[0]} x {first[1]}; --image_size resizes them"
                )
            yield image


def labelled_by(model: core.Model, dataset: Dataset) -> Dataset:
    """The same images with the classes that the model says: an attack is then one on its own decisions.

    For images whose classes are not known, and for networks that have learnt nothing.
    """
    labels = [int(label) for images, _ in dataset for label in protocol.predict(model, images)]
    return dataclasses.replace(dataset, labels=labels)


def load(
    dataset: str,
    path: str | None,
    num_images: int | None = None,
    batch_size: int = 200,
    image_size: int | None = None,
    shard: tuple[int, int] = (1, 1),
) -> Dataset:
    """The first `num_images` test images of a dataset.

    Args:
        dataset: one of DATASETS.
        path: where it lies, see `sources`; None for the digits that ship with the project.
        num_images: by default 200 digits, all images of another dataset.
        batch_size: images in a batch.
        image_size: the side in pixels that images are resized to; by default 299 for a folder and TFRecords, else
            images keep their size.
        shard: (i, n), the i-th of n parts, from 1: of every n images one.

    Raises:
        ValueError: what cannot be read or makes no sense there, or fewer images than asked for.
    """
    checks.one_of("dataset", dataset, DATASETS)
    for name, value in (("num_images", num_images), ("batch_size", batch_size), ("image_size", image_size)):
        if value is not None:
            checks.count(name, value)
    if path is None and dataset != "mnist":
        raise ValueError(f"dataset {dataset!r} must be given its place, --data=PATH; received none")

    source = SOURCES[dataset](path)
    listing = list(itertools.islice(source.listing, num_images or NUM_IMAGES.get(dataset)))
    where = path or "the sample that ships with the project"
    if len(listing) < (num_images or 1):
        more = "" if path else "; --data=PATH/mnist.npz or --data=download gives all 10,000"
        raise ValueError(f"{where} holds {len(listing)} test images, {num_images or 1} were asked for{more}")
    part, parts = shard
    if part > len(listing):
        raise ValueError(f"part {part} of {parts} holds none of the {len(listing)} images")
    size = image_size or IMAGE_SIZES.get(dataset)
    images = (
        source.images.take(len(listing))
        .shard(parts, part - 1)
        .map(lambda image: prepared(image, size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    names, labels = map(list, zip(*listing[part - 1 :: parts]))
    return Dataset(names, labels, images.prefetch(tf.data.AUTOTUNE), batch_size, where)


def prepared(image: tf.Tensor, size: int | None) -> tf.Tensor:
    """An element of `Source.images` as [H, W, C], or [size, size, C] by bilinear interpolation with antialiasing."""
    if image.dtype == tf.string:
        image = decoded(image)
    if size is not None:
        image = tf.image.resize(image, [size, size], antialias=True)
    # What is delivered has 8 bits: from an original between the levels, rounding alone would be a perturbation.
    return tf.round(image * 255) / 255


def decoded(encoded: tf.Tensor) -> tf.Tensor:
    """PNG, JPEG, or what else TensorFlow decodes, as RGB [H, W, 3] in [0, 1].

    Grey is repeated, 16 bits are scaled. Opaque alpha is left out; other alpha is refused, for want of a background.

    Raises:
        tf.errors.InvalidArgumentError: transparent pixels, or bytes that are no whole image.
    """
    image = tf.io.decode_image(encoded, dtype=tf.float32, expand_animations=False)
    channels = tf.shape(image)[-1]
    colors = channels - (1 - channels % 2)  # alpha makes two channels of one and four of three
    tf.debugging.Assert(tf.reduce_all(image[..., colors:] == 1), ["it has transparent pixels"])
    return tf.ensure_shape(tf.repeat(image[..., :colors], 3 // colors, axis=-1), [None, None, 3])
