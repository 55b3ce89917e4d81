"""Attacks that search the smallest L2 norm itself, one norm an image: DDN, FMN and BP."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, criteria, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.masking import Masking
from tf_smoothadv.smoothing import Smoothing

__all__ = ["BP", "DDN", "FMN", "MinimalNormAttack", "Tried", "side"]


SHORTER = 0.8  # of an iterate, when a search begins that does more with it than the nearest code


class Tried(NamedTuple):
    """An iterate, and what an attack has learnt by it.

    Attributes:
        z: the perturbation in the coordinates searched, r itself unless the attack is masked; [B, H, W, C].
        direction: the unit gradient in z, smoothed if the attack is, down which the loss falls; [B, H, W, C].
        success: whether it is adversarial; [B] bool.
        smallest: the smallest norm of an adversarial iterate, this one's included; infinite without any; [B].
        boundary: the norm at which the margin would be zero, by its slope along the direction, but at least twice that
            of an iterate of which the delivery leaves nothing; [B].
    """

    z: tf.Tensor
    direction: tf.Tensor
    success: tf.Tensor
    smallest: tf.Tensor
    boundary: tf.Tensor

    @property
    def any_success(self) -> tf.Tensor:
        """Whether an iterate was adversarial, this one or one before; [B] bool."""
        return self.smallest < self.smallest.dtype.max


@dataclasses.dataclass(frozen=True)
class MinimalNormAttack(core.Attack):
    """Steps down a loss, each brought to a radius epsilon, which shrinks after a success and grows otherwise.

    r <- p(r - rate step_size n(g)), n(g) = g / ||g|| with g the gradient of the loss, and p(r) of norm epsilon; epsilon
    shrinks after an adversarial iterate and grows after another. The rate falls from 1 to 0.01 by half a cosine.
    Every iterate is tried; the success of least norm is kept. With `confidence` that is the least norm at which the
    model errs by so much.

    With `smoothing` the gradient is smoothed like the image before it is normalised (12). Steps in the latent z of (17)
    would smooth it twice, by s and by its adjoint; on photographs, smoothing once with a larger alpha gives
    perturbations that are as smooth and smaller. To restrict r to the range of s restricts nothing: s is invertible.

    With `masking` all of this happens in z, r = T z (`Masker`): the gradient there is T' g, which `smoothing` smooths,
    and the norm searched, whose least is kept, is ||z||. `AttackResult.distortion` is that of r, as ever.

    With `delivery` the model is shown the iterate as it is saved, whose success and distortion count; the iterate is
    not rounded. In the last three fifths of the steps what is nearest to it in a `Jpeg` file is searched. To `Levels`
    it is rounded so that with `smoothing` r stays smooth (`Smoother.rounded`), with `masking` to what is nearest in
    ||z|| (`Masker.rounded`), otherwise to the nearest level.
    """

    tensors: ClassVar[dict[str, tf.DType]] = {
        "steps": tf.int32,
        "step_size": tf.float32,
        "norm_step": tf.float32,
        "confidence": tf.float32,
    }

    steps: int = 100
    step_size: float = 1.0
    norm_step: float = 0.05
    smoothing: Smoothing | None = None
    loss: str = "margin"
    delivery: Delivery | None = None
    masking: Masking | None = None
    confidence: float = 0.0

    def __post_init__(self) -> None:
        checks.count("steps", self.steps)
        checks.in_range("step_size", self.step_size, 0, open_low=True)
        checks.in_range("norm_step", self.norm_step, 0, 1, open_low=True)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.optional("masking", self.masking, Masking)
        checks.one_of("loss", self.loss, criteria.LOSSES)
        checks.optional("delivery", self.delivery, Delivery)
        checks.in_range("confidence", self.confidence, 0)

    def first(self, images: tf.Tensor) -> tf.Tensor:
        """The first iterate, [B, H, W, C] in [0, 1]."""
        return images

    def step(
        self, tried: Tried, epsilon: tf.Tensor, step_size: tf.Tensor, norm_step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The next z and its epsilon [B], after an iterate with this epsilon [B]; both steps as the rate has them."""
        raise NotImplementedError

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        model = model.demanding(self.confidence)
        shaper = shaping.of(images, self.smoothing, self.masking, self.delivery)
        loss = functools.partial(criteria.classification_loss, self.loss)

        x = last = self.first(images)
        code = shaper.delivered(images).code
        best = core.start(images, self.steps * model.samples, code)
        epsilon = tf.ones_like(best.distortion)
        smallest = tf.fill(tf.shape(labels), images.dtype.max)
        has_search = bool(code) and not model.jit_compile
        search_from = (2 * self.steps + 4) // 5
        for step in tf.range(self.steps):
            if has_search and step == search_from:
                x, epsilon = images + SHORTER * (x - images), SHORTER * epsilon
            shown = shaper.searched(x, code) if has_search and step >= search_from else shaper.delivered(x)
            code = shown.code
            slope = core.slope(model, shown.images, labels, targets, loss, step == 0)
            gradient = shaper.pull_back(slope.gradient)
            direction = tensors.unit_l2(shaper.smoothed(gradient))

            z = shaper.latent(x - images)
            best = core.keep_best(best, images, shown, slope.success, model.samples, slope.faulty, shaper.norm)
            norm = tensors.l2_norm(z)
            smallest = tf.where(slope.success, tf.minimum(smallest, norm), smallest)
            steepness = tf.reduce_sum(gradient * direction, axis=[1, 2, 3])
            boundary = norm + tf.math.divide_no_nan(slope.margin, steepness)
            unchanged = tf.reduce_all(shown.images == images, axis=[1, 2, 3])
            boundary = tf.where(unchanged, tf.maximum(boundary, 2 * norm), boundary)

            rate = 0.505 + 0.495 * tf.cos(math.pi * tf.cast(step / self.steps, x.dtype))
            tried = Tried(z, direction, slope.success, smallest, boundary)
            z, following = self.step(tried, epsilon, rate * self.step_size, rate * self.norm_step)
            x, last = core.go_on(slope.usable, tensors.clip(images + shaper.signal(z)), x, last)
            epsilon = tf.where(slope.usable, following, epsilon)
        shown = shaper.searched(x, code) if has_search else shaper.delivered(x)
        success = core.is_adversarial(model, shown.images, labels, targets)
        return core.keep_best(best, images, shown, success, norm=shaper.norm)


