"""The images that the binaries work on, in batches.

From Python any `tf.data.Dataset` of batches (images [B, H, W, C] in [0, 1], labels [B]) does as well: it goes straight
into `protocol.evaluate`.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, protocol, resizing
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.data import decoding, formats

__all__ = ["DATASETS", "SOURCES", "Dataset", "Images", "alike", "decoded", "labelled_by", "load", "prepared"]

SOURCES: dict[str, Callable[[Any], formats.Source]] = {
    "mnist": formats.digits,
    "nips2017": formats.nips2017,
    "folder": formats.folder,
    "tfrecord": formats.tfrecord,
}
DATASETS = tuple(SOURCES)
NUM_IMAGES = {"mnist": 200}
IMAGE_SIZES = {"folder": 299, "tfrecord": 299}
R = TypeVar("R")
AHEAD = 8  # images at once: of 12 megapixels, they take 1 GB while they are resized


@dataclasses.dataclass(frozen=True)
class Images:
    """Images [H, W, C], one by one, the same each time; threads prepare a few ahead of the one asked for.

    Attributes:
        source: what they are made of, see `formats.Source`.
        chosen: which of the source they are.
        names: what each is called in messages.
        size: the side in pixels that they are resized to; None leaves it.
        resize: how, see `resizing.squared`.

    Raises:
        ValueError: while iterating, an image that cannot be read.
    """

    source: Iterable[formats.Place | tf.Tensor]
    chosen: slice
    names: list[str]
    size: int | None
    resize: str

    def __iter__(self) -> Iterator[tf.Tensor]:
        images = itertools.islice(self.source, self.chosen.start, self.chosen.stop, self.chosen.step)
        readable = formats.readable(images, self.names.__getitem__)
        with futures.ThreadPoolExecutor(AHEAD) as threads:
            tasks = (
                threads.submit(prepared, image, self.size, name, self.resize)
                for image, name in zip(readable, self.names)
            )
            begun = collections.deque(itertools.islice(tasks, AHEAD))
            while begun:
                yield begun.popleft().result()
                begun.extend(itertools.islice(tasks, 1))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Test images; iterating gives batches (images [B, H, W, C] float32 in [0, 1], labels [B] int32).

    With `targets` it gives (images, labels, targets), for targeted attacks. The images come in the same order each
    time. Their values are multiples of 1 / 255.

    Attributes:
        names: one an image, by its index: all different, and fit to be a relative file path without its suffix.
        labels: the classes, from 0.
        images: [H, W, C], one by one.
        batch_size: B; the last batch may be smaller.
        path: where the images lie.
        folders: how many folders have classes by their order alone; None where something names the classes.
        given: of each image by its name, the target that the dataset has for it.
        targets: the classes to reach, as `aimed` sets them; None for any class but the label.
        own: whether images may have different sizes: those of another size than the one before begin a new batch.
        begins: indices of images that begin a new batch, because a run had come to its end before them.

    Raises:
        ValueError: while iterating, an image that cannot be read, or, unless they may, of another size than those
            before it.
    """

    names: list[str]
    labels: list[int]
    images: Iterable[tf.Tensor]
    batch_size: int
    path: str
    folders: int | None = None
    given: Mapping[str, int] = dataclasses.field(default_factory=dict)
    targets: list[int] | None = None
    own: bool = False
    begins: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """[H, W, C], of the first image, which is read for it."""
        return tuple(next(iter(self.images)).shape)

    def __iter__(self) -> Iterator[tuple[tf.Tensor, ...]]:
        columns = [self.labels] if self.targets is None else [self.labels, self.targets]
        runs = (bisect.bisect(self.begins, index) for index in itertools.count())
        rows = zip(runs, self.images if self.own else self._of_one_size(), *columns)
        for batch in alike(rows, lambda row: (row[0], *row[1].shape), self.batch_size):
            _, images, *classes = zip(*batch)
            yield tf.stack(images), *(tf.constant(column, tf.int32) for column in classes)

    def _of_one_size(self) -> Iterator[tf.Tensor]:
        first = None
        for name, image in zip(self.names, self.images):
            height, width, _ = image.shape
            first = first or (height, width)
            if (height, width) != first:
                raise ValueError(
                    f"images must be of one size: {name} of {self.path} is {height} x {width}, those before it are "
                    f"{first[0]} x {first[1]}; --image_size resizes them"
                )
            yield image

    def check_classes(self, classes: int) -> None:
        """Refuses class folders that are not all of a model's classes, so that their order does not tell the classes.

        Args:
            classes: how many the model has.

        Raises:
            ValueError: another number of class folders, and nothing that says which classes they are.
        """
        if self.folders not in (None, classes):
            raise ValueError(
                f"{self.path} has {self.folders} class folders, the model has {classes} classes: write "
                f"{pathlib.Path(self.path) / formats.CLASSES}, one folder name a line in the order of the model's "
                "classes, or --labels=predicted"
            )


