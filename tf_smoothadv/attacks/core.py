"""What every attack shares: the call, the result, norms, projections, the best iterate."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks
from tf_smoothadv.smoothing import Smoother

Model = Callable[[tf.Tensor], tf.Tensor]


class AttackResult(NamedTuple):
    """What an attack returns, one entry an image.

    Attributes:
        adversarial: [B, H, W, C] in [0, 1], the successful iterate of least distortion; where none succeeded, the last.
        success: [B] bool, whether the model errs on it (`criteria.is_adversarial`).
        distortion: [B], the L2 norm of adversarial - images.
        gradients: [B] int32, how many gradients of the model it took.
        trace: [B, G + 1], G the most gradients that it may take for an image: at k the least distortion of what k of
            them led to, where that deceives, else infinity. The least up to k is the best so far after k gradients.

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


def start(images: tf.Tensor, gradients: tf.Tensor | int) -> AttackResult:
    """Before the first iterate: the images themselves, without success, and room for so many gradients' trace."""
    batch = tf.shape(images)[0]
    return AttackResult(
        adversarial=images,
        success=tf.zeros([batch], tf.bool),
        distortion=tf.zeros([batch], images.dtype),
        gradients=tf.zeros([batch], tf.int32),
        trace=tf.fill([batch, gradients + 1], tf.constant(math.inf, images.dtype)),
    )


def keep_best(
    best: AttackResult, images: tf.Tensor, candidate: tf.Tensor, success: tf.Tensor, gradients: int = 1
) -> AttackResult:
    """The better of what was kept and a new iterate of the attack on `images`, where it takes so many gradients."""
    distortion = l2_norm(candidate - images)
    taken = tf.fill(tf.shape(success), gradients)
    trace = tf.where(success, distortion, math.inf)[:, tf.newaxis]
    return followed_by(best, AttackResult(candidate, success, distortion, taken, trace))


def followed_by(best: AttackResult, later: AttackResult) -> AttackResult:
    """What an attack has come to when `later` has gone on where `best`, with room for its trace, ended.

    Per image the least distorted success; the later one where neither has succeeded.
    """
    better = tf.where(best.success, later.success & (later.distortion < best.distortion), True)
    columns = best.gradients[:, tf.newaxis] + tf.range(tf.shape(later.trace)[1])
    rows = tf.range(tf.shape(columns)[0])[:, tf.newaxis] + tf.zeros_like(columns)
    return AttackResult(
        adversarial=tf.where(per_image(better), later.adversarial, best.adversarial),
        success=best.success | later.success,
        distortion=tf.where(better, later.distortion, best.distortion),
        gradients=best.gradients + later.gradients,
        trace=tf.tensor_scatter_nd_min(best.trace, tf.stack([rows, columns], axis=-1), later.trace),
    )


def compacted(active: tf.Tensor) -> tf.Tensor:
    """Indices of the active images [B], filled up by others to a whole number of quarters of the batch.

    With so few sizes, what is compiled for each size is soon compiled for all.
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
    places = tf.boolean_mask(indices, chosen)[:, tf.newaxis]
    return tf.nest.map_structure(
        lambda tensor, values: tf.tensor_scatter_nd_update(tensor, places, tf.boolean_mask(values, chosen)),
        structure,
        some,
    )


def per_image(x: tf.Tensor) -> tf.Tensor:
    """[B] as [B, 1, 1, 1]."""
    return x[:, tf.newaxis, tf.newaxis, tf.newaxis]


def l2_norm(x: tf.Tensor) -> tf.Tensor:
    """||x|| of each image; [B]."""
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2, 3]))


def unit_l2(x: tf.Tensor) -> tf.Tensor:
    """The unit vector x / ||x|| of each image; zero where x is zero."""
    return tf.math.divide_no_nan(x, per_image(l2_norm(x)))


def project_l2(r: tf.Tensor, epsilon: tf.Tensor | float) -> tf.Tensor:
    """argmin_p ||p - r|| subject to ||p|| <= epsilon, per image."""
    norm = l2_norm(r)
    return r * per_image(tf.where(norm > epsilon, tf.math.divide_no_nan(epsilon, norm), 1))


def clip(x: tf.Tensor) -> tf.Tensor:
    """c(x) of (11): the nearest image in [0, 1]."""
    return tf.clip_by_value(x, 0, 1)


def quantized(x: tf.Tensor, levels: int | None, smoother: Smoother | None = None) -> tf.Tensor:
    """The nearest image whose pixels have one of `levels` values, round((levels - 1) x) / (levels - 1); x for None.

    With a smoother the rounding is its own, near in a norm that keeps what is smooth (`Smoother.rounded`). The gradient
    passes straight through, as if nothing were rounded.
    """
    if levels is None:
        return x
    rounded = tf.round if smoother is None else smoother.rounded
    # In float64, because a graph may divide by multiplying: in float32 that misses a level by its last bit.
    level = tf.cast(rounded(tf.stop_gradient(x) * (levels - 1)), tf.float64) / (levels - 1)
    return x + tf.stop_gradient(clip(tf.cast(level, x.dtype)) - x)


def logits_of(model: Model, images: tf.Tensor) -> tf.Tensor:
    """The model's logits [B, K] in float32, Keras models in inference mode."""
    logits = model(images, training=False) if hasattr(model, "call") else model(images)  # type: ignore[call-arg]
    return tf.cast(logits, tf.float32)


