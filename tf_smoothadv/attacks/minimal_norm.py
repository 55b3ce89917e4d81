"""Attacks that search the smallest L2 norm itself, one norm an image: DDN and FMN."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, criteria
from tf_smoothadv.attacks import core
from tf_smoothadv.smoothing import Smoothing


class Tried(NamedTuple):
    """What an attack has learnt by the iterate r of a step; each [B].

    Attributes:
        success: whether it deceives, bool.
        smallest: the smallest norm of an iterate that does, this one's included; infinite as long as none does.
        boundary: the norm at which the margin would be zero, by its slope along the step that follows.
    """

    success: tf.Tensor
    smallest: tf.Tensor
    boundary: tf.Tensor


@dataclasses.dataclass(frozen=True)
class MinimalNormAttack(core.Attack):
    """Steps down a loss, each brought to a radius epsilon that is the image's own and follows what deceives.

    r <- p(r - rate step_size n(g)), n(g) = g / ||g|| with g the gradient of the loss, and p(r) of norm epsilon; epsilon
    shrinks after an iterate that deceives and grows after another. The rate falls from 1 to 0.01 by half a cosine.
    Every iterate is tried; the least distorted success is kept.

    With `smoothing` the gradient is smoothed like the image before it is normalised (12).

    With `levels` the model is shown the iterate rounded, whose success and distortion count; the iterate is not. With
    `smoothing` it is rounded so that r stays smooth (`Smoother.rounded`), otherwise to the nearest level.
    """

    tensors: ClassVar[dict[str, tf.DType]] = {"steps": tf.int32, "step_size": tf.float32}

    steps: int = 100
    step_size: float = 1.0
    norm_step: float = 0.05
    smoothing: Smoothing | None = None
    loss: str = "margin"
    levels: int | None = None

    def __post_init__(self) -> None:
        checks.count("steps", self.steps)
        checks.in_range("step_size", self.step_size, 0, open_low=True)
        checks.in_range("norm_step", self.norm_step, 0, 1, open_low=True)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.one_of("loss", self.loss, criteria.LOSSES)
        core.check_levels(self.levels)

    def next_epsilon(self, epsilon: tf.Tensor, tried: Tried, rate: tf.Tensor) -> tf.Tensor:
        """The radius [B] after a step that began within `epsilon` [B]."""
        raise NotImplementedError

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        """The r of norm epsilon [B], or of at most that, that takes the place of r."""
        raise NotImplementedError

    def run(  # type: ignore[override]
        self,
        model: core.Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        targets: tf.Tensor | None,
        steps: tf.Tensor,
        step_size: tf.Tensor,
    ) -> core.AttackResult:
        smoother = self.smoothing.guided_by(images) if self.smoothing else None

        def tried_at(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """The image that the model is shown, and its logits."""
            shown = core.quantized(x, self.levels, smoother)
            return shown, core.logits_of(model, shown)

        x, best = images, core.start(images, steps)
        epsilon = tf.ones_like(best.distortion)
        smallest = tf.fill(tf.shape(labels), images.dtype.max)
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(x)
                shown, logits = tried_at(x)
                loss = criteria.classification_loss(self.loss, logits, labels, targets)
            gradient = tape.gradient(loss, x)
            direction = core.unit_l2(gradient if smoother is None else smoother(gradient))

            r = x - images
            success = criteria.is_adversarial(logits, labels, targets)
            best = core.keep_best(best, images, shown, success)
            norm = core.l2_norm(r)
            smallest = tf.where(success, tf.minimum(smallest, norm), smallest)
            slope = tf.reduce_sum(gradient * direction, axis=[1, 2, 3])
            boundary = norm + tf.math.divide_no_nan(criteria.margin(logits, labels, targets), slope)

            rate = 0.505 + 0.495 * tf.cos(math.pi * tf.cast(step / steps, x.dtype))
            epsilon = self.next_epsilon(epsilon, Tried(success, smallest, boundary), rate)
            x = core.clip(images + self.project(r - rate * step_size * direction, epsilon))
        shown, logits = tried_at(x)
        return core.keep_best(best, images, shown, criteria.is_adversarial(logits, labels, targets), gradients=0)


@dataclasses.dataclass(frozen=True)
class DDN(MinimalNormAttack):
    """Decoupled direction and norm: r is always of norm epsilon_k = epsilon_{k-1} (1 -+ norm_step), epsilon_0 = 1.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step.
        norm_step: the share by which the norm shrinks after an iterate that deceives, and grows after another.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        loss: "margin" (3), or "cross_entropy" as in the source.
        levels: values that a pixel of the result can have, 256 for images of 8 bits; None for any.

    Raises:
        ValueError: a value outside these.

    Source: Rony et al. 2019, https://arxiv.org/abs/1811.09600, algorithm 1.

    The boundary is 1/4 away:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = DDN(steps=200, norm_step=0.01)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), result.distortion.numpy().round(2), result.gradients.numpy()
    (array([ True]), array([0.25], dtype=float32), array([200], dtype=int32))
    """

    def next_epsilon(self, epsilon: tf.Tensor, tried: Tried, rate: tf.Tensor) -> tf.Tensor:
        return epsilon * tf.where(tried.success, 1 - self.norm_step, 1 + self.norm_step)

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        return core.per_image(epsilon) * core.unit_l2(r)


@dataclasses.dataclass(frozen=True)
class FMN(MinimalNormAttack):
    """Fast minimum norm: r is of norm epsilon_k at most, which closes in on the smallest norm that deceives.

    After an iterate that deceives, epsilon_k = min(epsilon_{k-1} (1 - c_k), the smallest). After another epsilon_k is
    epsilon_{k-1} (1 + c_k), or, where none has deceived yet, the norm at which the margin's slope meets the boundary,
    times (1 + norm_step), so as to cross it. c_k falls from `norm_step` as the step size does.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step.
        norm_step: c_0, the share by which the norm shrinks or grows.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        levels: values that a pixel of the result can have, 256 for images of 8 bits; None for any.

    Raises:
        ValueError: a value outside these.

    Source: Pintor et al. 2021, https://arxiv.org/abs/2102.12827, algorithm 1.

    The boundary is 1/4 away:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = FMN(steps=40)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), result.distortion.numpy().round(2), result.gradients.numpy()
    (array([ True]), array([0.25], dtype=float32), array([40], dtype=int32))
    """

    loss: str = dataclasses.field(default="margin", init=False)  # whose slope tells how far the boundary is

    def next_epsilon(self, epsilon: tf.Tensor, tried: Tried, rate: tf.Tensor) -> tf.Tensor:
        change = self.norm_step * rate
        outside = tf.where(
            tried.smallest < tried.smallest.dtype.max, epsilon * (1 + change), tried.boundary * (1 + self.norm_step)
        )
        return tf.where(tried.success, tf.minimum(epsilon * (1 - change), tried.smallest), outside)

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        return core.project_l2(r, epsilon)
