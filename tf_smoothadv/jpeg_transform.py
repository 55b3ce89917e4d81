"""The numbers of JPEG: its cosine transform, the integers by which libjpeg inverts it, and its colours."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

__all__ = ["BLOCK", "FORWARD", "FROM_YCC", "INVERSE", "LARGEST", "TO_YCC", "colors", "shifted"]

BLOCK = 8
LARGEST = 1023  # coefficient that a file of 8 bits can hold
# jidctint.c of libjpeg: its one-dimensional inverse DCT is this integer matrix, from frequencies to pixels, followed by
# a shift of 11 bits down the columns and of 18 bits along the rows, each rounded to the nearest.
_A, _B, _C, _D, _E, _F = 8192, 10703, 4433, 11363, 9633, 6437
_INVERSE = np.array(
    [
        [_A, _D, _B, _E, _A, _F, _C, 2260],
        [_A, _E, _C, -2259, -_A, -11362, -10704, -6436],
        [_A, _F, -_C, -11362, -_A, 2261, 10704, _E],
        [_A, 2260, -_B, -6436, _A, _E, -_C, -_D],
    ]
)
INVERSE = np.concatenate([_INVERSE, _INVERSE[::-1] * (-1) ** np.arange(BLOCK)]).astype(np.float64)
# The forward DCT, orthonormal, from pixels to frequencies.
FORWARD = np.sqrt(2 / BLOCK) * np.cos(np.pi * np.arange(BLOCK)[:, None] * (2 * np.arange(BLOCK) + 1) / (2 * BLOCK))
FORWARD[0] = math.sqrt(1 / BLOCK)
# Y, Cb and Cr, less 128, of red, green and blue.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
FROM_YCC = np.linalg.inv(TO_YCC)


def shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
    """The quotient x / 2^bits of whole numbers, halves rounded up; integers or floats."""
    if x.dtype.is_integer:
        return tf.bitwise.right_shift(x + (1 << bits - 1), tf.constant(bits, x.dtype))
    return tf.floor(x / 2**bits + 0.5)


def colors(y: tf.Tensor, cb: tf.Tensor, cr: tf.Tensor) -> list[tf.Tensor]:
    """The bytes of red, green and blue, with the constants of jdcolor.c in units of 2^-16; integers or floats."""
    cb, cr = cb - 128, cr - 128
    red = y + shifted(91881 * cr, 16)
    green = y + shifted(-22554 * cb - 46802 * cr, 16)
    blue = y + shifted(116130 * cb, 16)
    return [tf.clip_by_value(color, 0, 255) for color in (red, green, blue)]
