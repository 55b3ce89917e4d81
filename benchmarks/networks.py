"""The networks to attack: C4, and networks of ImageNet's size."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import models
from benchmarks import images
from eval import data

SIDE = 299


class Problem(NamedTuple):
    """A network, a batch, and the smoothing's bandwidth on it.

    Attributes:
        model: from images to logits.
        images: [B, H, W, C] in [0, 1].
        labels: [B], what the network says of them.
        alpha: the smooth attacks'.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    alpha: float


def c4(batch: int) -> Problem:
    """C4, clean, on the digits that ship with the project."""
    digits, _ = next(iter(data.load("mnist", None, num_images=batch, batch_size=batch)))
    return problem(models.c4("clean"), digits.numpy(), alpha=0.95)


def saved(path: str, folder: str | None, batch: int) -> Problem:
    """A network from a Keras file, on photographs."""
    return problem(models.load(path), images.photographs(folder, batch, SIDE), alpha=0.997)


def inception_v3(folder: str | None, batch: int) -> Problem:
    """InceptionV3 with random weights, on photographs."""
    keras.utils.set_random_seed(0)
    model = keras.applications.InceptionV3(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None)
    return problem(model, images.photographs(folder, batch, SIDE), alpha=0.997)


def problem(model: keras.Model, inputs: np.ndarray, alpha: float) -> Problem:
    """The network's own answers are the labels, so that every image counts."""
    logits = model(tf.constant(inputs), training=False)
    return Problem(model, inputs, np.argmax(logits, axis=1).astype(np.int32), alpha)
