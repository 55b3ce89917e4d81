"""Trains a small network on MNIST against a smooth attack on itself, with Keras's own `fit`.

    python docs/examples/adversarial_training.py mnist.npz

An attack is called inside `train_step` like any other TensorFlow code: it becomes a part of the compiled step, and sees
the network as it is at that step.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_smoothadv as sa

ATTACK = sa.attacks.PGD2(epsilon=1.5, step_size=0.5, steps=5, smoothing=sa.Smoothing(alpha=0.95, gamma=3.0))


class Hardened(keras.Model):
    """Trains `network` on what the attack makes of each batch."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.network(images, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        images, labels = data
        logs: dict[str, Any] = super().train_step((ATTACK(self.network, images, labels).adversarial, labels))
        return logs


def network() -> keras.Model:
    """A small convolutional network, from images [B, 28, 28, 1] in [0, 1] to logits [B, 10]."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def trained(images: np.ndarray, labels: np.ndarray, epochs: int = 3, hardened: bool = True) -> keras.Model:
    """A network trained on images [N, 28, 28, 1] in [0, 1] and labels [N], against the attack or not."""
    keras.utils.set_random_seed(0)
    made = network()
    model = Hardened(made) if hardened else made
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=128, epochs=epochs, verbose=2)
    return made


def main(path: str) -> None:
    """Trains both, and tells how often the attack that searches the least distortion succeeds within 1.5."""
    with np.load(path) as file:
        train, test = (
            (file[f"x_{part}"][..., None] / np.float32(255), file[f"y_{part}"]) for part in ("train", "test")
        )
    for hardened in (False, True):
        model = trained(train[0][:12800], train[1][:12800], hardened=hardened)
        run = sa.protocol.evaluate(model, [(test[0][:200], test[1][:200])], {"fmn": sa.attacks.FMN(50)})
        within = float(run.characteristic(1.5)["fmn"])
        print(f"hardened: {hardened}; accuracy {run.accuracy:.3f}, of these misclassified within 1.5: {within:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
