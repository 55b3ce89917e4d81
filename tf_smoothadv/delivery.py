"""What an image is saved as: the images that a file can hold, and the nearest of them to an iterate of an attack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, tensors

__all__ = ["Delivered", "Delivery", "Levels"]


class Delivered(NamedTuple):
    """Images as a file holds them.

    Attributes:
        images: [B, H, W, C] in [0, 1], what the file is decoded to.
        code: what the file holds, one entry an image each; empty where that is the pixels themselves.

    >>> delivered = Levels(2).delivered(tf.fill([1, 2, 2, 1], 0.7))
    >>> float(delivered.images[0, 0, 0, 0]), delivered.code
    (1.0, ())
    """

    images: tf.Tensor
    code: tuple[tf.Tensor, ...] = ()


class Delivery:
    """Base of what an image is saved as: `Levels` of pixels, or a `Jpeg` file's coefficients.

    An attack with `delivery=` shows the model each iterate as it would be saved, whose success and distortion count;
    the iterate itself is not rounded. Another format is another subclass.
    """

    def get_config(self) -> dict[str, Any]:
        """What it is, as a dictionary of plain values, as JSON has them."""
        raise NotImplementedError

    def loop_key(self) -> Hashable:
        """A key that is equal for two deliveries exactly if attacks with them can share a compiled loop."""
        return self

    def tensors(self) -> tuple[tf.Tensor, ...]:
        """What belongs to the images of one batch, each [B, ...]: arguments of the compiled loop."""
        return ()

    def holding(self, tensors: tuple[tf.Tensor, ...]) -> Delivery:
        """The same delivery with these in place of its own `tensors`."""
        return self

    def check(self, images: tf.Tensor) -> None:
        """Raises ValueError if images [B, H, W, C] cannot be delivered so, without a perturbation."""

    def guided_by(self, images: tf.Tensor) -> Delivery:
        """The delivery of perturbations of these images, [B, H, W, C] in [0, 1]."""
        return self

    def take(self, indices: tf.Tensor) -> Delivery:
        """That of some of the images, in the order of `indices`."""
        return self

    def delivered(self, x: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor]) -> Delivered:
        """The image to save for an iterate x, [B, H, W, C] in [0, 1]; no gradient flows through it.

        Args:
            rounded: another rounding to integers than the nearest, where the format leaves that open.
        """
        raise NotImplementedError

    def searched(
        self, x: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor], before: tuple[tf.Tensor, ...]
    ) -> Delivered:
        """As `delivered`, and where a format has images nearer to x than that of the nearest code, those; takes longer.

        Args:
            before: the code that an iterate nearby was delivered as, from which the search goes on.
        """
        return self.delivered(x, rounded)

    def pull_back(self, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient of a loss in the iterate from that in the image delivered, as if nothing were rounded."""
        return gradient


@dataclasses.dataclass(frozen=True)
class Levels(Delivery):
    """Pixels of so many values, round((count - 1) x) / (count - 1): a PNG, BMP or lossless WebP file.

    Args:
        count: of the values, at least 2; 256 for 8 bits.

    Raises:
        ValueError: another count.

    >>> image = tf.fill([1, 1, 1, 1], 0.3)
    >>> [round(float(levels.delivered(image).images[0, 0, 0, 0]), 4) for levels in (Levels(2), Levels())]
    [0.0, 0.298]
    """

    count: int = 256

    def __post_init__(self) -> None:
        checks.count("count", self.count, at_least=2)

    def get_config(self) -> dict[str, Any]:
        return {"levels": self.count}

    def delivered(self, x: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor] = tf.round) -> Delivered:
        return Delivered(tensors.quantized(x, self.count, rounded))
