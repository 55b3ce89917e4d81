"""Bad input is refused at the door, in one line that names the value received."""

from __future__ import annotations

import numbers
from collections.abc import Collection
from typing import Any

import tensorflow as tf


def one_of(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; received {value!r}")


def in_range(
    name: str, value: Any, low: float, high: float = float("inf"), *, open_low: bool = False, open_high: bool = True
) -> None:
    """Raises ValueError unless `value` is a number between `low` and `high`."""
    interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    inside = number and (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
    if not inside:
        raise ValueError(f"{name} must be a number in {interval}; received {value!r}")


def count(name: str, value: Any, at_least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer of at least `at_least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}; received {value!r}")


def optional(name: str, value: Any, kind: type) -> None:
    """Raises ValueError unless `value` is a `kind` or None."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__} or None; received {value!r}")


def as_images(images: Any, name: str = "images") -> tf.Tensor:
    """`images` as a float tensor [B, H, W, C] with values in [0, 1].

    Values are looked at only where they are known: inside a `tf.function` or a `tf.data` pipeline the rank and the
    dtype are checked, the range is the caller's.

    Raises:
        ValueError: another rank or dtype, NaN, or values outside [0, 1].
    """
    tensor = as_floats(images, name)
    if tensor.shape.rank != 4:
        raise ValueError(f"{name} must have rank 4, [batch, height, width, channels]; received shape {tensor.shape}")
    if not tf.is_symbolic_tensor(tensor) and tf.size(tensor) > 0:
        low, high = float(tf.reduce_min(tensor)), float(tf.reduce_max(tensor))
        if not (low >= 0 and high <= 1):  # also true for NaN, which compares false with everything
            hint = "; divide 8-bit values by 255" if 1 < high <= 255 and low >= 0 else ""
            raise ValueError(f"{name} must lie in [0, 1]; received values from {low:.8g} to {high:.8g}{hint}")
    return tensor


def as_floats(values: Any, name: str) -> tf.Tensor:
    """`values` as a float32 or float64 tensor; ValueError for any other dtype."""
    tensor = tf.convert_to_tensor(values)
    if tensor.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"{name} must be float32 or float64; received {tensor.dtype.name}")
    return tensor


def as_labels(labels: Any, batch: int, name: str = "labels") -> tf.Tensor:
    """`labels` as an int32 tensor [B]; ValueError for another rank, length or dtype, or a negative class."""
    tensor = tf.convert_to_tensor(labels)
    if not tensor.dtype.is_integer:
        raise ValueError(f"{name} must be integers; received {tensor.dtype.name}")
    if tensor.shape.as_list() != [batch]:
        raise ValueError(f"{name} must have shape [{batch}], one class an image; received shape {tensor.shape}")
    if batch and int(tf.reduce_min(tensor)) < 0:
        raise ValueError(f"{name} must be classes from 0 on; received {int(tf.reduce_min(tensor))}")
    return tf.cast(tensor, tf.int32)