def alike(rows: Iterable[R], shape: Callable[[R], Any], size: int) -> Iterator[list[R]]:
    """Rows in lists of at most `size`; one of another shape than the one before begins a new list.

    >>> list(alike([1, 1, 1, 2], lambda row: row, size=2))
    [[1, 1], [1], [2]]
    """
    for _, those in itertools.groupby(rows, shape):
        while batch := list(itertools.islice(those, size)):
            yield batch


def labelled_by(model: core.Model, dataset: Dataset) -> Dataset:
    """The same images with the classes that the model says: an attack is then one on its own decisions.

    For images whose classes are not known, and for networks that have learnt nothing.
    """
    labels = [int(label) for images, *_ in dataset for label in protocol.predict(model, images)]
    return dataclasses.replace(dataset, labels=labels, folders=None)


def load(
    dataset: str,
    path: str | None,
    num_images: int | None = None,
    batch_size: int = 200,
    image_size: int | None = None,
    shard: tuple[int, int] = (1, 1),
    resize: str = resizing.CROP,
    own: bool = False,
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
        resize: how images come to that size, see `resizing.squared`.
        own: whether images keep their own sizes, whatever `image_size` is.

    Raises:
        ValueError: what cannot be read or makes no sense there, or fewer images than asked for.
    """
    checks.one_of("dataset", dataset, SOURCES)
    checks.one_of("resize", resize, resizing.RESIZES)
    for name, value in (("num_images", num_images), ("batch_size", batch_size), ("image_size", image_size)):
        if value is not None:
            checks.count(name, value)
    if path is None and dataset != "mnist":
        raise ValueError(f"dataset {dataset!r} needs --data=PATH, where its images lie; received none")

    source = SOURCES[dataset](path)
    listing = list(itertools.islice(source.listing, num_images or NUM_IMAGES.get(dataset)))
    where = path or "the sample that ships with the project"
    if len(listing) < (num_images or 1):
        more = "" if path else "; --data=PATH/mnist.npz or --data=download gives all 10,000"
        raise ValueError(f"{where} holds {len(listing)} test images, {num_images or 1} were asked for{more}")
    part, parts = shard
    if part > len(listing):
        raise ValueError(f"part {part} of {parts} holds none of the {len(listing)} images")
    size = None if own else image_size or IMAGE_SIZES.get(dataset)
    chosen = slice(part - 1, len(listing), parts)
    names, labels = map(list, zip(*listing[chosen]))
    images = Images(source.images, chosen, [f"{name} of {where}" for name in names], size, resize)
    return Dataset(names, labels, images, batch_size, where, source.folders, source.targets, own=own)


def prepared(
    image: formats.Place | tf.Tensor, size: int | None, name: str = "the image", resize: str = resizing.CROP
) -> tf.Tensor:
    """An element of `Source.images` as [H, W, C], or as `resizing.squared` makes it of this size.

    Raises:
        ValueError: what `decoding` refuses.
    """
    with tf.device("CPU"):  # a GPU's memory is for the networks
        if not isinstance(image, (tf.Tensor, np.ndarray)):
            image = _rgb(decoding.read(image, name))
        elif image.dtype == tf.string:
            image = decoded(image, name)
        if size is not None:
            (image,) = resizing.squared(image[tf.newaxis], size, resize)
        # What is delivered has 8 bits: from an original between the levels, rounding alone would be a perturbation.
        return tf.round(image * 255) / 255


def decoded(encoded: tf.Tensor, name: str = "the image") -> tf.Tensor:
    """The content of an image file, a scalar string, as RGB [H, W, 3] in [0, 1]; grey is repeated.

    Raises:
        ValueError: what `decoding.decode` refuses.
    """
    return _rgb(decoding.decode(encoded.numpy(), name))


def _rgb(pixels: np.ndarray) -> tf.Tensor:
    return tf.constant(np.broadcast_to(pixels, (*pixels.shape[:2], 3)) / np.float32(255))
