"""An image's result is its own: it does not depend on the other images of its batch, nor on its place among them.

No attack draws random numbers, so there is no seed to keep. What is left is rounding: a network's matrix products may
round otherwise for batches of another size, and so may TensorFlow's exponential (of the cross-entropy and the sigmoid)
in the last few numbers of a tensor. Where neither is at work results are equal to the last bit; with C4 they are within
TOLERANCE.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tf_smoothadv.attacks import FMN, IFGSM, PGD2, CarliniWagner, NearestClasses

SPEC = sa.Smoothing(alpha=0.9, gamma=3.0)
TOLERANCE = 2e-3  # of the distortion, relative
ATTACKS = {
    "ifgsm": IFGSM(0.3, 0.1, 5, binary_search_steps=3),
    "pgd2": PGD2(5.0, 1.5, 5, loss="margin", binary_search_steps=3),
    "cw": CarliniWagner(15, 3, learning_rate=0.5, initial_const=10.0),
    "spgd2": PGD2(5.0, 1.5, 5, SPEC, loss="margin", binary_search_steps=3),
    "spgd2-cg": PGD2(5.0, 1.5, 5, dataclasses.replace(SPEC, solver="cg", tol=1e-4), loss="margin"),
    "scw-8bit": CarliniWagner(15, 3, learning_rate=0.2, initial_const=3.0, smoothing=SPEC, delivery=sa.Levels()),
    "nfmn-8bit": NearestClasses(FMN(10, delivery=sa.Levels()), classes=2),
}


class Templates:
    """Logits that are, for each image by itself, sums of its products with a template a class."""

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self.templates = tf.constant(rng.normal(size=(10, *shape)).astype(np.float32))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda image: tf.reduce_sum(tf.tanh(self.templates * image), axis=[1, 2, 3]), images)


def regrouped(attack, model, images, labels):
    """The results of the images together, alone, in two batches of other sizes, and in another order."""
    yield attack(model, images, labels)
    parts = [
        np.arange(len(images))[:, None],
        np.array_split(np.arange(len(images)), [2]),
        [np.arange(len(images))[::-1]],
    ]
    for groups in parts:
        order = np.argsort(np.concatenate(groups))
        results = [attack(model, images[group], labels[group]) for group in groups]
        yield tf.nest.map_structure(functools.partial(joined, order), *results)


def joined(order, *values):
    return tf.gather(tf.concat(values, 0), order)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_to_the_bit_where_the_model_is(name, digits, rng):
    images = digits[0][:4]
    model = Templates(images.shape[1:], rng)
    labels = np.argmax(model(images), axis=1)
    together, *others = regrouped(ATTACKS[name], model, images, labels)
    for other in others:
        for expected, value in zip(together, other):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    "name", ["scw-8bit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ifgsm", "cw"))]
)
def test_within_rounding_for_a_network(name, digits):
    images, labels = digits[0][:4], digits[1][:4]
    together, *others = regrouped(ATTACKS[name], models.c4("clean"), images, labels)
    assert np.any(together.success)
    for other in others:
        np.testing.assert_array_equal(other.success, together.success)
        np.testing.assert_allclose(other.distortion, together.distortion, rtol=TOLERANCE)
