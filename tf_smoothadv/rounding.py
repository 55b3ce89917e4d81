"""Adversarial images made fit for files: the nearest images of 8 bits that are adversarial still."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tf_smoothadv import checks, criteria, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier

__all__ = ["deliver"]

BISECTIONS = 14  # of the multiplier, each one call of the model
LOWEST, HIGHEST = 1e-3, 1e6  # multipliers, in squared levels by the largest slope of an image
ATTEMPTS = 4  # gradients, at most
GROWTH = 1.25  # of a perturbation that no rounding keeps adversarial


def deliver(
    model: core.Model, originals: Any, adversarial: Any, labels: Any, levels: int = 256, targets: Any = None
) -> core.AttackResult:
    """Rounds adversarial images, of any attack or library, to levels such that they stay adversarial.

    Of the two levels v around each value a of an adversarial image, in units of a level, it takes the one of the least

        (v - o)^2 + lambda g v,

    where o is the original and g the slope of the margin at the adversarial image: a small distortion, or a small
    margin. The multiplier lambda is each image's own, the smallest that keeps it adversarial, found by bisection of its
    logarithm, a call of the model each. What no lambda keeps adversarial grows by a quarter and is tried again, with a
    new gradient, up to 4 in all. Of all that was tried the least distorted success is kept.

    Args:
        model: a `Classifier`, a Keras model, or any callable, from images [B, H, W, C] in [0, 1] to logits [B, K].
        originals: [B, H, W, C] in [0, 1].
        adversarial: the same shape, in [0, 1]; floats, or 8-bit values divided by 255.
        labels: [B], the true classes.
        levels: values that a pixel of the result can have, at least 2.
        targets: [B], the classes to reach; None for any class but the label.

    Returns:
        An `AttackResult`: the images delivered, and what was taken for them.

    Raises:
        ValueError: what an attack refuses; adversarial images that are not like the originals, or levels below 2.

    Source: Bonnet, Furon, Bas 2020, "What if adversarial samples were digital images?",
    https://doi.org/10.1145/3369412.3395062. There lambda is searched by forward passes as well, and nothing grows.

    Rounded to the nearest level, an image just beyond the boundary comes back to it:

    >>> from tf_smoothadv import protocol
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> original = tf.fill([1, 4, 4, 1], 128 / 255)
    >>> beyond = original - 1.0321 / 16
    >>> [float(tf.reduce_sum(image)) < 7 for image in (beyond, protocol.quantize(beyond))]
    [True, False]
    >>> result = deliver(model, original, beyond, [0])
    >>> bool(result.success[0]), round(255 * float(result.adversarial[0, 0, 0, 0]))
    (True, 111)
    """
    originals = tf.cast(checks.as_images(originals, "originals"), tf.float32)
    adversarial = tf.cast(checks.as_images(adversarial, "adversarial"), tf.float32)
    checks.same_shape("adversarial", adversarial.shape, originals.shape)
    return _Rounding(adversarial, levels)(model, originals, labels, targets)


@dataclasses.dataclass(frozen=True)
class _Rounding(core.Attack):
    """What `deliver` does, as an attack: compiled, checked and judged like all others."""

    tensors: ClassVar[dict[str, tf.DType]] = {"adversarial": tf.float32, "levels": tf.float32}

    adversarial: Any
    levels: Any

    def __post_init__(self) -> None:
        checks.count("levels", self.levels, at_least=2)

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        highest = self.levels - 1
        # Not images + r: that misses a level by the last bits, between which rounding would choose.
        o, a = highest * images, highest * self.adversarial
        best = core.start(images, ATTEMPTS * model.samples)
        for attempt in tf.range(ATTEMPTS):
            if tf.reduce_all(best.success):
                break
            slope = core.slope(model, a / highest, labels, targets, criteria.margin, attempt == 0)
            taken = tf.where(best.success, 0, model.samples)
            best = best._replace(gradients=best.gradients + taken, faulty=best.faulty + tf.cast(slope.faulty, tf.int32))
            unit = tensors.per_image(tf.reduce_max(tf.abs(slope.gradient), axis=[1, 2, 3]))
            g = tf.math.divide_no_nan(slope.gradient, unit)

            low, high = tf.math.log(LOWEST) + tf.zeros_like(best.distortion), tf.math.log(HIGHEST)
            high += tf.zeros_like(low)
            multiplier = low
            for _ in tf.range(BISECTIONS):
                v = rounded(o, a, tensors.per_image(tf.exp(multiplier)) * g)
                candidate = tensors.at_level(v, self.levels)
                success = core.is_adversarial(model, candidate, labels, targets)
                best = core.keep_best(best, images, candidate, success)
                low, high = tf.where(success, low, multiplier), tf.where(success, multiplier, high)
                multiplier = (low + high) / 2
            a = tf.clip_by_value(o + GROWTH * (a - o), 0, highest)
        return best


def rounded(o: tf.Tensor, a: tf.Tensor, price: tf.Tensor) -> tf.Tensor:
    """Of the integers next to a the one of least (v - o)^2 + price v; all [B, H, W, C]."""
    below, above = tf.floor(a), tf.math.ceil(a)
    dearer = tf.square(above - o) - tf.square(below - o) + price * (above - below)
    return tf.where(dearer > 0, below, above)
