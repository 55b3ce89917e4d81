"""The images that the binaries work on."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

from models import mnist

DATASETS = ("mnist",)
SAMPLE = pathlib.Path(__file__).parent / "samples" / "mnist.npz"


def load(dataset: str, path: str | None, num_images: int, batch_size: int) -> tf.data.Dataset:
    """The first `num_images` test images of a dataset, as batches (images, labels).

    Args:
        dataset: one of DATASETS.
        path: where it lies; None for the sample that ships with the project. For MNIST a file mnist.npz in Keras's
            form, or "download" for Keras's own copy.

    Raises:
        ValueError: a file that cannot be read, or fewer images than asked for.
    """
    images, labels = digits(path)
    if num_images > len(images):
        where = f"{path} holds" if path else "the sample that ships with the project holds"
        more = "" if path else "; --data=PATH/mnist.npz or --data=download gives all 10,000"
        raise ValueError(f"{where} {len(images)} test images, {num_images} were asked for{more}")
    return tf.data.Dataset.from_tensor_slices((images[:num_images], labels[:num_images])).batch(batch_size)


def digits(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's test digits; see `load`."""
    if path == mnist.DOWNLOAD:
        return mnist.load(path)[1]
    return mnist.read(path or str(SAMPLE), "test")
