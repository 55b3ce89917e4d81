"""Defences: layers to put in front of a model."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_smoothadv import checks, filters, graph

__all__ = ["BilateralFilter"]


@keras.saving.register_keras_serializable(package="tf_smoothadv")
class BilateralFilter(keras.layers.Layer):
    """Keras layer of the bilateral filter, the defence of section 5.4: each pixel a mean of its like neighbours.

    In front of a Keras model it makes another one, `keras.Sequential([BilateralFilter(), model])`; in front of any
    callable, `lambda images: model(layer(images))`. Either is a model to every attack of this library, which then goes
    *through* the filter: gradients flow to the images, through the weights too.

    Args:
        sigma_space: standard deviation of the Gaussian in space, in pixels, above 0.
        sigma_range: standard deviation of the Gaussian in colour, for pixels in [0, 1], above 0.
        radius: pixels from the centre of the window to its side, at least 0; the default is 11 x 11. The window is cut
            at the image's border.
        color: "per_channel", each channel filtered by itself, as in the authors' code; "joint", one weight for all
            channels, from the Euclidean distance over them, as in appendix A.

    Call arguments:
        images: [B, H, W, C] in [0, 1]. Computed in float32, or float64 if the images are; returned in their dtype. In
            eager code NaN and values outside are refused; in a `tf.function` they are the caller's affair.

    Raises:
        ValueError: settings or images outside these.

    Runs eagerly, in a `tf.function`, in `tf.data.Dataset.map` and in a functional model; saves and loads with it.

    Source: Tomasi, Manduchi 1998, "Bilateral filtering for gray and color images"; appendix A of the paper.

    What is little beside `sigma_range` is smoothed away, an edge stays:

    >>> images = 0.5 + 0.4 * tf.sign(tf.range(-8.0, 8.0) + 0.5)[None, None, :, None] * tf.ones([1, 16, 1, 1])
    >>> noise = tf.random.stateless_uniform(images.shape, seed=[0, 0], minval=-0.05, maxval=0.05)
    >>> filtered = BilateralFilter(sigma_space=1.0)(images + noise)
    >>> bool(tf.norm(filtered - images) < 0.5 * tf.norm(noise))
    True
    """

    def __init__(
        self,
        sigma_space: float = 0.5,
        sigma_range: float = 0.2,
        radius: int = 5,
        color: str = "per_channel",
        **kwargs: Any,
    ) -> None:
        checks.in_range("sigma_space", sigma_space, 0, open_low=True)
        checks.in_range("sigma_range", sigma_range, 0, open_low=True)
        checks.count("radius", radius, at_least=0)
        checks.one_of("color", color, graph.COLORS)
        super().__init__(autocast=False, **kwargs)
        self.sigma_space = sigma_space
        self.sigma_range = sigma_range
        self.radius = radius
        self.color = color

    def call(self, images: Any) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        half = images.dtype in (tf.float16, tf.bfloat16)
        x = checks.as_images(tf.cast(images, tf.float32) if half else images)
        y = filters.bilateral(x, x, self.sigma_space, self.sigma_range, self.radius, self.color)
        return tf.cast(y, images.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("sigma_space", "sigma_range", "radius", "color")}
        return {**super().get_config(), **settings}
