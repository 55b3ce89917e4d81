"""ALMA, which minimises the L2 norm subject to success, by an augmented Lagrangian with one multiplier an image."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tf_smoothadv import checks, criteria, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.masking import Masking
from tf_smoothadv.smoothing import Smoothing

__all__ = ["ALMA", "penalty_slope"]

CHECKED_EVERY = 10  # steps
IMPROVED = 0.95  # what the margin must have fallen to since, as a share
RHO_GROWTH = 1.2
LAST_RATE = 0.01
CONFIDENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class ALMA(core.Attack):
    """Descends ||r|| + P(m, rho, mu), where m is the margin ratio and P is a penalty that is zero at m = 0.

    P has the slope mu + 2 mu rho m + rho^2 m^2 / 2 where m >= 0, else mu / (1 - rho m)^2. The multiplier mu follows
    that slope, mu <- averaging mu + (1 - averaging) dP/dm; rho is multiplied by 1.2 every 10 steps, until the
    first success, unless m has fallen by a twentieth. The descent is RMSprop with momentum, both of weight `averaging`;
    its rate falls to a hundredth between the first success and the last step. Every iterate is tried; the success of
    least norm is kept. With `delivery` the model is shown the iterate as it is saved, as in `MinimalNormAttack`.

    With `smoothing` the gradient of m is smoothed like the image (12) and keeps its norm. RMSprop then has one scale
    for each image: a scale for each pixel would undo the smoothing. The gradient of ||r|| is not smoothed: it shrinks
    all of r alike, and smoothed it would shrink the smooth part only.

    With `masking` it descends in z, r = T z (`Masker`): ||z|| stands for ||r||, and the gradient of m is T' g.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step. Works best at the magnitude of the expected final distortion.
        averaging: alpha of the source, in (0, 1): 0.5 for about a hundred steps, 0.9 for a thousand.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        confidence: by how much the model must err, in logits, at least 0: a success of the search is an iterate whose
            margin is as far below zero. Where none is, the last one is returned.

    Raises:
        ValueError: a value outside these.

    Source: Rony, Granger, Pedersoli, Ben Ayed 2021, https://arxiv.org/abs/2011.11857, algorithm 1, penalty P2.

    The boundary is 1/4 away:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = ALMA(steps=100)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), result.distortion.numpy().round(2), result.gradients.numpy()
    (array([ True]), array([0.25], dtype=float32), array([100], dtype=int32))
    """

    tensors: ClassVar[dict[str, tf.DType]] = {
        "steps": tf.int32,
        "step_size": tf.float32,
        "averaging": tf.float32,
        "confidence": tf.float32,
    }

    steps: int = 100
    step_size: float = 0.5
    averaging: float = 0.5
    smoothing: Smoothing | None = None
    delivery: Delivery | None = None
    masking: Masking | None = None
    confidence: float = 0.0

    def __post_init__(self) -> None:
        checks.count("steps", self.steps)
        checks.in_range("step_size", self.step_size, 0, open_low=True)
        checks.in_range("averaging", self.averaging, 0, 1, open_low=True)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.optional("masking", self.masking, Masking)
        checks.optional("delivery", self.delivery, Delivery)
        checks.in_range("confidence", self.confidence, 0)

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        model = model.demanding(self.confidence)
        shaper = shaping.of(images, self.smoothing, self.masking, self.delivery)
        averaging = self.averaging

        def loss(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
            confidence = tf.maximum(CONFIDENCE, core.allowance(model, logits, labels, targets))
            return criteria.margin_ratio(logits, labels, targets, confidence)

        x, last, best = images, images, core.start(images, self.steps * model.samples, shaper.delivered(images).code)
        square, momentum = tf.ones_like(x), tf.zeros_like(x)
        mu = rho = tf.ones_like(best.distortion)
        first_rate, before = tf.zeros_like(mu), tf.zeros_like(mu)
        first_success = tf.fill(tf.shape(labels), self.steps)
        for step in tf.range(self.steps):
            shown = shaper.delivered(x)
            slope = core.slope(model, shown.images, labels, targets, loss, step == 0)
            ratio, pull, usable = slope.loss, slope.gradient, slope.usable

            check = step % CHECKED_EVERY == CHECKED_EVERY - 1
            stuck = check & (first_success == self.steps) & (ratio >= IMPROVED * before)
            rho = tf.where(stuck & usable, RHO_GROWTH * rho, rho)
            before = tf.where((check & usable) | (step == 0), ratio, before)
            followed = averaging * mu + (1 - averaging) * penalty_slope(ratio, rho, mu)
            mu = tf.where((step == 0) | ~usable, mu, tf.clip_by_value(followed, 1e-6, 1e12))

            first_success = tf.where(slope.success, tf.minimum(first_success, step), first_success)
            best = core.keep_best(best, images, shown, slope.success, model.samples, slope.faulty, shaper.norm)

            pull = shaper.pull_back(pull)
            if shaper.smoother is not None:
                pull = tensors.per_image(tensors.l2_norm(pull)) * tensors.unit_l2(shaper.smoothed(pull))
            weight = tf.where(usable, penalty_slope(ratio, rho, mu), 0)
            gradient = tensors.unit_l2(shaper.latent(x - images)) + tensors.per_image(weight) * pull
            latest = tf.square(gradient)
            if shaper.smoother is not None:
                latest = tf.zeros_like(latest) + tf.reduce_mean(latest, axis=[1, 2, 3], keepdims=True)
            square = averaging * square + (1 - averaging) * latest
            momentum = averaging * momentum + gradient / (tf.sqrt(square) + 1e-8)
            if step == 0:
                first_rate = tf.math.divide_no_nan(self.step_size, tensors.l2_norm(momentum))
            since = tf.cast(tf.maximum(step - first_success, 0) / tf.maximum(self.steps - first_success, 1), x.dtype)
            rate = first_rate * tf.pow(LAST_RATE, since)
            move = shaper.signal(tensors.per_image(rate) * momentum)
            x, last = core.go_on(usable, tensors.clip(x - move), x, last)
        shown = shaper.delivered(x)
        success = core.is_adversarial(model, shown.images, labels, targets)
        return core.keep_best(best, images, shown, success, norm=shaper.norm)


def penalty_slope(margin: tf.Tensor, rho: tf.Tensor, mu: tf.Tensor) -> tf.Tensor:
    """dP/dm of the penalty P2 at the margin m; [B]."""
    missed = mu + 2 * mu * rho * margin + tf.square(rho * margin) / 2
    return tf.where(margin >= 0, missed, mu / tf.square(1 - rho * tf.minimum(margin, 0)))
