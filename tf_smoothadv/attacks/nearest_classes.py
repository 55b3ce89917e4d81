"""An attack aimed in turn at each of the classes whose boundaries are nearest."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from tf_smoothadv import checks, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery

__all__ = ["NearestClasses", "distance", "nearest_first"]


@dataclasses.dataclass(frozen=True)
class NearestClasses(core.Attack):
    """Another attack, aimed in turn at the classes whose boundaries are nearest; the success of least norm is kept.

    An attack without targets follows the class that is ahead where it is, into one local minimum. This one first takes
    the gradient g_k of the difference of logits y_t - y_k for the `candidates` classes k of the largest logits, which
    tells how far their boundaries are along the direction u_k in which the attack would go:

        d_k = (y_t - y_k) ||u_k|| / <g_k, u_k>,

    u_k = g_k, or g_k smoothed like the image (12) for a smooth attack. A masked attack goes in z, r = T z (`Masker`),
    and T' g_k stands for g_k. Then it attacks at the nearest of them.

    Args:
        base: any of these attacks.
        classes: how many it is aimed at, at most `candidates`.
        candidates: how many are looked at, a gradient each; those that the model has where it has fewer.

    Raises:
        ValueError: a value outside these; targets at the call, which this attack chooses itself.

    Source: the distances are those of DeepFool, Moosavi-Dezfooli et al. 2016, https://arxiv.org/abs/1511.04599.

    Class 1 has the larger logit, class 2 the nearer boundary:

    >>> from tf_smoothadv.attacks import FMN
    >>> def model(x):
    ...     return tf.reshape(x, [-1, 4]) @ [[0, 0.2, 0], [0, -0.2, 0], [0, 0, 2.0], [0, 0, -2.0]] + [1.0, 0.9, 0.5]
    >>> attack, images = FMN(steps=40), tf.fill([1, 2, 2, 1], 0.5)
    >>> attack(model, images, [0]).distortion.numpy().round(2)
    array([0.35], dtype=float32)
    >>> result = NearestClasses(attack, classes=1)(model, images, [0])
    >>> result.distortion.numpy().round(2), result.gradients.numpy()
    (array([0.18], dtype=float32), array([42], dtype=int32))
    """

    base: core.Attack
    classes: int = 3
    candidates: int = 9

    def __post_init__(self) -> None:
        if not isinstance(self.base, core.Attack) or isinstance(self.base, NearestClasses):
            raise ValueError(f"base must be an attack that takes targets; received {self.base!r}")
        checks.count("candidates", self.candidates)
        checks.count("classes", self.classes)
        if self.classes > self.candidates:
            raise ValueError(
                f"classes must be at most candidates; received classes={self.classes}, candidates={self.candidates}"
            )

    def within(self, gradients: int | None) -> NearestClasses:
        return self if gradients is None else self.replaced(steps=(gradients - self.candidates) // self.classes)

    @property
    def any_batch_size(self) -> bool:
        return self.base.any_batch_size

    @property
    def delivery(self) -> Delivery | None:
        """That of `base`."""
        return getattr(self.base, "delivery", None)

    def prepare(self, shape: tuple[int | None, ...]) -> dict[str, Any]:
        return self.base.prepare(shape)

    def tensor_settings(self) -> dict[str, Any]:
        return self.base.tensor_settings()

    def holding(self, values: dict[str, Any]) -> NearestClasses:
        return dataclasses.replace(self, base=self.base.holding(values))

    def loop_key(self) -> tuple[Any, ...]:
        return type(self), self.base.loop_key(), self.classes, self.candidates

    def replaced(self, **settings: Any) -> NearestClasses:
        """The same attack with other settings, its own or those of `base`."""
        own = {name: settings.pop(name) for name in ("base", "classes", "candidates") if name in settings}
        changed = dataclasses.replace(self, **own)
        return dataclasses.replace(changed, base=changed.base.replaced(**settings))

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        if targets is not None:
            raise ValueError("targets must be None: NearestClasses chooses the classes itself")

        def aimed(target: tf.Tensor) -> core.AttackResult:
            return self.base.run(model, images, labels, target)

        shaper = shaping.of(images, *(getattr(self.base, name, None) for name in ("smoothing", "masking", "delivery")))
        shown = shaper.delivered(images)
        logits = model.draws(shown.images)
        nearest, gradients = self.nearest(model, images, labels, logits, shaper)
        kinds = tf.nest.map_structure(lambda tensor: tensor.dtype, core.start(images, 0, shown.code))
        results = tensors.in_turn(aimed, nearest, kinds)
        each = [core.gather(results, rank) for rank in range(nearest.shape[0])]
        best = core.start(images, gradients + len(each) * (tf.shape(results.trace)[2] - 1), shown.code)
        success = core.errs_in_every_draw(model, logits, labels, None)
        best = core.keep_best(best, images, shown, success, norm=shaper.norm)
        best = best._replace(gradients=best.gradients + gradients)
        for later in each:
            best = core.merge_results(best, later)
        return best

    def nearest(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor, shaper: shaping.Shaper
    ) -> tuple[tf.Tensor, int]:
        """The classes to aim at, the nearest first, [classes, B] int32, and how many gradients that took."""
        classes, distances = nearest_first(model, images, labels, logits, shaper, self.candidates)
        return classes[: self.classes], distances.shape[0] * model.samples


def nearest_first(
    model: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    logits: tf.Tensor,
    shaper: shaping.Shaper,
    candidates: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """So many classes of the largest logits, or all others, the nearest first: which, and d_k; [candidates, B] each."""
    logits = core.mean_logits(model, logits)
    label = tf.one_hot(labels, logits.shape[1], on_value=True, off_value=False)
    others = tf.where(label, logits.dtype.min, logits)
    classes = tf.transpose(tf.math.top_k(others, min(candidates, logits.shape[1] - 1)).indices)
    distances = tensors.in_turn(
        lambda candidate: distance(model, images, labels, candidate, shaper), classes, tf.float32
    )
    order = tf.argsort(distances, axis=0, stable=True)
    columns = tf.range(tf.size(labels))[tf.newaxis] + tf.zeros_like(order)
    places = tf.stack([order, columns], axis=-1)
    return tf.gather_nd(classes, places), tf.gather_nd(distances, places)


def distance(
    model: Classifier, images: tf.Tensor, labels: tf.Tensor, candidate: tf.Tensor, shaper: shaping.Shaper
) -> tf.Tensor:
    """d_k, how far the boundary to class `candidate` [B] is by the slope; [B], infinite where there is none."""

    def difference(logits: tf.Tensor, labels: tf.Tensor, candidate: tf.Tensor | None) -> tf.Tensor:
        return tf.gather(logits, labels, batch_dims=1) - tf.gather(logits, candidate, batch_dims=1)

    slope = core.slope(model, images, labels, candidate, difference)
    gradient = shaper.pull_back(slope.gradient)
    direction = tensors.unit_l2(shaper.smoothed(gradient))
    steepness = tf.reduce_sum(gradient * direction, axis=[1, 2, 3])
    return tf.where(steepness > 0, tf.math.divide_no_nan(slope.loss, steepness), math.inf)
