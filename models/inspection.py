"""Is it a model that can be attacked? What is wrong with it, and what to do, before hours are spent on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.files import first_line
from tf_smoothadv import checks, criteria
from tf_smoothadv.attacks import core

Logits = Callable[[tf.Tensor], tf.Tensor]

RANGES = {  # scale and offset of images in [0, 1], and what to do about a model that expects the range
    "[0, 1]": (1.0, 0.0, ""),
    "[0, 255]": (255.0, 0.0, "put keras.layers.Rescaling(255) before its first layer"),
    "[-1, 1]": (2.0, -1.0, "put keras.layers.Rescaling(2, offset=-1) before its first layer"),
}
SHIFTS = {0: "", 1: "add 1 to the labels, or drop the model's first class", -1: "subtract 1 from the labels"}
REPEATED = 1e-4  # of the logits' spread: what the same computation may differ by
REGROUPED = 1e-2  # in a batch of another size, where the order of sums is another


def check(model: core.Model, images: Any, labels: Any, *, gradients: bool = True) -> float:
    """The accuracy of a model on a batch that it is about to be attacked on, once it has passed these checks.

    It takes the images, returns finite logits, the same each time and whatever else is in the batch, and its margin
    (`criteria.margin`) has a finite gradient at each image that is not zero everywhere. Where accuracy is much better
    with images in another range or with labels shifted by one, that is an error too: at least half the images are
    right then, a fifth of them and three more than before, and of three classes, as no network that always says the
    same gets. A network that bears the wrong range well passes: one for [-1, 1] sees [0, 1] as a pale image.

    Args:
        model: a Keras model, or any callable, from images [B, H, W, C] in [0, 1] to logits [B, K].
        images: [B, H, W, C] in [0, 1], floats.
        labels: [B], the true classes.
        gradients: whether they are checked too; a model that only judges images needs none.

    Returns:
        The share of the images that it classifies correctly.

    Raises:
        ValueError: a check has failed; the message says what to do.

    >>> from models import c4
    >>> model, images = c4(), tf.random.stateless_uniform([4, 28, 28, 1], seed=[0, 0])
    >>> check(model, images, tf.argmax(model(images), axis=1))
    1.0
    >>> check(lambda images: tf.nn.softmax(model(images)), images, [0, 0, 0, 0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the model must return logits; each row it returned is non-negative and sums to 1, which is what ...
    """
    images = tf.cast(checks.as_images(images), tf.float32)
    labels = checks.as_labels(labels, images.shape[0])
    _check_input(model, images)
    classes = core.check_model(model, images)
    logits_of = core.compiled_logits(model, tuple(images.shape[1:]))
    _check_repeatable(logits_of, images)
    accuracy = _checked_accuracy(logits_of, images, labels.numpy())
    if int(tf.reduce_max(labels)) >= classes:
        raise ValueError(f"labels must be below the model's {classes} classes; received {int(tf.reduce_max(labels))}")
    if gradients:
        _check_gradients(model, images, labels)
    return accuracy


def without_softmax(model: Any) -> Any:
    """A Keras model up to its logits: a final softmax left out, the other layers shared; any other model as it is.

    The softmax may be the last layer of a functional or sequential model, its activation, or the end of a model that is
    the last layer.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    >>> logits, x = without_softmax(model), tf.ones([1, 4])
    >>> bool(tf.reduce_all(tf.abs(tf.nn.softmax(logits(x)) - model(x)) < 1e-6))
    True
    """
    if not getattr(model, "inputs", None) or len(model.outputs) != 1:
        return model
    last = getattr(model, "operations", model.layers)[-1]
    replacement = _linear(last)
    if replacement is None:
        return model
    logits = keras.models.clone_model(model, clone_function=lambda layer: replacement if layer is last else layer)
    replacement.set_weights(last.get_weights())
    return logits


def _linear(layer: Any) -> Any:
    """The layer without the softmax that it ends in, or None if it ends in none."""
    if isinstance(layer, keras.Model):
        linear = without_softmax(layer)
        return None if linear is layer else linear
    if isinstance(layer, keras.layers.Softmax):
        return keras.Sequential([keras.layers.Activation("linear")])  # like Softmax it may be called with a mask
    if getattr(layer, "activation", None) is keras.activations.softmax:
        return type(layer).from_config({**layer.get_config(), "activation": "linear"})
    return None


def _check_input(model: core.Model, images: tf.Tensor) -> None:
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) == 1 and not images.shape.is_compatible_with(inputs[0].shape):
        raise ValueError(
            f"the model takes images {tuple(inputs[0].shape[1:])}, these are {tuple(images.shape[1:])}: "
            "resize the images, or make the model for their size"
        )
    try:
        core.logits_of(model, images[:1])
    except Exception as error:  # Keras, TensorFlow and the model's own code each raise their own
        raise ValueError(
            f"the model must take images {tuple(images.shape[1:])}; it raised {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


def _check_repeatable(logits_of: Logits, images: tf.Tensor) -> None:
    first = images[:1]
    alone, again = logits_of(first), logits_of(first)
    if not _close(alone, again, REPEATED):
        raise ValueError(
            "the model must return the same logits each time; two calls on one image differ: "
            "switch its dropout or noise off (training=False)"
        )
    if not _close(alone, logits_of(tf.concat([first, 1 - first], 0))[:1], REGROUPED):
        raise ValueError(
            "the model must treat each image by itself; an image's logits change with the rest of its batch: "
            "let batch normalisation use its moving statistics (training=False)"
        )


def _close(logits: tf.Tensor, others: tf.Tensor, tolerance: float) -> bool:
    spread = tf.reduce_max(logits) - tf.reduce_min(logits)
    return bool(tf.reduce_all(tf.abs(logits - others) <= tolerance * spread))


def _checked_accuracy(logits_of: Logits, images: tf.Tensor, labels: np.ndarray) -> float:
    predictions = {
        name: np.argmax(logits_of(scale * images + offset), axis=1) for name, (scale, offset, _) in RANGES.items()
    }
    right = {(name, shift): predictions[name] == labels + shift for name, shift in itertools.product(RANGES, SHIFTS)}
    given = right["[0, 1]", 0]
    (name, shift), best = max(right.items(), key=lambda item: np.sum(item[1]))
    gain = np.sum(best) - np.sum(given)
    if np.mean(best) >= 0.5 and gain >= max(3, len(labels) / 5) and len(set(labels[best])) >= 3:
        remedies = " and ".join(filter(None, [RANGES[name][2], SHIFTS[shift]]))
        raise ValueError(
            f"the model's accuracy on {len(labels)} images is {np.mean(given):.3f}, but {np.mean(best):.3f} for images "
            f"in {name} and labels {shift:+d}: {remedies}"
        )
    return float(np.mean(given))


def _check_gradients(model: core.Model, images: tf.Tensor, labels: tf.Tensor) -> None:
    @tf.function
    def sizes(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            margin = criteria.margin(core.logits_of(model, images), labels)
        gradient = tape.gradient(margin, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3])

    found = sizes(images, labels).numpy()
    for wrong, what, remedy in (
        (~np.isfinite(found), "NaN or infinite", "look for a root, logarithm or quotient at zero in it"),
        (found == 0, "zero", "it must be differentiable in the images, without rounding, argmax or NumPy"),
    ):
        if wrong.any():
            raise ValueError(
                f"the gradient of the model's margin is {what} at {np.sum(wrong)} of {len(found)} images: {remedy}"
            )
