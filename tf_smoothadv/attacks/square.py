"""Square attack: a random search that asks a model for nothing but its logits, and so needs no gradient."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, shaping, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Delivery

__all__ = ["Square"]

SHARE = 0.8  # of an image's pixels that lie in a square, at first
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the calls after which it is halved
TILES = 5  # a side, of the first iterate
SMALLEST = 3  # pixels a side
FAR = 1e6  # a norm beyond any epsilon


class _Search(NamedTuple):
    """Where the search of some images stands: the perturbation kept [B, H, W, C], its margin [B], their results."""

    r: tf.Tensor
    margin: tf.Tensor
    best: core.AttackResult


@dataclasses.dataclass(frozen=True)
class Square(core.Attack):
    """Square attack in the L2 ball: moves the norm of a random square into another, and keeps what lowers the margin.

    The first r is a grid of 5 x 5 tiles, each a hill with a sign of its own in every channel, of norm epsilon. Then two
    squares of h x h pixels are drawn. In every channel the first becomes a multiple of its own values over their norm
    plus a random sign times the pattern eta, a hill beside a valley, and takes all the norm of both squares, which
    leaves 0 in the second, and what epsilon has left. r is kept if the margin of the model there is lower. h^2 is a
    share of the image that falls from 0.8 as the calls go on. An image ends at its first success.

    A control of attacks that go by gradients: what it finds within an epsilon within which they found nothing, the
    gradients have hidden.

    Args:
        epsilon: largest L2 norm of the perturbation, above 0; in a graph also one an image, [B].
        queries: calls of the model, an image; they stand in `gradients` and in the trace, in which no other attack has
            calls without a gradient.
        delivery: what the result is saved as, `Levels` of 8 bits or a `Jpeg`; None for floats. Rounding may add to the
            norm.
        seed: of the random numbers; an image's go by its place in the batch, too.

    Raises:
        ValueError: a value outside these.

    Source: Andriushchenko, Croce, Flammarion, Hein 2020, https://arxiv.org/abs/1912.00049, algorithms 1 and 3. Share
    and schedule are AutoAttack's, whose few calls find more than those of the paper.

    The boundary is 1/4 away, and rounding the pixels leaves a gradient nothing to go by:

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(tf.round(255 * x) / 255, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> result = Square(epsilon=0.5, queries=100)(model, tf.fill([1, 4, 4, 1], 0.5), [0])
    >>> result.success.numpy(), bool(result.distortion[0] <= 0.5)
    (array([ True]), True)
    """

    tensors: ClassVar[dict[str, tf.DType]] = {"epsilon": tf.float32, "queries": tf.int32, "seed": tf.int32}

    epsilon: float
    queries: int = 1000
    delivery: Delivery | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks.in_range("epsilon", self.epsilon, 0, open_low=True)
        checks.count("queries", self.queries)
        checks.count("seed", self.seed, at_least=0)
        checks.optional("delivery", self.delivery, Delivery)

    def within(self, gradients: int | None) -> Square:
        return self if gradients is None else self.replaced(queries=gradients)

    def run(
        self, model: Classifier, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> core.AttackResult:
        shaper = shaping.of(images, None, None, self.delivery)
        epsilon = tf.broadcast_to(tf.cast(self.epsilon, images.dtype), tf.shape(labels))
        batch = images, labels, targets, epsilon

        def tried(search: _Search, r: tf.Tensor, batch: tuple[Any, ...], shaper: shaping.Shaper) -> _Search:
            """The search after another perturbation, brought into the ball and into [0, 1]."""
            images, labels, targets, epsilon = batch
            r = tensors.clip(images + tensors.project_l2(r, epsilon)) - images
            shown = shaper.delivered(images + r)
            logits = model.draws(shown.images)
            success = core.errs_in_every_draw(model, logits, labels, targets)
            margin = core.clear_margin(model, logits, labels, targets)
            better = margin < search.margin
            best = core.keep_best(search.best, images, shown, success, model.samples)
            r, margin = tensors.choose(better, r, search.r), tf.where(better, margin, search.margin)
            return _Search(r, margin, best)

        best = core.start(images, self.queries * model.samples, shaper.delivered(images).code)
        margin = tf.fill(tf.shape(labels), images.dtype.max)
        search = _Search(tf.zeros_like(images), margin, best)
        search = tried(search, tiles(images, tf.stack([self.seed, 0])), batch, shaper)
        for query in tf.range(1, self.queries):
            active = ~search.best.success
            if not tf.reduce_any(active):
                break
            h = side(tf.shape(images), query)
            drawn = draws(images, h, tf.stack([self.seed, query]))
            some = core.active_first(active)
            part, of_some = core.gather(search, some), core.gather(batch, some)
            r = moved(part.r, of_some[3], h, core.gather(drawn, some))
            search = core.scatter(search, some, tried(part, r, of_some, shaper.take(some)), active)
        return search.best


class _Draws(NamedTuple):
    """What each image has drawn for a call.

    Attributes:
        first, second: corners of the two squares; [B, 2] int32.
        sign: of the pattern in each channel, 1 or -1; [B, 1, 1, C].
        turned: whether the pattern lies on its side; [B] bool.
    """

    first: tf.Tensor
    second: tf.Tensor
    sign: tf.Tensor
    turned: tf.Tensor


def draws(images: tf.Tensor, h: tf.Tensor, seed: tf.Tensor) -> _Draws:
    """Those of images [B, H, W, C] for squares of h x h pixels, by a seed [2]; an image's go by its place, too."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    uniform = tf.random.stateless_uniform([batch, 5 + channels], seed)
    corners = tf.cast(uniform[:, :4] * tf.cast(tf.stack([height, width] * 2) - h + 1, uniform.dtype), tf.int32)
    sign = tf.where(uniform[:, tf.newaxis, tf.newaxis, 5:] < 0.5, -1.0, 1.0)
    return _Draws(corners[:, :2], corners[:, 2:], tf.cast(sign, images.dtype), uniform[:, 4] < 0.5)


def tiles(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The first r, before it is brought to its norm: hills of random signs side by side; [B, H, W, C]."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    signs = tf.sign(tf.random.stateless_uniform([batch, TILES, TILES, channels], seed, -1, 1, images.dtype))
    rows, columns = (-(-size // TILES) for size in (height, width))
    one = tf.tile(hill(rows, columns), [TILES, TILES])[tf.newaxis, :height, :width, tf.newaxis]
    spread = tf.repeat(tf.repeat(signs, rows, axis=1), columns, axis=2)[:, :height, :width]
    return FAR * tf.cast(one, images.dtype) * spread


def moved(r: tf.Tensor, epsilon: tf.Tensor, h: tf.Tensor, drawn: _Draws) -> tf.Tensor:
    """Algorithm 3 of the source: r [B, H, W, C] with the norm of the second square in the first, for each channel."""
    eta = pattern(h)
    turned = tf.where(drawn.turned[:, tf.newaxis, tf.newaxis], tf.transpose(eta), eta)
    first, second = (placed(tf.ones_like(turned), corner, tf.shape(r)) for corner in (drawn.first, drawn.second))
    both = tf.maximum(first, second)

    def norm(values: tf.Tensor) -> tf.Tensor:
        return tf.norm(values, axis=[1, 2], keepdims=True)  # of each channel

    channels = tf.cast(tf.shape(r)[3], r.dtype)
    unused = tf.maximum(tf.square(tensors.per_image(epsilon)) - tf.square(tensors.per_image(tensors.l2_norm(r))), 0)
    available = tf.sqrt(tf.square(norm(both * r)) + unused / channels)
    mixed = drawn.sign * placed(turned, drawn.first, tf.shape(r)) + tf.math.divide_no_nan(first * r, norm(first * r))
    return (1 - both) * r + available * tf.math.divide_no_nan(mixed, norm(mixed))


def side(shape: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
    """h, in pixels, of images of a shape [4], at a call, from 0: odd, and no longer than either side.

    >>> [int(side([1, 299, 299, 3], query)) for query in (0, 1000)]
    [267, 67]
    """
    halvings = tf.reduce_sum(tf.cast(query > tf.constant(HALVED), tf.float32))
    pixels = tf.cast(shape[1] * shape[2], tf.float32) * SHARE / tf.pow(2.0, halvings)
    h = tf.maximum(tf.cast(tf.round(tf.sqrt(pixels)), tf.int32), SMALLEST)
    largest = tf.minimum(shape[1], shape[2])
    return tf.minimum(h + 1 - h % 2, largest - 1 + largest % 2)


def pattern(h: tf.Tensor) -> tf.Tensor:
    """eta, a hill above a valley; [h, h], of norm 1."""
    values = tf.concat([hill(h // 2, h), -hill(h - h // 2, h)], axis=0)
    return values / tf.norm(values)


def hill(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """(3) of the source: the sum of 1 / (k + 1)^2 over k from the distance to the middle on; [rows, columns], norm 1.

    The distance is the larger of that along rows and that along columns.
    """
    terms = 1 / tf.square(tf.cast(tf.range(1, tf.maximum(rows, columns) // 2 + 2), tf.float32))
    beyond = tf.cumsum(terms, reverse=True)
    down, across = (tf.abs(tf.range(size) - size // 2) for size in (rows, columns))
    values = tf.gather(beyond, tf.maximum(down[:, tf.newaxis], across))
    return values / tf.norm(values)


def placed(values: tf.Tensor, corner: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Values [B, h, h] in images of a shape [4], from each one's corner [B, 2] on, and 0 elsewhere; [B, H, W, 1]."""
    h = tf.shape(values)[1]
    for axis in (1, 2):
        place = tf.range(shape[axis]) - corner[:, axis - 1 : axis]
        inside = tf.expand_dims(tf.cast((place >= 0) & (place < h), values.dtype), 3 - axis)
        values = inside * tf.gather(values, tf.clip_by_value(place, 0, h - 1), axis=axis, batch_dims=1)
    return values[..., tf.newaxis]
