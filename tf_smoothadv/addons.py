"""Defences made of the image filters of TensorFlow Addons, for those who have it: TensorFlow 2.15, Python 3.11."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_smoothadv import checks

__all__ = ["GaussianFilter", "MedianFilter", "filters"]


def filters() -> Any:
    """The module `tensorflow_addons.image`.

    Raises:
        ValueError: it cannot be imported.
    """
    try:
        from tensorflow_addons import image
    except ImportError as error:
        raise ValueError(
            f"this filter needs tensorflow-addons, which cannot be imported ({error}): "
            "pip install 'tf_smoothadv[addons]' on Python 3.11 with TensorFlow 2.15"
        ) from error
    return image


@keras.saving.register_keras_serializable(package="tf_smoothadv")
class MedianFilter(keras.layers.Layer):
    """Keras layer: each pixel the median of its window, in each channel by itself.

    The window is filled up at the image's border by reflection. The gradient of a median goes to the pixel it is.

    Args:
        size: pixels a side of the window, at least 1.

    Call arguments:
        images: [B, H, W, C] in [0, 1], H and W at least size // 2; computed and returned in their dtype.

    Raises:
        ValueError: another size or other images, or no TensorFlow Addons.

    Source: https://www.tensorflow.org/addons/api_docs/python/tfa/image/median_filter2d.
    """

    def __init__(self, size: int = 3, **kwargs: Any) -> None:
        checks.count("size", size)
        filters()
        super().__init__(autocast=False, **kwargs)
        self.size = size

    def call(self, images: Any) -> tf.Tensor:
        images = checks.as_images(images)
        return tf.ensure_shape(filters().median_filter2d(images, self.size, "SYMMETRIC"), images.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="tf_smoothadv")
class GaussianFilter(keras.layers.Layer):
    """Keras layer: each pixel the mean of its window weighted by a Gaussian, in each channel by itself.

    The window reaches 3 sigma and is filled up at the image's border by reflection.

    Args:
        sigma: standard deviation in pixels, above 0.

    Call arguments:
        images: [B, H, W, C] in [0, 1], H and W at least 3 sigma; computed and returned in their dtype.

    Raises:
        ValueError: another sigma or other images, or no TensorFlow Addons.

    Source: https://www.tensorflow.org/addons/api_docs/python/tfa/image/gaussian_filter2d.
    """

    def __init__(self, sigma: float = 1.0, **kwargs: Any) -> None:
        checks.in_range("sigma", sigma, 0, open_low=True)
        filters()
        super().__init__(autocast=False, **kwargs)
        self.sigma = sigma

    def call(self, images: Any) -> tf.Tensor:
        images = checks.as_images(images)
        size = 2 * math.ceil(3 * self.sigma) + 1
        return tf.ensure_shape(filters().gaussian_filter2d(images, size, self.sigma, "SYMMETRIC"), images.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma}
