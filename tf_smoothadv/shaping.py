"""How an attack is shaped by the image and by the file it ends in: smoothing, masking, delivery, any or none."""

from __future__ import annotations

import tensorflow as tf

from tf_smoothadv import tensors
from tf_smoothadv.delivery import Delivered, Delivery
from tf_smoothadv.masking import Masker, Masking
from tf_smoothadv.smoothing import Smoother, Smoothing

__all__ = ["Shaper", "of"]


def of(
    images: tf.Tensor, smoothing: Smoothing | None, masking: Masking | None, delivery: Delivery | None = None
) -> Shaper:
    """The shaper guided by these images, [B, H, W, C] in [0, 1]."""
    return Shaper(
        smoothing.guided_by(images) if smoothing else None,
        masking.guided_by(images) if masking else None,
        delivery.guided_by(images) if delivery else None,
    )


class Shaper:
    """The coordinates z that an attack works in, r = T z, and the directions that it takes there, S T' g.

    T is the masking of a batch of images, S their smoothing; where one is None it is the identity, and costs nothing.

    Attributes:
        smoother, masker, delivery: of the images, or None.
    """

    def __init__(self, smoother: Smoother | None, masker: Masker | None, delivery: Delivery | None = None) -> None:
        self.smoother = smoother
        self.masker = masker
        self.delivery = delivery

    def take(self, indices: tf.Tensor) -> Shaper:
        """That of some of the images, in the order of `indices`."""
        return Shaper(
            self.smoother.take(indices) if self.smoother else None,
            self.masker.take(indices) if self.masker else None,
            self.delivery.take(indices) if self.delivery else None,
        )

    def signal(self, z: tf.Tensor) -> tf.Tensor:
        """T z, the perturbation r of a latent z; [B, H, W, C]."""
        return z if self.masker is None else self.masker(z)

    def latent(self, r: tf.Tensor) -> tf.Tensor:
        """T^-1 r, the latent z of a perturbation r; [B, H, W, C]."""
        return r if self.masker is None else self.masker.inverse(r)

    def norm(self, r: tf.Tensor) -> tf.Tensor:
        """||T^-1 r|| of each image, what a search for the least perturbation minimises; [B]."""
        return tensors.l2_norm(self.latent(r))

    def pull_back(self, gradient: tf.Tensor) -> tf.Tensor:
        """T' g, the gradient of a loss in z, from that in the image delivered; [B, H, W, C]."""
        gradient = self.in_iterate(gradient)
        return gradient if self.masker is None else self.masker.adjoint(gradient)

    def in_iterate(self, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient of a loss in the iterate, from that in the image delivered; [B, H, W, C]."""
        return gradient if self.delivery is None else self.delivery.pull_back(gradient)

    def smoothed(self, z: tf.Tensor) -> tf.Tensor:
        """S z, (9) of the paper; [B, H, W, C]."""
        return z if self.smoother is None else self.smoother.apply(z)

    def delivered(self, x: tf.Tensor) -> Delivered:
        """The iterate x as it is saved, [B, H, W, C] in [0, 1]."""
        return Delivered(x) if self.delivery is None else self.delivery.delivered(x, self.rounded)

    def searched(self, x: tf.Tensor, before: tuple[tf.Tensor, ...]) -> Delivered:
        """The iterate x as it is saved, by a search that goes on from the code of one before; [B, H, W, C]."""
        return Delivered(x) if self.delivery is None else self.delivery.searched(x, self.rounded, before)

    def rounded(self, x: tf.Tensor) -> tf.Tensor:
        """Integers near x, [B, H, W, C] in units of a level: such that what is smooth stays so, or nearest in ||z||.

        With both the norm of z decides: to sweep over neighbours and colours costs more than a model's gradient.
        """
        if self.masker is not None:
            return self.masker.rounded(x)
        return tf.round(x) if self.smoother is None else self.smoother.rounded(x)
