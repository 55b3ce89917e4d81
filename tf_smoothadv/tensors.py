"""What is done with images and perturbations, each of a batch by itself: norms, projections, clipping, rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = [
    "at_level",
    "choose",
    "clip",
    "in_turn",
    "l2_norm",
    "per_image",
    "power_of_two",
    "project_l2",
    "quantized",
    "unit_l2",
]


def per_image(x: tf.Tensor) -> tf.Tensor:
    """[B] as [B, 1, 1, 1]."""
    return x[:, tf.newaxis, tf.newaxis, tf.newaxis]


def choose(which: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The images of x where `which` [B], else those of y; [B, ...].

    Copies whole images, in a third of the time of `tf.where`, which looks at the condition of each pixel. A number x
    stands for all images.
    """
    x = tf.convert_to_tensor(x)
    return tf.raw_ops.Select(condition=which, x=x, y=y) if x.shape.rank else tf.where(which, x, y)


def power_of_two(x: tf.Tensor) -> tf.Tensor:
    """The largest power of two that is at most |x|, by which a float can be divided exactly; 1 for 0 and what is not
    finite.
    """
    bits = tf.bitwise.bitwise_and(tf.bitcast(tf.cast(x, tf.float32), tf.int32), 0x7F800000)  # the exponent
    power = tf.bitcast(bits, tf.float32)
    return tf.cast(tf.where((power > 0) & (power < math.inf), power, 1), x.dtype)


def l2_norm(x: tf.Tensor) -> tf.Tensor:
    """||x|| of each image; [B]."""
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2, 3]))


def unit_l2(x: tf.Tensor) -> tf.Tensor:
    """The unit vector x / ||x|| of each image; zero where x is zero."""
    x /= power_of_two(tf.reduce_max(tf.abs(x), axis=[1, 2, 3], keepdims=True))  # whose squares float32 can hold
    return tf.math.divide_no_nan(x, per_image(l2_norm(x)))


def project_l2(r: tf.Tensor, epsilon: tf.Tensor | float) -> tf.Tensor:
    """argmin_p ||p - r|| subject to ||p|| <= epsilon, per image."""
    norm = l2_norm(r)
    return r * per_image(tf.where(norm > epsilon, tf.math.divide_no_nan(epsilon, norm), 1))


def clip(x: tf.Tensor) -> tf.Tensor:
    """c(x) of (11): the nearest image in [0, 1]."""
    return tf.clip_by_value(x, 0, 1)


def quantized(x: tf.Tensor, levels: int | None, rounded: Callable[[tf.Tensor], tf.Tensor] = tf.round) -> tf.Tensor:
    """The nearest image whose pixels have one of `levels` values, round((levels - 1) x) / (levels - 1); x for None.

    Another rounding to integers may stand for the nearest ones, such as `Shaper.rounded`. The gradient passes straight
    through, as if nothing were rounded.
    """
    if levels is None:
        return x
    return x + tf.stop_gradient(clip(at_level(rounded(tf.stop_gradient(x) * (levels - 1)), levels)) - x)


def at_level(number: tf.Tensor, levels: int | tf.Tensor) -> tf.Tensor:
    """The value of the level of a number, number / (levels - 1), for levels from 0 on.

    In float64, because a graph may divide by multiplying: in float32 that misses a level by its last bit.
    """
    return tf.cast(tf.cast(number, tf.float64) / tf.cast(levels - 1, tf.float64), number.dtype)


def in_turn(function: Callable[[Any], Any], elements: Any, kinds: Any) -> Any:
    """`function` of each of the elements [N, ...], one after another, each result in the types `kinds`; [N, ...].

    A `function` that raises while it is traced leaves TensorFlow as it was. `tf.map_fn` would leave a setting of the
    variable scope behind, with which no scope of a `tf.distribute` strategy could be entered any more.
    """
    scope = tf.compat.v1.get_variable_scope()
    device = scope.caching_device
    try:
        return tf.map_fn(function, elements, fn_output_signature=kinds, parallel_iterations=1)
    finally:
        if scope.caching_device is not device:
            scope.set_caching_device(device)
