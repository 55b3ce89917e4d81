"""The attack of Carlini and Wagner, which targets optimality: the least distortion that succeeds."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tf_smoothadv import checks, criteria, shaping, tensors
from tf_smoothadv.attacks import core, optimizers
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.masking import Masking
from tf_smoothadv.smoothing import Smoothing

__all__ = ["CarliniWagner"]

LARGEST_CONST = 1e10  # as in the source's code: float32 holds its square
BEYOND = 4.0  # networks bend away from their slope at the image


@dataclasses.dataclass(frozen=True)
class CarliniWagner(core.Attack):
    """C&W, L2 distortion: Adam on ||r||^2 + c l(f(x), t), l the margin loss (3), c searched for each image.

    What is optimised depends on `smoothing`:

    - None: w of (4), x = sigmoid(w), r = x - x_o;
    - given: the latent z of (18), r = s(z) with the normalised smoothing (9), x = c(x_o + r): sC&W.

    With `masking`, x = c(x_o + T r), T that of `Masker`, r = s(z), or z itself without smoothing: ||r|| is then the
    norm in which a masked change counts little.

    A `smoothness_penalty` adds mu sum_ij w_ij ||r_i / sqrt(d_i) - r_j / sqrt(d_j)||^2 (14) to the objective. With a
    smoothing of alpha = 0, which is the identity, that is (13) with (14), the alternative that the paper argues
    against; with another alpha it keeps the latent's r smooth to the end: minimising ||s(z)||^2 over z shrinks what is
    smooth first.

    The constant c = 1 / lambda starts at `initial_const`, or, where that is 0, at each image's own: with a margin of l
    and the slope g in r, a linear model's least ||r||^2 + c l lies on the boundary where c = 2 l / ||g||^2, of which it
    is four times as much. It is multiplied by 10 until the image has had a success and then bisected, each time from a
    new start. Of the image itself and all iterates the success of least ||r|| is kept; success is misclassification,
    whatever the confidence.

    Args:
        steps: gradients for each constant.
        binary_search_steps: constants to try.
        learning_rate: the optimiser's, at the first step of each constant.
        learning_rate_decay: let it fall linearly over the steps, to learning_rate / steps at the last; False keeps it.
        initial_const: c = 1 / lambda, at most 1e10, where the search for it ends, too; 0 for each image's own.
        confidence: margin m of (3), in logits, at least 0.
        smoothing: shape the perturbation like the image; None for the plain attack.
        smoothness_penalty: mu of (14), at least 0; needs `smoothing`, whose graph it is measured on.
        border: how far inside [0, 1] the plain attack starts, above 0 and below 0.5. On the border itself the slope of
            the change of variable is zero, and the pixel cannot move. But every saturated pixel is distorted by this
            much from the start, which matters in images with many of them.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats. The model is shown x as
            it is saved, whose success and distortion count; the objective's r is that of x itself. With `smoothing` x
            is rounded to `Levels` so that r stays smooth (`Smoother.rounded`).
        optimizer: what makes a Keras optimiser of `learning_rate=`, to descend with instead of Adam, such as
            `keras.optimizers.AdamW` or `functools.partial(keras.optimizers.AdamW, weight_decay=1e-3)`. It moves the
            variable from its start, to which weight decay therefore pulls, and begins anew with every constant. Its
            variables have a fixed shape: the loop is compiled once for each batch size, not once for all, and serves
            one thread at a time. An optimiser that takes norms over a whole variable (LAMB, `clipnorm=`) lets the
            images of a batch influence each other.
        masking: shape the perturbation by what the image hides; None for the plain attack.

    Raises:
        ValueError: a value outside these.

    Source: Carlini, Wagner 2017, https://arxiv.org/abs/1608.04644; smooth: section 4.2 of the paper.

    The boundary is 1/4 away, and no smaller perturbation succeeds:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> attack = CarliniWagner(steps=100, binary_search_steps=6, learning_rate=0.05, initial_const=1.0)
    >>> result = attack(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), result.gradients.numpy()
    (array([ True]), array([600], dtype=int32))
    >>> 0.249 < float(result.distortion[0]) < 0.26
    True
    """

    tensors: ClassVar[dict[str, tf.DType]] = {
        "steps": tf.int32,
        "binary_search_steps": tf.int32,
        "learning_rate": tf.float32,
        "initial_const": tf.float32,
        "confidence": tf.float32,
    }

    steps: int = 100
    binary_search_steps: int = 5
    learning_rate: float = 0.1
    learning_rate_decay: bool = True
    initial_const: float = 15.0
    confidence: float = 0.0
    smoothing: Smoothing | None = None
    smoothness_penalty: float = 0.0
    border: float = 0.01
    delivery: Delivery | None = None
    optimizer: optimizers.Factory | None = None
    masking: Masking | None = None

    def __post_init__(self) -> None:
        checks.count("steps", self.steps)
        checks.count("binary_search_steps", self.binary_search_steps)
        checks.in_range("learning_rate", self.learning_rate, 0, open_low=True)
        checks.in_range("initial_const", self.initial_const, 0, LARGEST_CONST, open_high=False)
        checks.in_range("confidence", self.confidence, 0)
        checks.optional("smoothing", self.smoothing, Smoothing)
        checks.optional("masking", self.masking, Masking)
        checks.in_range("smoothness_penalty", self.smoothness_penalty, 0)
        checks.in_range("border", self.border, 0, 0.5, open_low=True)
        checks.optional("delivery", self.delivery, Delivery)
        if self.optimizer is not None:
            optimizers.made(self.optimizer)
        if self.smoothness_penalty and self.smoothing is None:
            raise ValueError("smoothness_penalty needs smoothing=, whose graph it is measured on; received None")

    def within(self, gradients: int | None) -> CarliniWagner:
        return self if gradients is None else self.replaced(steps=gradients // self.binary_search_steps)

    @property
    def any_batch_size(self) -> bool:
        return self.optimizer is None

    def prepare(self, shape: tuple[int | None, ...]) -> dict[str, Any]:
        return {"optimizer": optimizers.of(self.optimizer, shape) if self.optimizer else optimizers.ADAM}

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        shaper = shaping.of(images, self.smoothing, self.masking, self.delivery)
        shaped = shaper.smoother is not None or shaper.masker is not None
        optimizer: Any = self.optimizer  # as `prepare` made it
        if shaped:
            start = tf.zeros_like(images)
        else:
            start = _sigmoid_inverse(tf.clip_by_value(images, self.border, 1 - self.border))

        def decode(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """The image x of the w of (4), or of the r of (17), and the r whose norm counts; masked, x = x_o + T r."""
            if shaped:
                return tensors.clip(images + shaper.signal(value)), value
            x = tf.sigmoid(value)
            return x, x - images

        def loss(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
            confidence = self.confidence + core.allowance(model, logits, labels, targets)
            return criteria.margin_loss(logits, labels, targets, confidence)

        def descend(
            const: tf.Tensor, best: core.AttackResult, first: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, core.AttackResult]:
            """From the start with this constant; it, which images have had a success, and the best iterates."""
            value, last, state = start, start, optimizer.begin(start)
            any_success = tf.zeros_like(labels, tf.bool)
            for step in tf.range(self.steps):
                decoded = shaper.smoothed(value)  # w of (4), or r = s(z) of (18)
                with tf.GradientTape() as tape:
                    tape.watch(decoded)
                    x, r = decode(decoded)
                    size = tf.reduce_sum(tf.square(r), axis=[1, 2, 3])
                    if shaper.smoother is not None and self.smoothness_penalty:
                        size += self.smoothness_penalty * shaper.smoother.penalty(r)
                shown = shaper.delivered(x)
                slope = core.slope(model, shown.images, labels, targets, loss, first & (step == 0))
                if first & (step == 0) & (self.initial_const == 0):
                    const = own_const(slope.loss, tensors.l2_norm(shaper.pull_back(slope.gradient)))
                pull = tensors.per_image(const) * shaper.in_iterate(slope.gradient)
                gradient = tape.gradient([x, size], decoded, [pull, tf.ones_like(size)])
                if shaper.smoother is not None:
                    gradient = shaper.smoother.pull_back(value, gradient)
                best = core.keep_best(best, images, shown, slope.success, model.samples, slope.faulty, shaper.norm)
                any_success |= slope.success
                rate = tf.cast(1 - step / self.steps, value.dtype) if self.learning_rate_decay else 1.0
                following, state = optimizer.step(value, state, gradient, self.learning_rate * rate)
                value, last = core.go_on(slope.usable, following, value, last)
            return const, any_success, best

        shown = shaper.delivered(images)
        best = core.start(images, self.steps * self.binary_search_steps * model.samples, shown.code)
        success = core.is_adversarial(model, shown.images, labels, targets)
        best = core.keep_best(best, images, shown, success, norm=shaper.norm)
        const = tf.fill(tf.shape(labels), self.initial_const)
        low, high = tf.zeros_like(const), tf.fill(tf.shape(labels), const.dtype.max)
        for search in tf.range(self.binary_search_steps):
            const, any_success, best = descend(const, best, search == 0)
            low, high = tf.where(any_success, low, const), tf.where(any_success, const, high)
            const = tf.where(high == const.dtype.max, tf.minimum(10 * const, LARGEST_CONST), (low + high) / 2)
        return best


def own_const(loss: tf.Tensor, steepness: tf.Tensor) -> tf.Tensor:
    """The constant at which a linear model crosses its boundary, times BEYOND; 1 where the image errs as it is; [B]."""
    const = BEYOND * 2 * tf.math.divide_no_nan(loss, tf.square(steepness))
    return tf.where(const > 0, tf.minimum(const, LARGEST_CONST), 1.0)


def _sigmoid_inverse(x: tf.Tensor) -> tf.Tensor:
    """The w of sigmoid(w) = x, for x in (0, 1)."""
    return tf.math.log(x / (1 - x))
