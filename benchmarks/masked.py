"""Networks whose gradients are hidden, none of which is robust: what `Standard` says of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import models
import tf_smoothadv as sa
from tf_smoothadv import protocol
from tf_smoothadv.classifier import NoGradientError
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.data import mnist
from tf_smoothadv.evaluation.rendering import tables

EPSILON = 2.0
TEMPERATURE = 100.0  # of Papernot et al. 2016, https://arxiv.org/abs/1511.04508
LEVELS = 8
TRAINED, EPOCHS = 5000, 15
BATCH = 50
REFUSED = "an error: no gradient"
COLUMNS = ("accuracy", "faulty_images", "masked_images", "left_at_2", "stated", "beside_it", "mean_gradients")


def run(path: str | None, digits: int) -> Iterator[dict[str, Any]]:
    """One row a network.

    Args:
        path: MNIST's npz file with its training images, None for the digits that ship, without the distilled network.
        digits: how many are attacked, the first.
    """
    dataset = data.load("mnist", path, digits, BATCH)
    for name, model in networks(path).items():
        attack = sa.attacks.Standard((EPSILON,), delivery=sa.Levels(256))
        try:
            found = protocol.evaluate(model, dataset, {"standard": attack})
        except NoGradientError:
            yield {"network": name, "images": digits, **dict.fromkeys(COLUMNS), "stated": REFUSED}
            continue
        found = dataclasses.replace(found, epsilons=(EPSILON,))
        told, interval = tables.robust_cells(found, "standard")
        records = found.records
        yield {
            "network": name,
            "images": found.num_images,
            "accuracy": found.accuracy,
            "faulty_images": found.faulty("standard")[0],
            "masked_images": found.masked("standard"),
            "left_at_2": found.robust_accuracy("standard", EPSILON).value,
            "stated": told,
            "beside_it": interval,
            "mean_gradients": float(np.mean([record.gradients for record in records])),
        }


def networks(path: str | None) -> dict[str, Any]:
    """C4 as it is, and with gradients hidden in each way."""
    model = models.c4()
    made: dict[str, Any] = {
        "as given": model,
        "logits x 100": lambda images: TEMPERATURE * model(images),
        "softmax of logits x 100": sa.Classifier(
            lambda images: tf.nn.softmax(TEMPERATURE * model(images)), outputs="probabilities"
        ),
        "quantised, noise for a gradient": lambda images: model(quantised(images)),
    }
    return made if path is None else {**made, "distilled at temperature 100": distilled(path)}


@tf.custom_gradient
def quantised(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Eight levels a pixel; the gradient, which is zero, is replaced by noise."""
    steps = LEVELS - 1
    noise = tf.random.stateless_normal(tf.shape(images), [1, 2], dtype=images.dtype)
    return tf.round(steps * images) / steps, lambda upstream: noise


def distilled(path: str) -> keras.Model:
    """C4 trained at a temperature on what another, trained at it, says; both on the first training digits."""
    images, labels = mnist.read(path, "train")
    images, labels = images[:TRAINED], labels[:TRAINED]
    teacher = trained(images, np.eye(10, dtype=np.float32)[labels])
    soft = tf.nn.softmax(teacher.predict(images, verbose=0) / TEMPERATURE).numpy()
    return trained(images, soft)


def trained(images: np.ndarray, targets: np.ndarray) -> keras.Model:
    """C4 from fresh weights, by cross-entropy at the temperature."""
    keras.utils.set_random_seed(0)
    model = models.c4(None)

    def loss(expected: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax_cross_entropy_with_logits(expected, logits / TEMPERATURE)

    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(images) // 64)), loss)
    model.fit(images, targets, batch_size=64, epochs=EPOCHS, verbose=0)
    return model
