"""Attacks that target a distortion by following the gradient: FGSM, I-FGSM and PGD2."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, ClassVar, NamedTuple, TypeVar

import tensorflow as tf

from tf_smoothadv import checks, criteria, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.masking import Masking
from tf_smoothadv.smoothing import Smoothing

__all__ = ["FGSM", "IFGSM", "PGD2", "GradientAttack"]

LEAST, STRONGEST = KEPT = ("least", "strongest")

G = TypeVar("G", bound="GradientAttack")


class _Search(NamedTuple):
    """Where a descent stands.

    Attributes:
        x: the iterate, [B, H, W, C].
        last: the last iterate before it with a usable gradient.
        success: whether one before it was adversarial, [B] bool.
        best: the best of all.
    """

    x: tf.Tensor
    last: tf.Tensor
    success: tf.Tensor
    best: core.AttackResult


@dataclasses.dataclass(frozen=True)
class GradientAttack(core.Attack):
    """The iteration (10), (11), smooth by (12): x <- c(x - n(g)), g the gradient of a classification loss.

    With `smoothing` the gradient is smoothed like the image before it is normalised by n. Every iterate is tried; the
    least distorted success is kept, or, to use all of epsilon, the one of largest margin.

    With `masking` the gradient in z, r = T z (`Masker`), is what is smoothed, and the step is brought back by T: that
    of the L2 norm goes along T S T' g, that of signs is T sign(S T' g), most where the mask is large. Epsilon and step
    size stay those of r.

    With `binary_search_steps` each image's own smallest epsilon is bisected below the given one, each time from a new
    start and with the step size in proportion: the merging of runs over several epsilons (5.1) for targets that are
    the image's own. An image that has succeeded within an epsilon waits for its next one, and costs nothing meanwhile.

    With `delivery` the model is shown the iterate as it is saved, whose success and distortion count; the iterate is
    not rounded. To `Levels` it is rounded so that with `smoothing` r stays smooth (`Smoother.rounded`), otherwise to
    the nearest level.
    """

    tensors: ClassVar[dict[str, tf.DType]] = {"epsilon": tf.float32, "step_size": tf.float32, "steps": tf.int32}
    largest_epsilon: ClassVar[float] = math.inf

    epsilon: float
    step_size: float
    steps: int = 20
    smoothing: Smoothing | None = None
    loss: str = "cross_entropy"
    binary_search_steps: int = 0
    delivery: Delivery | None = None
    masking: Masking | None = None
    keep: str = LEAST

    def __post_init__(self) -> None:
        checks.in_range(
            "epsilon", self.epsilon, 0, self.largest_epsilon, open_low=True, open_high=self.largest_epsilon == math.inf
        )
        checks.in_range("step_size", self.step_size, 0, open_low=True)
        checks.count("steps", self.steps)
        checks.one_of("loss", self.loss, criteria.LOSSES)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.optional("masking", self.masking, Masking)
        checks.count("binary_search_steps", self.binary_search_steps, at_least=0)
        checks.optional("delivery", self.delivery, Delivery)
        checks.one_of("keep", self.keep, KEPT)
        if self.keep != LEAST and self.binary_search_steps:
            raise ValueError(
                f"keep must be {LEAST!r} where the least epsilon is searched; received {self.keep!r} and "
                f"binary_search_steps={self.binary_search_steps}"
            )

    def within(self: G, gradients: int | None) -> G:
        return self if gradients is None else self.replaced(steps=gradients // (1 + self.binary_search_steps))

    def size(self, r: tf.Tensor) -> tf.Tensor:
        """The norm that epsilon limits; [B]."""
        raise NotImplementedError

    def step(self, direction: tf.Tensor, step_size: tf.Tensor, shaper: shaping.Shaper) -> tf.Tensor:
        """The normalised update n of (11), step_size [B], from the direction in z."""
        raise NotImplementedError

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        """The nearest perturbation of size epsilon [B] or less."""
        raise NotImplementedError

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        shaper = shaping.of(images, self.smoothing, self.masking, self.delivery)
        loss = functools.partial(criteria.classification_loss, self.loss)

        def advance(search: _Search, batch: Any, shaper: shaping.Shaper, first: tf.Tensor) -> _Search:
            """One step of (11) from x, which is tried on the way."""
            images, labels, targets, limit = batch
            shown = shaper.delivered(search.x)
            slope = core.slope(model, shown.images, labels, targets, loss, first)
            direction = shaper.smoothed(shaper.pull_back(slope.gradient))
            r = search.x - self.step(direction, limit * self.step_size / self.epsilon, shaper) - images
            following = tensors.clip(images + self.project(r, limit))
            x, last = core.go_on(slope.usable, following, search.x, search.last)
            norm = slope.margin if self.keep == STRONGEST else tensors.l2_norm
            best = core.keep_best(search.best, images, shown, slope.success, model.samples, slope.faulty, norm)
            return _Search(x, last, search.success | slope.success, best)

        def descend(limit: tf.Tensor, best: core.AttackResult) -> tuple[tf.Tensor, core.AttackResult]:
            """All the steps within this epsilon [B], when searching until the image's first success.

            Which images have had one, and the best iterates.
            """
            batch = images, labels, targets, limit
            search = _Search(images, images, tf.zeros_like(labels, tf.bool), best)
            for step in tf.range(self.steps):
                if self.binary_search_steps:
                    active = ~search.success
                    if not tf.reduce_any(active):
                        break
                    some = core.active_first(active)
                    some_of = core.gather(search, some), core.gather(batch, some), shaper.take(some)
                    advanced = advance(*some_of, step == 0)
                    search = core.scatter(search, some, advanced, active)
                else:
                    search = advance(search, batch, shaper, step == 0)
            shown = shaper.delivered(search.x)
            logits = model.draws(shown.images)
            success = core.errs_in_every_draw(model, logits, labels, targets)
            margin = core.clear_margin(model, logits, labels, targets)
            norm = margin if self.keep == STRONGEST else tensors.l2_norm
            return search.success | success, core.keep_best(search.best, images, shown, success, norm=norm)

        high = tf.broadcast_to(self.epsilon, tf.shape(labels))  # one for all, or each image its own
        low = tf.zeros_like(high)
        gradients = self.steps * (1 + self.binary_search_steps) * model.samples
        _, best = descend(high, core.start(images, gradients, shaper.delivered(images).code))
        if self.binary_search_steps:  # or a loop would be compiled that is never run
            for _ in tf.range(self.binary_search_steps):
                high = tf.where(best.success, tf.minimum(high, self.size(best.adversarial - images)), high)
                middle = (low + high) / 2
                success, best = descend(middle, best)
                low, high = tf.where(success, low, middle), tf.where(success, middle, high)
        return best


@dataclasses.dataclass(frozen=True)
class IFGSM(GradientAttack):
    """Iterative fast gradient sign method: n(g) = step_size sign(g), every pixel of r in [-epsilon, epsilon].

    Args:
        epsilon: largest change of a pixel, in (0, 1] for pixels in [0, 1].
        step_size: change of a pixel in one step.
        steps: gradients to take.
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        loss: "cross_entropy" or "margin" (3).
        binary_search_steps: bisections of each image's epsilon, below the given one; 0 for that one alone.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        keep: of the successes "least", the least distorted, or "strongest", the one whose margin is the largest, as for
            transfer; that needs a single epsilon.

    Raises:
        ValueError: a value outside these.

    Source: Kurakin, Goodfellow, Bengio 2017, https://arxiv.org/abs/1607.02533; (10), (11) and (12) of the paper.

    The class changes at 1/16 a pixel, which the third step passes:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = IFGSM(epsilon=0.1, step_size=0.03, steps=10)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> [round(float(pixel), 2) for pixel in (tf.reduce_min(result.adversarial), tf.reduce_max(result.adversarial))]
    [0.41, 0.41]
    """

    largest_epsilon: ClassVar[float] = 1.0

    def size(self, r: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.abs(r), axis=[1, 2, 3])

    def step(self, direction: tf.Tensor, step_size: tf.Tensor, shaper: shaping.Shaper) -> tf.Tensor:
        return tensors.per_image(step_size) * shaper.signal(tf.sign(direction))

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(r, -tensors.per_image(epsilon), tensors.per_image(epsilon))


@dataclasses.dataclass(frozen=True)
class PGD2(GradientAttack):
    """Projected gradient descent in the L2 ball: n(g) = step_size g / ||g||, ||r|| <= epsilon.

    Args:
        epsilon: largest L2 norm of the perturbation.
        step_size: L2 norm of one step.
        steps: gradients to take.
        smoothing: smooth the gradient like the image (12), sPGD2 of the paper; None for the plain attack.
        loss: "cross_entropy" or "margin" (3).
        binary_search_steps: bisections of each image's epsilon, below the given one; 0 for that one alone.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.
        keep: of the successes "least", the least distorted, or "strongest", the one whose margin is the largest, as for
            transfer; that needs a single epsilon.

    Raises:
        ValueError: a value outside these.

    Source: Madry et al. 2018, https://arxiv.org/abs/1706.06083; (10), (11) and (12) of the paper.

    The boundary is 1/4 away; the third step passes it, and the search for the smallest epsilon stops at it:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> for attack in (PGD2(1.0, 0.1, 10), PGD2(1.0, 0.1, 20, binary_search_steps=10)):
    ...     result = attack(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    ...     print(result.success.numpy(), result.distortion.numpy().round(2))
    [ True] [0.3]
    [ True] [0.25]
    """

    def size(self, r: tf.Tensor) -> tf.Tensor:
        return tensors.l2_norm(r)

    def step(self, direction: tf.Tensor, step_size: tf.Tensor, shaper: shaping.Shaper) -> tf.Tensor:
        return tensors.per_image(step_size) * tensors.unit_l2(shaper.signal(direction))

    def project(self, r: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        return tensors.project_l2(r, epsilon)


@dataclasses.dataclass(frozen=True)
class FGSM(core.Attack):
    """Fast gradient sign method: x = c(x_o - epsilon sign(g)), one gradient.

    Args:
        epsilon: change of every pixel, in (0, 1] for pixels in [0, 1].
        smoothing: smooth the gradient like the image (12); None for the plain attack.
        loss: "cross_entropy" or "margin" (3).
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        masking: shape the perturbation by what the image hides; None for the plain attack.

    Raises:
        ValueError: a value outside these.

    Source: Goodfellow, Shlens, Szegedy 2015, https://arxiv.org/abs/1412.6572; (10), (11) and (12) of the paper.

    The class changes at 1/16 a pixel:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> attacks = FGSM(epsilon=0.06), FGSM(epsilon=0.07)
    >>> [bool(attack(model, tf.fill([1, 4, 4, 1], 0.5), [0]).success[0]) for attack in attacks]
    [False, True]
    """

    tensors: ClassVar[dict[str, tf.DType]] = {"epsilon": tf.float32}

    epsilon: float
    smoothing: Smoothing | None = None
    loss: str = "cross_entropy"
    delivery: Delivery | None = None
    masking: Masking | None = None

    def __post_init__(self) -> None:
        self._as_iterative()

    def within(self, gradients: int | None) -> FGSM:
        return self

    def _as_iterative(self) -> IFGSM:
        return IFGSM(self.epsilon, self.epsilon, 1, self.smoothing, self.loss, 0, self.delivery, self.masking)

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        return self._as_iterative().run(model, images, labels, targets)
