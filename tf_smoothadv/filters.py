"""The bilateral filter: a weighted mean of a pixel's window, by nearness in space and likeness in a guide image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_smoothadv import solvers

__all__ = ["bilateral", "felt_radius"]

WIDTH = 64  # XLA writes out the loop over a shorter row, which takes it many seconds to compile


def bilateral(
    signal: tf.Tensor, guide: tf.Tensor, sigma_space: float, sigma_range: float, radius: int, color: str
) -> tf.Tensor:
    """The guided bilateral filter y_p = sum_q w_pq s_q / sum_q w_pq of a signal s, q in the window of pixel p.

    w_pq = exp(-|p - q|^2 / (2 sigma_space^2)) exp(-||x_p - x_q||^2 / (2 sigma_range^2)) for a guide x; guided by the
    signal itself, it is the plain bilateral filter. The window has 2 radius + 1 pixels a side and is cut at the
    image's border. Where the signal is constant over a window it is returned exactly, to the last bit.

    Rows and columns of the window whose spatial weight is less than half the dtype's epsilon are left out (beyond
    2 pixels for sigma_space 0.5 in float32): beside the pixel's own weight of 1 they are lost in rounding.

    Gradients flow to the signal and to the guide. They cost a second pass over the window and no memory beyond a few
    images: w is symmetric, so a gradient is gathered from the window as the result itself is.

    Args:
        signal, guide: [B, H, W, C], of one dtype.
        sigma_space: in pixels.
        sigma_range: in the guide's units.
        color: "joint", the distance over all channels, one weight for all; "per_channel", each channel by itself.

    Returns:
        The shape and dtype of the signal.

    Source: Tomasi and Manduchi 1998, "Bilateral filtering for gray and color images"; appendix A of the paper.
    """
    s, x = solvers.channels_first(signal), solvers.channels_first(guide / (math.sqrt(2) * sigma_range))
    shape = tf.shape(s)
    if color == "per_channel":
        s, x = (tf.reshape(planes, [shape[0] * shape[1], 1, shape[2], shape[3]]) for planes in (s, x))
    reach = felt_radius(sigma_space, radius, signal.dtype)
    spatial = tf.constant(np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma_space**2)), signal.dtype)

    @tf.custom_gradient
    def filtered(s: tf.Tensor, x: tf.Tensor) -> Any:
        s, x = tf.stop_gradient(s), tf.stop_gradient(x)
        y, total = _filtered(s, x, spatial, reach)
        return y, lambda upstream: _gradients(s, x, y, upstream / total, spatial, reach)

    return tf.ensure_shape(solvers.channels_last(tf.reshape(filtered(s, x), shape)), signal.shape)


def felt_radius(sigma_space: float, radius: int, dtype: tf.DType) -> int:
    """The largest distance, up to `radius`, whose spatial weight is at least half the dtype's epsilon."""
    return min(radius, math.floor(sigma_space * math.sqrt(2 * math.log(2 / np.finfo(dtype.as_numpy_dtype).eps))))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _filtered(s: tf.Tensor, x: tf.Tensor, spatial: tf.Tensor, reach: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The filtered signal [N, C, H, W] and the sums of weights [N, 1, H, W]; the guide x in units of sqrt(2) sigma."""
    inside = tf.ones_like(s[:, :1])

    def terms(weight: tf.Tensor, here: list[tf.Tensor], there: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        (s, x, _), (s_q, x_q, inside_q) = here, there
        w = weight * _likeness(x_q - x) * inside_q
        return w * (s_q - s), w

    moved, total = _over_window(terms, (s, x, inside), (s, inside), spatial, reach)
    return s + moved / total, total


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _gradients(
    s: tf.Tensor, x: tf.Tensor, y: tf.Tensor, h: tf.Tensor, spatial: tf.Tensor, reach: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of a loss by s and by x, h its gradient by y over the sums of weights.

    dL/ds_j = sum_q w_jq h_q and, from dw_jq / dx_j = 2 w_jq (x_q - x_j),
    dL/dx_j = 2 sum_q w_jq (x_q - x_j) (h_j'(s_q - y_j) + h_q'(s_j - y_q)).
    """
    inside = tf.ones_like(s[:, :1])

    def terms(weight: tf.Tensor, here: list[tf.Tensor], there: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        (s, x, y, h, _), (s_q, x_q, y_q, h_q, inside_q) = here, there
        w = weight * _likeness(x_q - x) * inside_q
        pull = tf.reduce_sum(h * (s_q - y) + h_q * (s - y_q), axis=1, keepdims=True)
        return w * h_q, w * pull * (x_q - x)

    by_s, by_x = _over_window(terms, (s, x, y, h, inside), (s, x), spatial, reach)
    return by_s, 2 * by_x


def _likeness(difference: tf.Tensor) -> tf.Tensor:
    """exp(-||d||^2), the norm over the channels; [N, 1, ...]."""
    return tf.exp(-tf.reduce_sum(tf.square(difference), axis=1, keepdims=True))


def _over_window(
    terms: Callable[[tf.Tensor, list[tf.Tensor], list[tf.Tensor]], tuple[tf.Tensor, ...]],
    images: tuple[tf.Tensor, ...],
    like: tuple[tf.Tensor, ...],
    spatial: tf.Tensor,
    reach: int,
) -> list[tf.Tensor]:
    """Sums over the window of terms(spatial weight, images here, images there), of the shapes of `like`.

    There, images are zero outside. The window's rows are a loop, its columns are written out: one pass for a row.
    Images narrower than WIDTH are filled up to it with zeros.
    """
    height, width = tf.shape(images[0])[2], tf.shape(images[0])[3]
    spare = tf.maximum(WIDTH - width, 0)
    filled = width + spare
    here = [tf.pad(image, [[0, 0], [0, 0], [0, 0], [0, spare]]) for image in images]
    padded = [tf.pad(image, [[0, 0], [0, 0], [reach, reach], [reach, reach]]) for image in here]

    def add_row(k: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows = [
            tf.slice(image, [0, 0, k, 0], tf.concat([tf.shape(image)[:2], [height, filled + 2 * reach]], 0))
            for image in padded
        ]
        for j in range(2 * reach + 1):
            there = [image[..., j : j + filled] for image in rows]
            added = terms(spatial[k] * spatial[j], here, there)
            sums = tuple(tf.ensure_shape(total + term, total.shape) for total, term in zip(sums, added))
        return k + 1, *sums

    start = [tf.zeros_like(tf.pad(image, [[0, 0], [0, 0], [0, 0], [0, spare]])) for image in like]
    _, *sums = tf.while_loop(lambda k, *_: k <= 2 * reach, add_row, (tf.constant(0), *start))
    return [total[..., :width] for total in sums]