@dataclasses.dataclass(frozen=True)
class Attack:
    """Base of the attacks: checks what it is given, and runs one compiled loop per model.

    A subclass is a frozen dataclass of settings with a method `run`, TensorFlow code from a batch to an
    `AttackResult`. Settings named in `tensors` are passed to `run` as tensors, so that attacks that differ in nothing
    else share one compiled loop.
    """

    tensors: ClassVar[dict[str, tf.DType]] = {}

    @property
    def any_batch_size(self) -> bool:
        """Whether one compiled loop serves batches of every size; else there is one for each."""
        return True

    def replaced(self, **settings: Any) -> Attack:
        """The same attack with other settings."""
        return dataclasses.replace(self, **settings)

    def prepared(self, shape: tuple[int | None, ...]) -> dict[str, Any]:
        """What `run` takes besides, made before it is compiled for images [B, H, W, C] of this shape."""
        return {}

    def __call__(self, model: Model, images: Any, labels: Any, targets: Any = None) -> AttackResult:
        """Attacks a batch.

        Args:
            model: a Keras model, or any callable, from images [B, H, W, C] in [0, 1] to logits [B, K].
            images: [B, H, W, C] in [0, 1], floats.
            labels: [B], the true classes.
            targets: [B], the classes to reach; None for any class but the label.

        Returns:
            An `AttackResult`, one entry an image.

        Raises:
            ValueError: images, labels or targets that are not that, or a model that does not return finite logits.
        """
        images = tf.cast(checks.as_images(images), tf.float32)
        labels = checks.as_labels(labels, images.shape[0])
        if targets is not None:
            targets = checks.as_labels(targets, images.shape[0], "targets")
        if images.shape[0] == 0:
            raise ValueError("images must hold at least one image; received an empty batch")
        classes = check_model(model, images[:2])
        for name, given in (("labels", labels), ("targets", targets)):
            if given is not None and int(tf.reduce_max(given)) >= classes:
                raise ValueError(f"{name} must be below the model's {classes} classes; received {tf.reduce_max(given)}")
        settings = {name: tf.constant(getattr(self, name), dtype) for name, dtype in self.tensors.items()}
        same_loop = dataclasses.replace(self, **dict.fromkeys(self.tensors, 1))
        batch = None if self.any_batch_size else images.shape[0]
        loop = _compiled(same_loop, model, (batch, *images.shape[1:]), targets is not None)
        return loop(images, labels, *([] if targets is None else [targets]), **settings)

    def run(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None, **settings: Any
    ) -> AttackResult:
        """The attack itself, in TensorFlow operations: images [B, H, W, C], labels and targets [B] int32."""
        raise NotImplementedError


def check_levels(levels: Any) -> None:
    """Raises ValueError unless `levels` is an integer of at least 2, or None."""
    if levels is not None:
        checks.count("levels", levels, at_least=2)


@functools.lru_cache(maxsize=64)
def _compiled(
    attack: Attack, model: Model, shape: tuple[int | None, ...], targeted: bool
) -> Callable[..., AttackResult]:
    """`attack.run` traced once, for images [B, H, W, C] of this shape, B None for batches of any size."""
    prepared = attack.prepared(shape)

    def run(images: tf.Tensor, labels: tf.Tensor, *targets: tf.Tensor, **settings: tf.Tensor) -> AttackResult:
        return attack.run(model, images, labels, targets[0] if targets else None, **settings, **prepared)

    classes = tf.TensorSpec(shape[:1], tf.int32)
    settings = {name: tf.TensorSpec([], dtype) for name, dtype in attack.tensors.items()}
    function = tf.function(run)
    function.get_concrete_function(tf.TensorSpec(shape), classes, *([classes] if targeted else []), **settings)
    return function


@functools.lru_cache(maxsize=64)
def compiled_logits(model: Model, image_shape: tuple[int, ...]) -> Callable[[tf.Tensor], tf.Tensor]:
    """`logits_of` this model as one compiled function of images [B, *image_shape], B of any size."""
    return tf.function(lambda images: logits_of(model, images), input_signature=[tf.TensorSpec([None, *image_shape])])


def check_model(model: Model, images: tf.Tensor) -> int:
    """The number of classes K of a model that maps these images to logits [B, K].

    Raises:
        ValueError: the model's output has another rank, is not finite, or looks like probabilities.
    """
    logits = compiled_logits(model, tuple(images.shape[1:]))(images)
    if logits.shape.rank != 2 or logits.shape[0] != images.shape[0] or logits.shape[1] < 2:
        raise ValueError(
            f"the model must map images {images.shape} to logits [batch, classes]; it returned {logits.shape}"
        )
    if not bool(tf.reduce_all(tf.math.is_finite(logits))):
        raise ValueError("the model must return finite logits; it returned NaN or infinity for these images")
    sums = tf.reduce_sum(logits, axis=1)
    if bool(tf.reduce_all(logits >= 0) & tf.reduce_all(tf.abs(sums - 1) < 1e-3)):
        raise ValueError(
            "the model must return logits; each row it returned is non-negative and sums to 1, which is what a softmax "
            "gives: take the softmax off its last layer (activation=None)"
        )
    return int(logits.shape[1])
