"""A network of images of one size, for photographs of any size: the way to its size is a part of the model."""

from __future__ import annotations

import copy
import math
from typing import Any

import tensorflow as tf

from tf_smoothadv import checks, folding
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.ensemble import Ensemble

__all__ = ["CROP", "RESIZES", "Resized", "behind", "squared", "taken", "upright"]

CROP, SQUASH, PAD = RESIZES = ("crop", "squash", "pad")
ORIENTATIONS = range(1, 9)  # of EXIF
SIZE = 299  # of a network that takes any


class Resized:
    """A model that takes images [B, H, W, C] of any size, turned, cut and resized to what a network expects.

    All of it is differentiated through, so that attacks search, and measure, at the image's own size. Grey images are
    given to a network of colours with their channel three times.

    Args:
        model: a `Classifier`, a Keras model, or any callable, of images of one size.
        size: its side in pixels.
        resize: how an image becomes a square, see `squared`.
        orientation: of the EXIF metadata, 1 to 8: how the image is turned before.
        channels: what the network takes; None for those of the image.

    Raises:
        ValueError: a value outside these; when it is called, images of other channels.

    Attributes:
        any_size: True: one compiled attack serves images of all sizes, see `Classifier.any_size`.

    Interpolation is bilinear, and smooths what is made smaller (antialias), as `tf.image.resize` has it.

    >>> model = Resized(lambda x: tf.reshape(x, [-1, 16]), size=4)
    >>> photograph = tf.random.stateless_uniform([1, 480, 640, 1], seed=[0, 0])
    >>> model.seen(photograph).shape, model(photograph).shape, model.magnification(480, 640)
    (TensorShape([1, 4, 4, 1]), TensorShape([1, 16]), 120.0)
    """

    any_size = True

    def __init__(
        self, model: Any, size: int, resize: str = "crop", orientation: int = 1, channels: int | None = None
    ) -> None:
        checks.count("size", size)
        checks.one_of("resize", resize, RESIZES)
        checks.one_of("orientation", orientation, tuple(ORIENTATIONS))
        self.model = Classifier.of(model)
        self.size = size
        self.resize = resize
        self.orientation = orientation
        self.channels = channels
        if hasattr(self.model.model, "weights"):
            self.weights = self.model.model.weights

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.model(self.seen(images))

    def seen(self, images: tf.Tensor) -> tf.Tensor:
        """What the network is given of images [B, H, W, C]: [B, size, size, C]."""
        images = squared(upright(images, self.orientation), self.size, self.resize)
        if self.channels == 3 and images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        if self.channels not in (None, images.shape[-1]):
            raise ValueError(f"the network takes images of {self.channels} channels; received {images.shape[-1]}")
        return images

    def magnification(self, height: int, width: int) -> float:
        """How many pixels of an image become one of the network's, along a side, at least 1.

        A perturbation that is to change the network's pixels by as much is so many times as long.
        """
        longer, shorter = max(height, width), min(height, width)
        side = {CROP: shorter, PAD: longer, SQUASH: math.sqrt(longer * shorter)}[self.resize]
        return max(1.0, side / self.size)


@folding.folded.register
def _(model: Resized) -> Resized:
    changed = copy.copy(model)
    changed.model = model.model.folded()
    return model if changed.model is model.model else changed


def behind(model: Any, size: int | None = None, resize: str = CROP, orientation: int = 1) -> Classifier:
    """A model for photographs of any size: behind its `Resized`, each member of an `Ensemble` behind its own.

    Args:
        model: a `Classifier`, a Keras model, or any callable.
        size: the side in pixels that it takes; None for what it says itself, or 299.
        resize, orientation: see `Resized`.

    >>> import keras
    >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)])
    >>> behind(network)(tf.ones([2, 30, 40, 3])).shape
    TensorShape([2, 5])
    """
    model = Classifier.of(model)
    if isinstance(model, Ensemble):
        return Ensemble([behind(member, size, resize, orientation) for member in model.members])
    side, channels = taken(model.model)
    return Classifier(Resized(model, size or side or SIZE, resize, orientation, channels), samples=model.samples)


def taken(model: Any) -> tuple[int | None, int | None]:
    """The side and the channels of the images that a model says it takes; None for what it leaves open.

    >>> import keras
    >>> taken(keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Flatten()]))
    (224, 3)
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        return None, None
    return (shape[1] if shape[1] == shape[2] else None), shape[3]


def squared(images: tf.Tensor, size: int, resize: str = CROP) -> tf.Tensor:
    """Images [B, H, W, C] as [B, size, size, C], by bilinear interpolation with antialiasing.

    Args:
        images: of any size.
        size: the side in pixels.
        resize: "crop", the largest square in the middle, as networks of ImageNet are trained; "squash", the whole image
            without its proportions; "pad", the whole image with its proportions, black around it.

    Raises:
        ValueError: another way.

    >>> squared(tf.ones([1, 4, 8, 1]), 4, "pad")[0, :, 0, 0].numpy().round(3).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    checks.one_of("resize", resize, RESIZES)
    if images.shape[1:3] == [size, size]:
        return images
    shape = tf.shape(images)[1:3]
    wanted = tf.constant([size, size])
    if resize == CROP:
        side = tf.reduce_min(shape)
        top, left = tf.unstack((shape - side) // 2)
        cut = tf.slice(images, [0, top, left, 0], [-1, side, side, -1])  # whose gradient is faster than an index's
        images = tf.ensure_shape(cut, [images.shape[0], None, None, images.shape[-1]])
    elif resize == PAD:
        wanted = tf.maximum(1, tf.cast(tf.round(size * shape / tf.reduce_max(shape)), tf.int32))
    images = tf.image.resize(images, wanted, antialias=True)
    if resize == PAD:
        before = (size - wanted) // 2
        images = tf.pad(images, [[0, 0], *tf.unstack(tf.stack([before, size - wanted - before], axis=1)), [0, 0]])
    return tf.ensure_shape(images, [images.shape[0], size, size, images.shape[-1]])


def upright(images: tf.Tensor, orientation: int) -> tf.Tensor:
    """Images [B, H, W, C] as they are shown with an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        images = tf.transpose(images, [0, 2, 1, 3])
    axes = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return tf.reverse(images, axes) if axes else images
