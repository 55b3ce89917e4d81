"""What every attack shares: the call, the result, the slope of a loss, norms, projections, the best iterate."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import html
import math
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, criteria, display, replicas, tensors
from tf_smoothadv.classifier import Classifier, NoGradientError, compile_for
from tf_smoothadv.delivery import Delivered, Delivery

__all__ = [
    "REMEDY",
    "Attack",
    "AttackResult",
    "Loss",
    "Model",
    "Slope",
    "active_first",
    "allowance",
    "clear_margin",
    "errs",
    "errs_in_every_draw",
    "gather",
    "go_on",
    "is_adversarial",
    "judge",
    "keep_best",
    "mean_logits",
    "merge_results",
    "over_draws",
    "per_draw",
    "scatter",
    "slope",
    "start",
]

Model = Callable[[tf.Tensor], tf.Tensor] | Classifier
Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], tf.Tensor]
A = TypeVar("A", bound="Attack")

SPREADS = 5.0  # fewer let the luckiest of a hundred iterates pass, whose eight draws happen to lie close together

REMEDY = (
    "the model must be differentiable in the images, without rounding, argmax, stop_gradient or NumPy; around what is "
    "not, put a straight-through gradient: x + tf.stop_gradient(f(x) - x)"
)
NO_GRADIENT = f"the model's loss has no gradient in the images: {REMEDY}"
# Without an apostrophe, which TensorFlow escapes.
ZERO_GRADIENT = f"the gradient of the loss is zero or not finite at every image, at the first step: {REMEDY}"


class AttackResult(NamedTuple):
    """What an attack returns, one entry an image.

    Attributes:
        adversarial: [B, H, W, C] in [0, 1], the successful iterate of least `norm`; where none succeeded, the last.
        success: [B] bool, whether the model errs on it (`criteria.is_adversarial`) when it is called anew.
        distortion: [B], the L2 norm of adversarial - images.
        gradients: [B] int32, how many gradients of the model it took.
        trace: [B, G + 1], G the most gradients that it may take for an image: trace[b, k] is the distortion of the
            iterate after k gradients if it is adversarial, else infinity; its running minimum is the best so far,
            unless another `norm` was minimised.
        faulty: [B] int32, how many of the gradients were not finite in every pixel or, without success, zero in all.
        share: [B], of the new draws of a random model (`Classifier.samples`) the share that errs on it; of another
            model 1 or 0, as `success` is.
        norm: [B], what the attack minimised: with `masking` the attacks that search the norm minimise that of z,
            r = T z (`Masker`), without it their `distortion`, as do the others; of gradient attacks that keep the
            strongest iterate it is the margin.
        masked: [B] bool, whether only the control of `Standard`, which needs no gradient, succeeded: the model's
            gradients are masked there.
        code: what a file holds of the adversarial images, where `delivery` saves something else than their pixels
            (`Jpeg.encode`); otherwise empty.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = FGSM(epsilon=0.1)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.adversarial.shape, result.success.numpy(), result.gradients.numpy()
    (TensorShape([1, 4, 4, 1]), array([ True]), array([1], dtype=int32))
    >>> result.trace.numpy().round(2)
    array([[inf, 0.4]], dtype=float32)
    """

    adversarial: tf.Tensor
    success: tf.Tensor
    distortion: tf.Tensor
    gradients: tf.Tensor
    trace: tf.Tensor
    faulty: Any = 0
    share: Any = 0.0
    norm: Any = None
    masked: Any = False
    code: Any = ()

    def __repr__(self) -> str:
        if not _known(self.distortion):
            return f"AttackResult(adversarial={self.adversarial!r}, ...)"
        success, distortion = np.array(self.success), np.array(self.distortion)
        mean = f", mean distortion {np.mean(distortion[success]):.3g}" if success.any() else ""
        return (
            f"AttackResult({np.sum(success)} of {len(success)} succeeded{mean}, "
            f"{np.mean(np.array(self.gradients)):.3g} gradients an image)"
        )

    def _repr_html_(self) -> str | None:
        if not _known(self.distortion):
            return None
        columns = zip(*(np.array(column)[: display.MOST] for column in self[:4]))
        rows = [
            [display.picture(image), "success" if success else "failure", f"{distortion:.3g}", int(gradients)]
            for image, success, distortion, gradients in columns
        ]
        return f"{html.escape(repr(self))}" + display.table(["adversarial", "", "distortion", "gradients"], rows)


def _known(x: Any) -> bool:
    """Whether a tensor has values already, as it does outside of a graph."""
    return isinstance(x, np.ndarray) or (tf.is_tensor(x) and hasattr(x, "numpy") and not tf.is_symbolic_tensor(x))


def start(images: tf.Tensor, gradients: tf.Tensor | int, code: tuple[tf.Tensor, ...] = ()) -> AttackResult:
    """The result before the first iterate: the images, without success, and an empty trace of so many gradients.

    Args:
        images: [B, H, W, C].
        gradients: as many as the attack may take for an image.
        code: of the images, see `Delivered`.
    """
    batch = tf.shape(images)[0]
    return AttackResult(
        adversarial=images,
        success=tf.zeros([batch], tf.bool),
        distortion=tf.zeros([batch], images.dtype),
        gradients=tf.zeros([batch], tf.int32),
        trace=tf.fill([batch, gradients + 1], tf.constant(math.inf, images.dtype)),
        faulty=tf.zeros([batch], tf.int32),
        share=tf.zeros([batch], images.dtype),
        norm=tf.zeros([batch], images.dtype),
        masked=tf.zeros([batch], tf.bool),
        code=code,
    )


def keep_best(
    best: AttackResult,
    images: tf.Tensor,
    candidate: tf.Tensor | Delivered,
    success: tf.Tensor,
    gradients: int = 0,
    faulty: tf.Tensor | None = None,
    norm: Callable[[tf.Tensor], tf.Tensor] | tf.Tensor = tensors.l2_norm,
) -> AttackResult:
    """The better of what was kept and a new iterate of the attack on `images`.

    Args:
        best, images: what was kept, and the originals.
        candidate, success: the iterate, in an attack with `delivery` as it is saved, and whether it is adversarial [B].
        gradients: how many were taken there.
        faulty: whether they were (see `Slope`) [B], where any were taken.
        norm: of perturbations [B, H, W, C], what the attack minimises, [B]; or that of the candidate itself.
    """
    shown = candidate if isinstance(candidate, Delivered) else Delivered(candidate)
    r = shown.images - images
    distortion = tensors.l2_norm(r)
    taken = tf.fill(tf.shape(success), gradients)
    trace = tf.where(success, distortion, math.inf)[:, tf.newaxis]
    count = tf.zeros_like(taken) if faulty is None else tf.cast(faulty, tf.int32)
    share = tf.zeros_like(distortion)
    size = norm(r) if callable(norm) else norm
    masked = tf.zeros_like(success)
    later = AttackResult(shown.images, success, distortion, taken, trace, count, share, size, masked, shown.code)
    return merge_results(best, later)


def merge_results(best: AttackResult, later: AttackResult) -> AttackResult:
    """Merges two results on the same images: for each image the success of least norm, or the later one without any.

    The trace of `later` follows the gradients that `best` took; the trace of `best` must have room for it.
    """
    better = tf.where(best.success, later.success & (later.norm < best.norm), True)
    columns = best.gradients[:, tf.newaxis] + tf.range(tf.shape(later.trace)[1])
    rows = tf.range(tf.shape(columns)[0])[:, tf.newaxis] + tf.zeros_like(columns)

    def kept(later: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        return tensors.choose(better, later, best)

    return AttackResult(
        adversarial=kept(later.adversarial, best.adversarial),
        success=best.success | later.success,
        distortion=kept(later.distortion, best.distortion),
        gradients=best.gradients + later.gradients,
        trace=tf.tensor_scatter_nd_min(best.trace, tf.stack([rows, columns], axis=-1), later.trace),
        faulty=best.faulty + later.faulty,
        share=kept(later.share, best.share),
        norm=kept(later.norm, best.norm),
        masked=best.masked | later.masked,
        code=tuple(map(kept, later.code, best.code)),
    )


def active_first(active: tf.Tensor) -> tf.Tensor:
    """The indices of the active images [B] and, to fill up a quarter of the batch, of some others behind them.

    So there are only four sizes of batch, and what is compiled for each size is soon compiled for all four.
    """
    batch = tf.size(active)
    quarter = (batch + 3) // 4
    quarters = (tf.reduce_sum(tf.cast(active, tf.int32)) + quarter - 1) // quarter
    return tf.argsort(tf.cast(~active, tf.int32), stable=True)[: tf.minimum(quarters * quarter, batch)]


def gather(structure: Any, indices: tf.Tensor) -> Any:
    """Some of the images of every tensor [B, ...] of a structure; None stays None."""
    return tf.nest.map_structure(lambda tensor: None if tensor is None else tf.gather(tensor, indices), structure)


def scatter(structure: Any, indices: tf.Tensor, some: Any, active: tf.Tensor) -> Any:
    """The inverse of `gather`: `some` put in their places, where they are active [B]."""
    chosen = tf.gather(active, indices)

    def put(tensor: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        mask = tf.reshape(chosen, [-1] + [1] * (tensor.shape.rank - 1))
        # Every place is written to: compiled by XLA, indices cut by a mask write to others, too.
        values = tf.where(mask, values, tf.gather(tensor, indices))
        return tf.tensor_scatter_nd_update(tensor, indices[:, tf.newaxis], values)

    return tf.nest.map_structure(put, structure, some)


class Slope(NamedTuple):
    """What a model shows of its loss at some images.

    Attributes:
        success: `is_adversarial`; [B] bool.
        loss: [B].
        margin: `clear_margin`; [B].
        gradient: of the loss in the images; [B, H, W, C], zero where it is not finite.
        usable: whether an attack can step along the gradient: the logits are finite, and it is not zero or the image
            is a success; [B] bool.
        faulty: whether the gradient is not usable, or was not finite in some pixel; [B] bool.
    """

    success: tf.Tensor
    loss: tf.Tensor
    margin: tf.Tensor
    gradient: tf.Tensor
    usable: tf.Tensor
    faulty: tf.Tensor


def slope(
    model: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    targets: tf.Tensor | None,
    loss: Loss = criteria.margin,
    first: tf.Tensor | bool = False,
) -> Slope:
    """The loss of a model at some images, and its gradient: over all draws, the mean of a random model's.

    The slope of the loss in the logits goes backwards through the model with its largest value near 1, so that float16
    can hold it; the scale, a power of two, is put back behind.

    Args:
        model, images, labels, targets: see `Attack.run`.
        loss: from logits [B, K], labels and targets to [B].
        first: whether this is an attack's first step, where a model without any usable gradient is an error.

    Raises:
        NoGradientError: TensorFlow knows of no gradient.
        tf.errors.InvalidArgumentError: when run, at the first step, if no image has a usable gradient.
    """
    every_label, every_target = per_draw(model, labels), None if targets is None else per_draw(model, targets)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model.draws(images)
    with tf.GradientTape() as inner:
        inner.watch(logits)
        losses = loss(logits, every_label, every_target)
        combined = model.over_draws(over_draws(model, losses))
    upstream = inner.gradient(combined, logits)
    scale = tensors.power_of_two(tf.reduce_max(tf.abs(over_draws(model, upstream)), axis=[0, 2]))
    gradient = tape.gradient(logits, images, upstream / per_draw(model, scale)[:, tf.newaxis])
    if gradient is None:
        raise NoGradientError(NO_GRADIENT)
    gradient = tf.ensure_shape(tf.cast(gradient, images.dtype), images.shape) * tensors.per_image(scale)

    success = errs_in_every_draw(model, logits, labels, targets)
    finite = tf.math.is_finite(gradient)
    gradient = tf.where(finite, gradient, tf.zeros_like(gradient))
    usable = success | tf.reduce_any(gradient != 0, axis=[1, 2, 3])
    usable &= tf.reduce_all(tf.math.is_finite(over_draws(model, logits)), axis=[0, 2])
    faulty = ~(usable & tf.reduce_all(finite, axis=[1, 2, 3]))
    tf.debugging.Assert(tf.reduce_any(usable) | tf.logical_not(first), [ZERO_GRADIENT])
    return Slope(
        success,
        combined,
        clear_margin(model, logits, labels, targets),
        gradient,
        usable,
        faulty,
    )


def is_adversarial(model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """Whether a model errs on images in every draw, and clearly enough (`allowance`); [B] bool."""
    return errs_in_every_draw(model, model.draws(images), labels, targets)


def errs_in_every_draw(model: Classifier, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """The same by the logits of the draws, [samples * B, K]."""
    clear = clear_margin(model, logits, labels, targets) < 0
    return clear & tf.reduce_all(over_draws(model, errs(model, logits, labels, targets)), axis=0)


def clear_margin(model: Classifier, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """`criteria.margin` and the `allowance`, over all draws, by their logits [samples * B, K]; [B].

    Below zero where an attack succeeds.
    """
    every_label, every_target = per_draw(model, labels), None if targets is None else per_draw(model, targets)
    margins = criteria.margin(logits, every_label, every_target) + allowance(model, logits, every_label, every_target)
    return model.over_draws(over_draws(model, margins))


def allowance(model: Classifier, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """How far below zero a margin must be to stay there when the model is called anew; [samples * B].

    The model's tolerance times the largest logit; of a random model, whose luckiest of many iterates would pass, it is
    SPREADS standard deviations over the draws. To it comes the confidence that the attack asks for. In units of the
    logits; `labels` and `targets` are every draw's.
    """
    if not model.random:
        return tf.stop_gradient(model.confidence + model.tolerance * tf.reduce_max(tf.abs(logits), axis=1))
    margins = over_draws(model, criteria.margin(logits, labels, targets))
    return tf.stop_gradient(model.confidence + per_draw(model, SPREADS * tf.math.reduce_std(margins, axis=0)))


def errs(model: Classifier, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """Whether each draw of each image is adversarial, [samples * B] bool, by its logits."""
    every_target = None if targets is None else per_draw(model, targets)
    return criteria.is_adversarial(logits, per_draw(model, labels), every_target)


def per_draw(model: Classifier, x: tf.Tensor) -> tf.Tensor:
    """[B] as [samples * B], in the order of `Classifier.draws`."""
    return tf.tile(x, [model.samples]) if model.samples > 1 else x


def over_draws(model: Classifier, x: tf.Tensor) -> tf.Tensor:
    """[samples * B, ...] as [samples, B, ...]."""
    if model.samples == 1:
        return tf.expand_dims(x, 0)
    return tf.reshape(x, tf.concat([[model.samples, -1], tf.shape(x)[1:]], 0))


def mean_logits(model: Classifier, logits: tf.Tensor) -> tf.Tensor:
    """The logits [B, K] by which a model classifies images, by those of its draws [samples * B, K]: their mean."""
    return tf.reduce_mean(over_draws(model, logits), axis=0)


def go_on(usable: tf.Tensor, following: tf.Tensor, x: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The next iterate, and the last one that had a usable gradient.

    Where the gradient at x is not usable, the next iterate lies halfway between x and the last usable one.

    Args:
        usable: [B] bool, of the gradient at x.
        following: what the attack steps to from x.
        x, last: the iterate, and the last one before it with a usable gradient.
    """
    return tensors.choose(usable, following, (x + last) / 2), tensors.choose(usable, x, last)


