"""The flags of every binary that works on images: which ones, and how many at once."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import flags

from eval import batching, data, results
from tf_smoothadv import checks
from tf_smoothadv.attacks import core

AUTO = "auto"

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", "mnist", data.DATASETS, "The images.")
flags.DEFINE_string(
    "data",
    None,
    "Where the images lie. mnist: a file mnist.npz, or 'download'; by default the sample that ships with the project. "
    "nips2017: a folder with images.csv and images/*.png. folder: a folder with one folder of PNG, JPEG, BMP or WebP "
    "images a class; the folders in sorted order must be all of the model's classes, or classes.txt beside them names "
    "its classes, one folder a line. tfrecord: a file, a glob or a folder of TF-Slim's form, also packed by GZIP or "
    "ZLIB, labels from 1 to 1000 (0 is the background).",
)
flags.DEFINE_integer(
    "num_images",
    None,
    "How many test images, from the first on; by default 200 digits, all images of another dataset.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Pixels a side that images are resized to; by default 299 for folder and tfrecord, else as they are.",
    lower_bound=1,
)
flags.DEFINE_string("batch_size", AUTO, f"Images in a batch; {AUTO!r} takes as many as memory and speed allow.")
flags.register_validator(
    "batch_size",
    lambda value: value == AUTO or (value.isdecimal() and int(value) > 0),
    message=f"batch_size must be {AUTO!r} or an integer of at least 1",
)

CHECKED = 32  # images that a model is checked on


def dataset(shard: tuple[int, int] = (1, 1)) -> data.Dataset:
    """The images that the flags name, or a part of them, in batches to check models on."""
    return data.load(FLAGS.dataset, FLAGS.data, FLAGS.num_images, CHECKED, FLAGS.image_size, shard)


def batched(dataset: data.Dataset, models: Iterable[core.Model], folder: pathlib.Path | None = None) -> data.Dataset:
    """The same images in batches of the size that the flags say, for these models, which take the images.

    A run that goes on in its folder takes the batches that it began with: what a network computes for an image depends,
    in its last bits, on how many others it is given.
    """
    begun = folder and results.settings_of(folder).get("batch_size")
    if FLAGS.batch_size == AUTO and begun:
        checks.count(f"batch_size in {folder}/{results.SETTINGS}", begun)
        size = begun
    elif FLAGS.batch_size == AUTO:
        shape = tuple(next(iter(dataset.images)).shape)
        size = min(batching.automatic(model, shape) for model in models)
    else:
        size = int(FLAGS.batch_size)
    return dataclasses.replace(dataset, batch_size=size)


def made_with(dataset: data.Dataset) -> dict[str, Any]:
    """What records depend on of the images."""
    return {
        "dataset": FLAGS.dataset,
        "data": dataset.path,
        "images": dataset.names,
        "image_size": FLAGS.image_size,
        "batch_size": dataset.batch_size,
    }
