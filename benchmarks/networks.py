"""The networks to attack: C4, and networks of ImageNet's size."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

import models
import tf_smoothadv as sa
from benchmarks import images
from tf_smoothadv import protocol
from tf_smoothadv.evaluation import data

SIDE = 299
AT_ONCE = 20  # more photographs take gigabytes, which TensorFlow keeps
DIGITS = sa.Smoothing(alpha=0.95, gamma=10.0, iterations=12)
PHOTOGRAPHS = sa.Smoothing(alpha=0.997, gamma=10.0, iterations=25)


class Problem(NamedTuple):
    """A network, a batch, and the smoothing of the smooth attacks on it.

    Attributes:
        model: from images to logits.
        images: [B, H, W, C] in [0, 1].
        labels: [B], what the network says of them.
        smoothing: by a fixed number of sweeps, which on photographs are as near to the solution as 50 iterations of CG.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    smoothing: sa.Smoothing

    def part(self, stop: int, start: int = 0) -> Problem:
        """The same with the images from `start` to before `stop` alone."""
        return self._replace(images=self.images[start:stop], labels=self.labels[start:stop])


def c4(batch: int, path: str | None = None) -> Problem:
    """C4, clean, on the first test digits of MNIST's npz file, or of those that ship with the project."""
    digits, _ = next(iter(data.load("mnist", path, num_images=batch, batch_size=batch)))
    return problem(models.c4("clean"), digits.numpy(), DIGITS)


def saved(path: str, folder: str | None, batch: int) -> Problem:
    """A network from a Keras file, on photographs."""
    return problem(models.load(path), images.photographs(folder, batch, SIDE), PHOTOGRAPHS)


def inception_v3(folder: str | None, batch: int) -> Problem:
    """InceptionV3 with random weights, on photographs."""
    keras.utils.set_random_seed(0)
    model = keras.applications.InceptionV3(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None)
    return problem(model, images.photographs(folder, batch, SIDE), PHOTOGRAPHS)


def problem(model: keras.Model, inputs: np.ndarray, smoothing: sa.Smoothing) -> Problem:
    """The network's own answers are the labels, so that every image counts."""
    parts = (inputs[start : start + AT_ONCE] for start in range(0, len(inputs), AT_ONCE))
    return Problem(model, inputs, np.concatenate([protocol.predict(model, part) for part in parts]), smoothing)
