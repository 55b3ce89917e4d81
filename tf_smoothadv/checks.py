"""Bad input is refused at the door, in one line that names the value received."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["as_floats", "as_images", "as_labels", "as_levels", "count", "first_line"]
__all__ += ["in_range", "interval", "one_of", "optional", "same_shape"]

COLOR = re.compile(r"\x1b\[\d*m")  # of a terminal, as in Keras's messages
IN_USER_CODE = re.compile(r"^\s*in user code:\s.*?^\s*\w+(Error|Exception): ", re.DOTALL | re.MULTILINE)  # AutoGraph's
HALF = (tf.float16, tf.bfloat16)
NEAR = 1e-3  # what a resize or a filter may leave outside [0, 1]
LEVEL_ERROR = 1e-2  # of a level of 8 bits: what arithmetic in float32 may leave


def one_of(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; received {value!r}")


def in_range(
    name: str, value: Any, low: float, high: float = float("inf"), *, open_low: bool = False, open_high: bool = True
) -> None:
    """Raises ValueError unless `value` is a number between `low` and `high`, or a tensor of such numbers.

    Of a tensor inside a `tf.function` the values are checked when it runs.
    """
    must = f"{name} must be a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number and not tf.is_tensor(value):
        raise ValueError(f"{must}; received {value!r}")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if number:
        inside = above and below
    elif tf.is_symbolic_tensor(value):
        tf.debugging.Assert(tf.reduce_all(above & below), [must])
        return
    else:
        inside = bool(tf.reduce_all(above & below))
    if not inside:
        raise ValueError(f"{must}; received {value!r}")


def count(name: str, value: Any, at_least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer of at least `at_least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}; received {value!r}")


def optional(name: str, value: Any, kind: type) -> None:
    """Raises ValueError unless `value` is a `kind` or None."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__} or None; received {value!r}")


def interval(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a pair of finite numbers, the first below the second."""
    pair: list[Any] = list(value) if isinstance(value, Sequence) else []
    finite = all(isinstance(end, numbers.Real) and math.isfinite(end) for end in pair)
    if len(pair) != 2 or not finite or not pair[0] < pair[1]:
        raise ValueError(f"{name} must be two numbers, the first below the second; received {value!r}")


def first_line(error: Exception) -> str:
    """The first line of an error's message that says something, or its type where none does."""
    text = COLOR.sub("", str(error))
    if raised := IN_USER_CODE.search(text):
        text = text[raised.end() :]
    lines = text.splitlines()
    telling = (line.strip() for line in lines if line.strip() and not line.startswith("Exception encountered when"))
    return next(telling, type(error).__name__)


def as_images(images: Any, name: str = "images") -> tf.Tensor:
    """`images` as a float tensor [B, H, W, C] with values in [0, 1]; float16 and bfloat16 become float32.

    Values are looked at only where they are known: inside a `tf.function` or a `tf.data` pipeline the rank and the
    dtype are checked, the range is the caller's.

    Raises:
        ValueError: another rank or dtype, NaN, or values outside [0, 1].
    """
    tensor = as_floats(images, name)
    if tensor.shape.rank is not None and tensor.shape.rank != 4:
        raise ValueError(f"{name} must have rank 4, [batch, height, width, channels]; received shape {tensor.shape}")
    if not tf.is_symbolic_tensor(tensor) and tf.size(tensor) > 0:
        low, high = float(tf.reduce_min(tensor)), float(tf.reduce_max(tensor))
        if not (low >= 0 and high <= 1):  # also true for NaN, which compares false with everything
            hint = ""
            if low >= -NEAR and high <= 1 + NEAR:
                hint = "; clip them: tf.clip_by_value(images, 0, 1)"
            elif low >= 0 and 2 <= high <= 255:
                hint = "; divide 8-bit values by 255"
            raise ValueError(f"{name} must lie in [0, 1]; received values from {low:.8g} to {high:.8g}{hint}")
    return tensor


def as_levels(images: Any, name: str) -> np.ndarray:
    """Images [B, H, W, C] in [0, 1] of 8 bits as uint8.

    Raises:
        ValueError: what `as_images` refuses, or values between levels.
    """
    exact: np.ndarray = 255 * as_images(images, name).numpy()
    levels = np.round(exact)
    if not np.all(np.abs(exact - levels) < LEVEL_ERROR):
        raise ValueError(
            f"{name} must be levels of 8 bits, multiples of 1/255, as a file holds them; quantize them: "
            "sa.protocol.quantize(images)"
        )
    return levels.astype(np.uint8)


def same_shape(name: str, shape: Sequence[int], originals: Sequence[int]) -> None:
    """Raises ValueError unless adversarial images have the shape of the originals."""
    if tuple(shape) != tuple(originals):
        raise ValueError(f"{name} must have the shape of the originals, {tuple(originals)}; received {tuple(shape)}")


def as_floats(values: Any, name: str) -> tf.Tensor:
    """`values` as a float32 or float64 tensor, the first for float16 and bfloat16; ValueError for other types."""
    tensor = tf.convert_to_tensor(values)
    if tensor.dtype in HALF:
        return tf.cast(tensor, tf.float32)
    if tensor.dtype not in (tf.float32, tf.float64):
        hint = "; divide 8-bit values by 255: tf.cast(images, tf.float32) / 255" if tensor.dtype == tf.uint8 else ""
        raise ValueError(f"{name} must be floats; received {tensor.dtype.name}{hint}")
    return tensor


def as_labels(labels: Any, batch: int | None, name: str = "labels") -> tf.Tensor:
    """`labels` as an int32 tensor [B], where `batch` is B if it is known.

    Raises:
        ValueError: another rank, length or dtype, or a class below 0 or beyond int32; inside a `tf.function` the values
            are checked when it runs.
    """
    tensor = tf.convert_to_tensor(labels)
    if tensor.shape.rank == 2 and tensor.shape[1] != 1:
        raise ValueError(
            f"{name} must be classes, one an image; received shape {tensor.shape}: of one-hot rows take "
            "the tf.argmax(labels, axis=1)"
        )
    if not tensor.dtype.is_integer:
        raise ValueError(f"{name} must be integers; received {tensor.dtype.name}")
    if not tensor.shape.is_compatible_with([batch]):
        raise ValueError(f"{name} must have shape [{batch}], one class an image; received shape {tensor.shape}")
    if tf.is_symbolic_tensor(tensor):
        wide = tf.cast(tensor, tf.int64)
        inside = tf.reduce_all((wide >= 0) & (wide <= tf.int32.max))
        tf.debugging.Assert(inside, [f"{name} must be classes from 0 on"])
    elif tf.size(tensor):
        low, high = int(tf.reduce_min(tensor)), int(tf.reduce_max(tensor))
        if low < 0:
            raise ValueError(f"{name} must be classes from 0 on; received {low}")
        if high > tf.int32.max:
            raise ValueError(f"{name} must be classes, below 2**31; received {high}")
    return tf.cast(tensor, tf.int32)
