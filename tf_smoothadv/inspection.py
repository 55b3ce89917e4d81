"""Is it a model that can be attacked? What is wrong with it, and what to do, before hours are spent on it."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, criteria, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier, compile_for

__all__ = ["check", "num_classes", "without_softmax"]

RANGES = ((0, 1), (0, 255), (-1, 1))  # that networks expect
SHIFTS = {0: "", 1: "add 1 to the labels, or drop the model's first class", -1: "subtract 1 from the labels"}
REPEATED = 1e-4  # of the logits' spread: what two calls of one computation may differ by
REGROUPED = 1e-2  # of the logits' spread: what the order of sums, another in a batch of another size, may change
AT_ONCE = 32  # images of which a network is asked for logits


def check(model: core.Model, images: Any, labels: Any = None, *, gradients: bool = True) -> float:
    """The accuracy of a model on a batch that it is about to be attacked on, once it has passed these checks.

    It is what `Classifier.check` asks for, returns finite logits, the same each time and whatever else is in the batch,
    and its margin (`criteria.margin`) has a finite gradient at each image that is not zero everywhere. Where accuracy
    is much better with images in another range or with labels shifted by one, that is an error too: at least half the
    images are right then, a fifth of them and three more than before, and of three classes, as no network that always
    says the same gets. A network that bears the wrong range well passes: one for [-1, 1] sees [0, 1] as a pale image.

    Args:
        model: a `Classifier`, a Keras model, or any callable, from images [B, H, W, C] in [0, 1] to logits [B, K].
        images: [B, H, W, C] in [0, 1], floats.
        labels: [B], the true classes; None for what the model predicts.
        gradients: whether they are checked too; a model that only judges images needs none.

    Returns:
        The share of the images that it classifies correctly; of a random model by the mean of its draws' logits.

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
    classifier = Classifier.of(model)
    images = tf.cast(checks.as_images(images), tf.float32)
    classes = num_classes(classifier, images)
    predictions = _predictions(classifier, images)
    labels = checks.as_labels(predictions if labels is None else labels, images.shape[0])
    if not classifier.random:
        _check_repeatable(classifier, images)
    accuracy = _checked_accuracy(classifier, images, predictions, labels.numpy())
    if int(tf.reduce_max(labels)) >= classes:
        raise ValueError(f"labels must be below the model's {classes} classes; received {int(tf.reduce_max(labels))}")
    if gradients:
        _check_gradients(classifier, images, labels)
    return accuracy


def num_classes(model: core.Model, images: Any) -> int:
    """K of a model that maps images [B, H, W, C] in [0, 1] to logits [B, K].

    Raises:
        ValueError: images of another shape than a Keras model says it takes, or what `Classifier.check` refuses.

    >>> num_classes(lambda images: images[:, 0, :3, 0], tf.fill([1, 4, 4, 1], 0.5))
    3
    """
    classifier = Classifier.of(model)
    images = tf.cast(checks.as_images(images), tf.float32)
    inputs = getattr(classifier.model, "inputs", None) or []
    if len(inputs) == 1 and not images.shape[1:].is_compatible_with(inputs[0].shape[1:]):
        raise ValueError(
            f"the model takes images {tuple(inputs[0].shape[1:])}, these are {tuple(images.shape[1:])}: "
            "resize the images (a command's --image_size), or make the model for their size"
        )
    return classifier.check(images).classes


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


def _logits(classifier: Classifier, images: tf.Tensor) -> np.ndarray:
    """Those by which it classifies the images, [B, K]."""
    size = max(1, AT_ONCE // classifier.samples)
    parts = (images[i : i + size] for i in range(0, len(images), size))
    if classifier.random:
        return np.concatenate([protocol.mean_logits(classifier, part) for part in parts])
    return np.concatenate([classifier.quick(part) for part in parts])


def _predictions(classifier: Classifier, images: tf.Tensor) -> np.ndarray:
    logits = _logits(classifier, images)
    if not np.isfinite(logits).all():
        raise ValueError("the model must return finite logits; it returned NaN or infinity for these images")
    classes: np.ndarray = np.argmax(logits, axis=1)
    return classes


def _check_repeatable(classifier: Classifier, images: tf.Tensor) -> None:
    """Raises ValueError for a model that is random, or does not treat each image by itself."""
    first = images[:1]
    alone = classifier(first)
    spread = tf.reduce_max(alone) - tf.reduce_min(alone)
    if not bool(tf.reduce_all(tf.abs(alone - classifier(first)) <= REPEATED * spread)):
        raise ValueError(
            "the model must return the same logits each time; two calls on one image differ: switch its dropout or "
            "noise off (training=False), or say that it draws random numbers: sa.Classifier(model, samples=10), the "
            "flag --samples=10"
        )
    beside = classifier(tf.concat([first, 1 - first], 0))[:1]
    if not bool(tf.reduce_all(tf.abs(alone - beside) <= REGROUPED * spread)):
        raise ValueError(
            "the model must treat each image by itself; an image's logits change with the rest of its batch: "
            "let batch normalisation use its moving statistics (training=False)"
        )


def _checked_accuracy(classifier: Classifier, images: tf.Tensor, predictions: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy, unless it is another range of images or a shift of the labels that makes them right."""
    said, (start, end) = {classifier.input_range: predictions}, classifier.input_range
    for low, high in RANGES:
        if (low, high) not in said:
            others = (low + (high - low) * images - start) / (end - start)  # which it scales to that range
            with contextlib.suppress(Exception):  # of a network that refuses such images itself
                said[low, high] = np.argmax(_logits(classifier, others), axis=1)
    right = {(ends, shift): said[ends] == labels + shift for ends, shift in itertools.product(said, SHIFTS)}
    given = right[classifier.input_range, 0]
    ((low, high), shift), best = max(right.items(), key=lambda item: np.sum(item[1]))
    gain = np.sum(best) - np.sum(given)
    if np.mean(best) >= 0.5 and gain >= max(3, len(labels) / 5) and len(set(labels[best])) >= 3:
        expected = (
            f"say so: sa.Classifier(model, input_range=({low:g}, {high:g})), the flag --input_range={low:g},{high:g}"
        )
        remedies = [expected if (low, high) != classifier.input_range else "", SHIFTS[shift]]
        raise ValueError(
            f"the model's accuracy on {len(labels)} images is {np.mean(given):.3f}, but {np.mean(best):.3f} for images "
            f"in [{low:g}, {high:g}] and labels {shift:+d}: {' and '.join(filter(None, remedies))}"
        )
    return float(np.mean(given))


def _check_gradients(classifier: Classifier, images: tf.Tensor, labels: tf.Tensor) -> None:
    def sizes(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            margin = criteria.margin(classifier(images), labels)
        gradient = tape.gradient(margin, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3])

    function = compile_for(sizes, tf.TensorSpec([None, *images.shape[1:]]), tf.TensorSpec([None], tf.int32))
    found = function(images, labels).numpy()
    for wrong, what, remedy in (
        (~np.isfinite(found), "NaN or infinite", "look for a root, logarithm or quotient at zero in it"),
        (found == 0, "zero", core.REMEDY),
    ):
        if wrong.any():
            raise ValueError(
                f"the gradient of the model's margin is {what} at {np.sum(wrong)} of {len(found)} images: {remedy}"
            )