def judge(
    model: Classifier, result: AttackResult, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
) -> AttackResult:
    """The result with the success that an eager call of the model confirms, by the logits of its draws.

    An image that it does not confirm has no success, and its trace is erased.
    """
    wrong = over_draws(model, errs(model, logits, labels, targets))
    success = tf.reduce_all(wrong, axis=0)
    trace = tf.where(success[:, tf.newaxis], result.trace, math.inf)
    at_last = tf.stack([tf.range(tf.size(result.gradients)), result.gradients], axis=1)
    new = tf.where(success & ~result.success, result.distortion, math.inf)
    return result._replace(
        success=success,
        trace=tf.tensor_scatter_nd_min(trace, at_last, new),
        share=tf.reduce_mean(tf.cast(wrong, result.distortion.dtype), axis=0),
    )


@dataclasses.dataclass(frozen=True)
class Attack:
    """Base of the attacks: checks what it is given, runs one compiled loop per model, and judges what comes out.

    A subclass is a frozen dataclass of settings with a method `run`, TensorFlow code from a batch to an
    `AttackResult`. Settings named in `tensors` are tensors there, so that attacks that differ in nothing else share one
    compiled loop.
    """

    tensors: ClassVar[dict[str, tf.DType]] = {}

    @property
    def any_batch_size(self) -> bool:
        """Whether one compiled loop serves batches of every size; else there is one for each."""
        return True

    def replaced(self: A, **settings: Any) -> A:
        """The same attack with other settings."""
        return dataclasses.replace(self, **settings)

    def within(self: A, gradients: int | None) -> A:
        """The same attack with as many steps as this number of gradients allows; None leaves it as it is.

        Raises:
            ValueError: fewer gradients than it needs for a step of each epsilon, constant or class that it tries.
        """
        return self if gradients is None else self.replaced(steps=gradients)

    def prepare(self, shape: tuple[int | None, ...]) -> dict[str, Any]:
        """Attributes that `run` needs besides, made before it is compiled for images [B, H, W, C] of this shape."""
        return {}

    def tensor_settings(self) -> dict[str, Any]:
        """The settings named in `tensors`, as tensors, and of `delivery` the tensors that it holds."""
        own = {name: tf.cast(getattr(self, name), dtype) for name, dtype in self.tensors.items()}
        delivery = getattr(self, "delivery", None)
        return own if delivery is None else {**own, "delivery": delivery.tensors()}

    def holding(self: A, values: dict[str, Any]) -> A:
        """The same attack with these attributes, whatever they are; of `delivery` with its tensors."""
        attack = copy.copy(self)
        for name, value in values.items():
            held = getattr(self, name).holding(value) if name == "delivery" else value
            object.__setattr__(attack, name, held)
        return attack

    def loop_key(self) -> tuple[Any, ...]:
        """A key that is equal for two attacks exactly if they can share a compiled loop."""
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        settings = (value for name, value in named if name not in self.tensors)
        return type(self), *(value.loop_key() if isinstance(value, Delivery) else value for value in settings)

    def __call__(self, model: Model, images: Any, labels: Any, targets: Any = None) -> AttackResult:
        """Attacks a batch.

        Inside a `tf.function`, `tf.data.Dataset.map` or a Keras train step it becomes part of that graph; what can only
        be seen in the values is then checked when the graph runs. In the scope of a `tf.distribute.MirroredStrategy`,
        in which the model was loaded, each device gets its share of the batch.

        Args:
            model: a `Classifier`, a Keras model, or any callable, from images [B, H, W, C] in [0, 1] to logits [B, K].
            images: [B, H, W, C] in [0, 1], floats.
            labels: [B], the true classes.
            targets: [B], the classes to reach; None for any class but the label.

        Returns:
            An `AttackResult`, one entry an image.

        Raises:
            ValueError: images, labels or targets that are not that, or a model that does not return finite logits, or
                none that repeat, or has no gradient in the images (`NoGradientError`).
        """
        model = Classifier.of(model)
        images = tf.cast(checks.as_images(images), tf.float32)
        if tf.is_symbolic_tensor(images):
            inside = tf.reduce_all((images >= 0) & (images <= 1))
            tf.debugging.Assert(inside, ["images must lie in [0, 1]"])
        labels = checks.as_labels(labels, images.shape[0])
        if targets is not None:
            targets = checks.as_labels(targets, images.shape[0], "targets")
        if images.shape[0] == 0:
            raise ValueError("images must hold at least one image; received an empty batch")
        if not tf.executing_eagerly():
            return self._run_in_graph(model, images, labels, targets)
        return self._run_eagerly(model, images, labels, targets)

    def _run_eagerly(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AttackResult:
        delivery = getattr(self, "delivery", None)
        if delivery is not None:
            delivery.check(images)
        checked = model.check(images)
        for name, given in (("labels", labels), ("targets", targets)):
            if given is not None and int(tf.reduce_max(given)) >= checked.classes:
                highest = int(tf.reduce_max(given))
                raise ValueError(f"{name} must be below the model's {checked.classes} classes; received {highest}")
        settings = self.tensor_settings()
        classes = [labels] if targets is None else [labels, targets]
        arguments = [images, *classes, tf.constant(checked.tolerance, tf.float32), *tf.nest.flatten(settings)]
        shapes = [self._served(model, tensor.shape) for tensor in arguments]
        of_images = [*([True] * (1 + len(classes))), False, *self._of_images(settings)]
        strategy = replicas.strategy()
        if strategy is not None and not self.any_batch_size:
            raise ValueError("an attack with optimizer= is one device's: leave it out, or attack outside of the scope")
        specs = [tf.TensorSpec(shape, tensor.dtype) for shape, tensor in zip(shapes, arguments)]

        def make(over: tf.distribute.Strategy | None = None) -> Callable[..., AttackResult]:
            prepared = self.prepare(shapes[0])

            def run(images: tf.Tensor, labels: tf.Tensor, *rest: tf.Tensor) -> AttackResult:
                *targets, tolerance = rest[: len(classes)]
                values = tf.nest.pack_sequence_as(settings, rest[len(classes) :])
                attack = self.holding({**prepared, **values})
                return attack.run(model.folded().within(tolerance), images, labels, targets[0] if targets else None)

            whole = tf.function(run, jit_compile=True) if model.jit_compile else run
            if over is None:
                return compile_for(whole, *specs)
            loop = compile_for(replicas.spread(whole, over, of_images), *specs)
            replicas.check_variables(loop, over)
            return loop

        key = self.loop_key(), tuple(shapes), len(classes), model.jit_compile

        def looped() -> AttackResult:
            if strategy is not None:
                spread = model.compiled((key, strategy), lambda: make(strategy))
                # That no image of one device has a gradient is an error only if none of the others' has one.
                with contextlib.suppress(NoGradientError):
                    return _run_loop(spread, arguments)
            loop = model.compiled(key, make)
            try:
                return _run_loop(loop, arguments)
            except NoGradientError:
                model.forget()  # or a gradient put in would not be seen, where the logits stay as they are
                raise

        for known in (model.has_compiled((key, strategy) if strategy else key), False):
            result = looped()
            logits = model.draws(result.adversarial)
            if not (known and model.has_changed(result.adversarial, logits, checked.rounding)):
                break
            model.renew(result.adversarial, logits)  # the first images have not shown it
        return judge(model, result, logits, labels, targets)

    def _of_images(self, settings: dict[str, Any]) -> Iterator[bool]:
        """Of each tensor in `tensor_settings`, whether it is [B, ...], one entry an image."""
        for name in sorted(settings):  # as they are flattened
            whole = isinstance(getattr(self, name, None), tuple)  # numbers for all images
            yield from (not whole and tensor.shape.rank != 0 for tensor in tf.nest.flatten(settings[name]))

    def _served(self, model: Classifier, shape: tf.TensorShape) -> tuple[int | None, ...]:
        """The shapes that one compiled loop serves, by that of an argument: images, classes, settings, coefficients."""
        if not self.any_batch_size or not shape.rank:
            return tuple(shape)
        planes = model.any_size and shape.rank > 3
        return (None, None, None, *shape[3:]) if planes else (None, *shape[1:])

    def _run_in_graph(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AttackResult:
        """The attack as a part of the graph that is being traced; no other graph can use it."""
        if not self.any_batch_size and images.shape[0] is None:
            raise ValueError("an attack with optimizer= needs batches of a known size inside a tf.function")
        classes = model(images[:1]).shape[1]
        for name, given in (("labels", labels), ("targets", targets)):
            if given is not None:  # before they are used; without an apostrophe, which TensorFlow escapes
                message = f"{name} must be below {classes}, the classes of the model"
                tf.debugging.Assert(tf.reduce_all(given < classes), [message])
        with futures.ThreadPoolExecutor(1) as outside:  # of every graph: in one no variables may be made
            prepared = outside.submit(self.prepare, tuple(images.shape)).result()

        def run(images: tf.Tensor, labels: tf.Tensor, *targets: tf.Tensor) -> AttackResult:
            attack = self.holding({**prepared, **self.tensor_settings()})
            return attack.run(model.folded_within(images), images, labels, targets[0] if targets else None)

        arguments = [tensor for tensor in (images, labels, targets) if tensor is not None]
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in arguments]
        # AutoGraph makes the loops of it, whether it is on around or not.
        result = AttackResult(*tf.function(run).get_concrete_function(*specs)(*arguments))
        adversarial = tf.ensure_shape(result.adversarial, images.shape)
        result = tf.nest.map_structure(tf.stop_gradient, result._replace(adversarial=adversarial))
        return judge(model, result, model.draws(result.adversarial), labels, targets)

    def run(self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> AttackResult:
        """The attack itself, in TensorFlow operations: images [B, H, W, C], labels and targets [B] int32."""
        raise NotImplementedError


def _run_loop(loop: Callable[..., AttackResult], arguments: list[tf.Tensor]) -> AttackResult:
    """What a compiled loop comes to; raises NoGradientError where no image has a usable gradient at the first step."""
    try:
        # Pauses the tape of whoever differentiates around the attack, as adversarial training does: its result is a
        # constant there.
        with tf.init_scope():
            return loop(*arguments)
    except tf.errors.InvalidArgumentError as error:
        if ZERO_GRADIENT in str(error):
            raise NoGradientError(ZERO_GRADIENT) from error
        raise
