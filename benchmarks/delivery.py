"""What other libraries' attacks return, as files: rounded to the nearest level, and by `sa.deliver`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import networks, peers
from tf_smoothadv import criteria, protocol, tensors

CONSTANTS = 3  # of C&W


class Case(NamedTuple):
    """A network with images, and how they are attacked.

    Attributes:
        problem: the network, the images and their labels.
        scale: what is as large as their perturbations.
        batch: images at once.
        slow: images for ART's C&W, which searches along every step; 0 leaves it out.
    """

    problem: networks.Problem
    scale: peers.Scale
    batch: int
    slow: int


def run(cases: Mapping[str, Case], steps: int) -> Iterator[dict[str, Any]]:
    """One row a network, library and attack.

    `survive` is the share of the successes in floats that `sa.deliver` keeps; `factor` is the distortion that it takes
    for these over that of the floats.
    """
    for network, case in cases.items():
        compiled = Compiled(case.problem.model)
        for library, make, names in (
            ("Foolbox", peers.foolbox, ("PGD2", "C&W", "DDN")),
            ("ART", peers.art, ("PGD2", "C&W")),
        ):
            for name in names:
                count = case.slow if (library, name) == ("ART", "C&W") else len(case.problem.images)
                if not count:
                    continue
                found = [
                    survival(part, make(part._replace(model=compiled), steps, CONSTANTS, case.scale)[name]())
                    for part in batches(case.problem, count, case.batch)
                ]
                yield {"network": network, "library": library, "attack": name} | row(*map(np.concatenate, zip(*found)))


class Compiled:
    """A network in one compiled function, for libraries that call it layer by layer, which takes ten times as long."""

    def __init__(self, model: keras.Model) -> None:
        self.output_shape = model.output_shape
        self.answer = tf.function(lambda images: model(images, training=False))

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.answer(images)


def batches(problem: networks.Problem, count: int, size: int) -> Iterator[networks.Problem]:
    """The first `count` images, so many at once."""
    for start in range(0, min(count, len(problem.images)), size):
        yield problem.part(min(start + size, count), start)


def survival(problem: networks.Problem, adversarial: np.ndarray) -> tuple[tf.Tensor, ...]:
    """Of each image: success in floats, rounded to the nearest level and delivered; distortion before and after."""
    model, originals, floats = sa.Classifier.of(problem.model), tf.constant(problem.images), tf.constant(adversarial)
    computed, rounded = (
        criteria.is_adversarial(model(images), problem.labels) for images in (floats, protocol.quantize(floats))
    )
    delivered = sa.deliver(model, originals, floats, problem.labels)
    return computed, rounded, delivered.success, tensors.l2_norm(floats - originals), delivered.distortion


def row(
    computed: np.ndarray, rounded: np.ndarray, delivered: np.ndarray, before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    """The numbers of all images."""
    both = computed & delivered
    floats, files = float(np.mean(before[both])), float(np.mean(after[both]))
    return {
        "images": len(computed),
        "p_suc": float(np.mean(computed)),
        "p_suc_rounded": float(np.mean(rounded)),
        "survive": float(np.sum(both) / np.sum(computed)),
        "mean_distortion": floats,
        "mean_distortion_delivered": files,
        "factor": files / floats,
    }
