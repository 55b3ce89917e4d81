"""The standard evaluation of robustness: one attack without settings of its own, made of the strongest ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.attacks.augmented_lagrangian import ALMA
from tf_smoothadv.attacks.minimal_norm import FMN
from tf_smoothadv.attacks.nearest_classes import nearest_first
from tf_smoothadv.attacks.square import Square
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.smoothing import Smoothing

__all__ = ["Standard"]

CANDIDATES = 9  # classes whose boundaries are looked at


@dataclasses.dataclass(frozen=True)
class FMNFrom(FMN):
    """FMN with a first iterate of its own, from which it may come to another minimum."""

    begin: Any = None

    def first(self, images: tf.Tensor) -> tf.Tensor:
        return self.begin


class Stage(NamedTuple):
    """One of the attacks.

    Attributes:
        attack: of STRONGEST.
        rank: of the class that it is aimed at, 0 is the nearest; None for the class of the best so far.
        step: its step size, as a share of the distortion so far.
        reach: how many times an epsilon the distortion may be for a smaller one to be hoped for.
    """

    attack: FMNFrom | ALMA
    rank: int | None
    step: float
    reach: float


FMN_30, ALMA_50 = STRONGEST = FMNFrom(steps=30), ALMA(steps=50, averaging=0.7)
STAGES = (
    Stage(FMN_30, 0, 1.0, math.inf),
    Stage(FMN_30, 1, 1.0, 1.4),
    Stage(ALMA_50, 0, 0.25, 1.2),
    Stage(FMN_30, 2, 1.0, 1.2),
    Stage(FMN_30, 3, 1.0, 1.1),
    Stage(FMN_30, None, 0.5, 1.1),
    Stage(FMN_30, 4, 1.0, 1.05),
    Stage(FMN_30, 5, 1.0, 1.05),
    Stage(FMN_30, None, 1.0, 1.05),
)


@dataclasses.dataclass(frozen=True)
class Standard(core.Attack):
    """Robust accuracy at several epsilons in one run, or the least distortion: several attacks, each where it pays.

    The boundaries of 9 classes are ordered by their distance along the slope, d_k = (y_t - y_k) / ||g_k||, as
    `NearestClasses` does. Then, each beginning with what is known by then:

    1. FMN, 30 gradients, aimed at the nearest class, then at the second;
    2. ALMA, 50 gradients, aimed at the nearest;
    3. FMN, 30 gradients, aimed at the third, then at the fourth;
    4. FMN, 30 gradients, from x_o + r / 2, r the best so far, aimed at its class;
    5. FMN, 30 gradients, aimed at the fifth, then at the sixth, and again as in 4.

    Step sizes are in proportion to D, the image's least distortion so far, at first to 2 d_k: there is nothing to tune.
    An image is decided at epsilon when D <= epsilon. An attack is spent on an image only if it may decide an epsilon:

        epsilon < D < reach epsilon for one of the `epsilons`,

    where reach falls from infinity, at the first, over 1.4 at the second to 1.05; an image without any success goes on.
    Without epsilons every image gets all, for the least distortion.

    Then a control: `Square`, which needs no gradient, attacks within the largest epsilon what is still robust there.
    What it finds counts, and is told (`AttackResult.masked`): there the model hides its gradients, as by quantising
    what it sees, and the robustness that remains may be no more than what attacks by these gradients do not find.

    It takes no `masking`: masked attacks minimise another norm than the one that epsilon limits.

    Args:
        epsilons: L2 norms, for pixels in [0, 1]; none for the least distortion alone.
        smoothing: smooth the gradients like the image (12); None for the plain attack.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats.
        queries: calls of the model, an image, that the control may take; they do not count as gradients. 0 for none,
            5,000 for as many as AutoAttack's.

    Raises:
        ValueError: a value outside these; targets at the call, which this attack chooses itself.

    Source: Croce, Hein 2020, https://arxiv.org/abs/2003.01690, which evaluates without parameters by several attacks;
    classes in the order of their slopes, before any is attacked: Melamed, Yehudai, Shamir 2024 (MALT),
    https://arxiv.org/abs/2407.02240, there for APGD at one epsilon.

    The boundary is 1/4 away: decided at 0.3 by the first attack, robust at 0.24 after all that pay:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> image = tf.fill([1, 4, 4, 1], 0.5)
    >>> for epsilons in ((0.3,), (0.24, 0.3), ()):
    ...     result = Standard(epsilons)(model, image, [0])
    ...     print(result.distortion.numpy().round(2), result.gradients.numpy())
    [0.25] [31]
    [0.25] [141]
    [0.25] [141]
    """

    tensors: ClassVar[dict[str, tf.DType]] = {"epsilons": tf.float32, "queries": tf.int32}

    epsilons: tuple[float, ...] = ()
    smoothing: Smoothing | None = None
    delivery: Delivery | None = None
    queries: int = 200

    def __post_init__(self) -> None:
        if not isinstance(self.epsilons, tuple):
            raise ValueError(f"epsilons must be a tuple of numbers; received {self.epsilons!r}")
        for epsilon in self.epsilons:
            checks.in_range("epsilons", epsilon, 0, open_low=True)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.optional("delivery", self.delivery, Delivery)
        checks.count("queries", self.queries, at_least=0)

    def within(self, gradients: int | None) -> Standard:
        if gradients is not None:
            raise ValueError(
                f"gradients is of attacks that have steps, such as fmn; received {gradients}: leave it out"
            )
        return self

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        if targets is not None:
            raise ValueError("targets must be None: Standard chooses the classes itself")
        shaper = shaping.of(images, self.smoothing, None, self.delivery)
        shown = shaper.delivered(images)
        logits = model.draws(shown.images)
        classes, distances = nearest_first(model, images, labels, logits, shaper, CANDIDATES)
        stages = [stage for stage in STAGES if (stage.rank or 0) < classes.shape[0]]
        looked = classes.shape[0] * model.samples
        shaped = {"smoothing": self.smoothing, "delivery": self.delivery}
        loops = {attack: traced(attack.replaced(**shaped), model) for attack in STRONGEST}
        files = self.delivery.tensors() if self.delivery else ()

        best = core.start(images, looked + sum(stage.attack.steps for stage in stages) * model.samples, shown.code)
        best = core.keep_best(best, images, shown, core.errs_in_every_draw(model, logits, labels, None))
        best = best._replace(gradients=best.gradients + looked)
        outset = tf.where(distances[0] < math.inf, 2 * distances[0], 1)
        for stage in stages:
            active, begin = pays(best, self.epsilons, stage.reach), images
            if stage.rank is None:
                active &= best.success
                aim = predicted(model, best.adversarial)
                begin = (images + best.adversarial) / 2
            elif stage is stages[0]:
                active = tf.ones_like(active)  # or some without a gradient would be alone, which is an error
                aim = classes[0]
            else:
                active &= distances[stage.rank] < math.inf
                aim = classes[stage.rank]
            if tf.reduce_any(active):
                some = core.active_first(active)
                step_size = stage.step * tf.where(best.success, best.distortion, outset)
                batch = core.gather((images, labels, aim, begin, step_size, files), some)
                merged = core.merge_results(core.gather(best, some), loops[stage.attack](*batch))
                best = core.scatter(best, some, merged, active)
        return self.controlled(best, model, images, labels)

    def controlled(
        self, best: core.AttackResult, model: Classifier, images: tf.Tensor, labels: tf.Tensor
    ) -> core.AttackResult:
        """The result after the control; its calls of the model stand neither in `gradients` nor in the trace."""
        largest = tf.reduce_max(tf.concat([[0.0], self.epsilons], 0))
        active = (self.queries > 0) & (largest > 0) & (~best.success | (best.distortion > largest))
        if tf.reduce_any(active):
            some = core.active_first(active)
            square = Square(1.0, delivery=self.delivery and self.delivery.guided_by(images).take(some))
            square = square.holding({"epsilon": largest, "queries": self.queries})
            found = square.run(model, tf.gather(images, some), tf.gather(labels, some), None)
            within = found.success & (found.distortion <= largest)
            won = core.scatter(tf.zeros_like(active), some, within, active)
            kept = {name: getattr(found, name) for name in ("adversarial", "success", "distortion", "norm", "code")}
            best = core.scatter(best, some, core.gather(best, some)._replace(masked=within, **kept), won)
        return best


def pays(best: core.AttackResult, epsilons: tf.Tensor, reach: float) -> tf.Tensor:
    """Whether a smaller distortion may decide an epsilon, or without epsilons is what is searched; [B] bool."""
    distortion = best.distortion[:, tf.newaxis]
    near = tf.reduce_any((distortion > epsilons) & (distortion < reach * epsilons), axis=1)
    searched = tf.equal(tf.size(epsilons), 0) & (best.distortion > 0)
    return ~best.success | near | searched


def traced(attack: FMNFrom | ALMA, model: Classifier) -> Callable[..., core.AttackResult]:
    """An attack as a function of images, labels, targets, first iterates, step sizes [B] and what belongs to the files
    of its delivery, traced only once.
    """

    def run(
        images: tf.Tensor,
        labels: tf.Tensor,
        targets: tf.Tensor,
        begin: tf.Tensor,
        step_size: tf.Tensor,
        files: tuple[tf.Tensor, ...],
    ) -> core.AttackResult:
        held: dict[str, Any] = {"delivery": files} if files else {}
        if isinstance(attack, ALMA):
            return attack.holding({**held, "step_size": step_size}).run(model, images, labels, targets)
        held |= {"step_size": tensors.per_image(step_size), "begin": begin}
        return attack.holding(held).run(model, images, labels, targets)

    function: Callable[..., core.AttackResult] = tf.function(run, reduce_retracing=True)
    return function


def predicted(model: Classifier, images: tf.Tensor) -> tf.Tensor:
    """The class of the largest logit, of a random model in the mean of its draws; [B] int32."""
    return tf.argmax(core.mean_logits(model, model.draws(images)), axis=1, output_type=tf.int32)