@dataclasses.dataclass(frozen=True)
class DDN(MinimalNormAttack):
    """Decoupled direction and norm: r is always of norm epsilon_k = epsilon_{k-1} (1 -+ norm_step), epsilon_0 = 1.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step. Works best at the magnitude of the expected final distortion.
        norm_step: the share by which the norm shrinks after an adversarial iterate, and grows after another.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        loss: "margin" (3), or "cross_entropy" as in the source.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        confidence: by how much the model must err, in logits, at least 0: a success of the search is an iterate whose
            margin is as far below zero. Where none is, the last one is returned.

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

    def step(
        self, tried: Tried, epsilon: tf.Tensor, step_size: tf.Tensor, norm_step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        epsilon *= tf.where(tried.success, 1 - self.norm_step, 1 + self.norm_step)
        return tensors.per_image(epsilon) * tensors.unit_l2(tried.z - step_size * tried.direction), epsilon


@dataclasses.dataclass(frozen=True)
class FMN(MinimalNormAttack):
    """Fast minimum norm: r is of norm epsilon_k at most, which closes in on the smallest adversarial one.

    After an adversarial iterate, epsilon_k = min(epsilon_{k-1} (1 - c_k), the smallest). After another epsilon_k is
    epsilon_{k-1} (1 + c_k), or, where none has been adversarial yet, the norm at which the margin's slope meets zero,
    times (1 + norm_step), so as to cross it. c_k falls from `norm_step` as the step size does.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step. Works best at the magnitude of the expected final distortion.
        norm_step: c_0, the share by which the norm shrinks or grows.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        confidence: by how much the model must err, in logits, at least 0: a success of the search is an iterate whose
            margin is as far below zero. Where none is, the last one is returned.

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

    def step(
        self, tried: Tried, epsilon: tf.Tensor, step_size: tf.Tensor, norm_step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        outside = tf.where(tried.any_success, epsilon * (1 + norm_step), tried.boundary * (1 + self.norm_step))
        epsilon = tf.where(tried.success, tf.minimum(epsilon * (1 - norm_step), tried.smallest), outside)
        return tensors.project_l2(tried.z - step_size * tried.direction, epsilon), epsilon


@dataclasses.dataclass(frozen=True)
class BP(MinimalNormAttack):
    """Boundary projection: once an iterate is adversarial, walks along the boundary, with the gradient as its normal n.

    Until then r goes down the gradient. After an adversarial iterate, the next is the nearest to it of norm
    epsilon = (1 - c_k) ||r|| in the plane through r normal to n: v + (r - v) / ||r - v|| sqrt(epsilon^2 - ||v||^2),
    where v = <r, n> n is the plane's point nearest the image; or, where that is further than epsilon,
    epsilon v / ||v||. After an iterate that does not, r goes down the gradient as far as norm ||r|| / (1 - c_k). c_k
    falls from `norm_step` as the step size does.

    Args:
        steps: gradients to take.
        step_size: the L2 norm of the first step. Works best at the magnitude of the expected final distortion.
        norm_step: c_0, the share by which the norm shrinks; 1 - gamma_min of the source.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        loss: "margin" (3), or "cross_entropy".
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        confidence: by how much the model must err, in logits, at least 0: a success of the search is an iterate whose
            margin is as far below zero. Where none is, the last one is returned.

    Raises:
        ValueError: a value outside these.

    Source: Zhang, Avrithis, Furon, Amsaleg 2020, https://arxiv.org/abs/1912.02153, algorithm 1. There c_k falls by
    a line, the iterates are rounded, and v itself is taken where it is further than epsilon, which on a linear model
    stays where it first overshot.

    The boundary is 1/4 away:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = BP(steps=60)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), result.distortion.numpy().round(2), result.gradients.numpy()
    (array([ True]), array([0.25], dtype=float32), array([60], dtype=int32))
    """

    norm_step: float = 0.3

    def step(
        self, tried: Tried, epsilon: tf.Tensor, step_size: tf.Tensor, norm_step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z, direction = tried.z, tried.direction
        norm = tensors.l2_norm(z)
        along = tf.reduce_sum(z * direction, axis=[1, 2, 3])

        shorter = norm * (1 - norm_step)
        foot = tensors.per_image(along) * direction
        walked = tensors.project_l2(foot, shorter) + tensors.per_image(side(shorter, along)) * tensors.unit_l2(z - foot)

        longer = norm / (1 - norm_step)
        length = along + tf.sqrt(tf.square(longer) - tf.square(norm) + tf.square(along))
        crossing = z - tensors.per_image(tf.where(tried.any_success, length, step_size)) * direction
        return tensors.choose(tried.success, walked, crossing), epsilon


def side(hypotenuse: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The third side [B] of a right triangle; 0 where `other` is longer than the hypotenuse."""
    return tf.sqrt(tf.maximum(tf.square(hypotenuse) - tf.square(other), 0))
