"""Adversarial magnification: an image normalised by its own local contrast, so that a perturbation shows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, filters

__all__ = ["Setting", "magnify", "rescaled"]


class Setting(NamedTuple):
    """Standard deviations of the bilateral filter, in pixels and for pixels in [0, 1].

    Source: appendix A of the paper, and the authors' code, which differ.

    >>> SETTINGS["code"]
    Setting(sigma_space=5.0, sigma_range=0.2)
    """

    sigma_space: float
    sigma_range: float

    @property
    def radius(self) -> int:
        """How many pixels the window reaches to each side."""
        return math.ceil(QUANTILE * self.sigma_space)


SETTINGS = {"code": Setting(5.0, 0.2), "paper": Setting(5.0, 5.0)}
QUANTILE = 2.326  # of the normal distribution at 0.99: how many standard deviations the window reaches


def magnify(images: Any, beta: float = 0.8, setting: str = "code") -> tf.Tensor:
    """Adversarial magnification (22): (x - mu) / (beta sigma + (1 - beta) sigma_image).

    mu is the local mean, the bilateral filter of the image; sigma^2 the local variance, the filter of (x - mu)^2 with
    the weights of the image; sigma_image the standard deviation of a whole channel. Channels are normalised each by
    itself, the weights come from the distance over all of them (appendix A). Equation 22 prints the exponent of the
    local variance as -1/2; it is 1/2.

    Args:
        images: [B, H, W, C] in [0, 1], float32 or float64, C of any size.
        beta: share of the local against the global deviation, in [0, 1]; the paper's figures have 0.8.
        setting: "code", the authors' code: standard deviations of 5 pixels in space and 0.2 in colour. "paper", the
            text of appendix A: 5 in both. Pixels lie in [0, 1] in the paper (section 2), where 5 weighs black and
            white nearly alike: the filter is then all but a Gaussian one, and edges throw halos 10 pixels wide. Hence
            the default. The window, of which the text says nothing, is 25 x 25 in both, cut at the image's border.

    Returns:
        [B, H, W, C], as (22) has it: about 0, a few units up and down, not clipped; 0 where an image is flat. For
        images to look at see `rescaled`.

    Raises:
        ValueError: another rank or dtype, values outside [0, 1] (in eager code), or another beta or setting.

    Normalised by its own contrast an image looks the same whether its contrast is high or low:

    >>> images = tf.random.stateless_uniform([1, 16, 16, 1], seed=[0, 0])
    >>> pale = magnify(0.49 + 0.02 * images, setting="paper")
    >>> bool(tf.reduce_all(tf.abs(pale - magnify(images, setting="paper")) < 0.1))
    True
    """
    checks.in_range("beta", beta, 0, 1, open_high=False)
    checks.one_of("setting", setting, SETTINGS)
    chosen = SETTINGS[setting]
    x = checks.as_images(images)

    def filtered(signal: tf.Tensor) -> tf.Tensor:
        return filters.bilateral(signal, x, chosen.sigma_space, chosen.sigma_range, chosen.radius, "joint")

    deviation = x - filtered(x)
    local = tf.sqrt(filtered(tf.square(deviation)))
    overall = tf.math.reduce_std(x, axis=[1, 2], keepdims=True)
    return tf.math.divide_no_nan(deviation, beta * local + (1 - beta) * overall)


def rescaled(images: Any) -> Any:
    """Magnified images for the eye: the lowest value of all mapped to 0, the highest to 1, so that they compare.

    Args:
        images: a tensor, or a list, tuple or dictionary of tensors, of any shapes, that are to be seen together.

    Returns:
        The same structure, in [0, 1]; zeros if all values are one.

    >>> [image.numpy().tolist() for image in rescaled([tf.constant([-2.0, 0.0]), tf.constant([2.0])])]
    [[0.0, 0.5], [1.0]]
    """
    low = tf.reduce_min([tf.reduce_min(image) for image in tf.nest.flatten(images)])
    high = tf.reduce_max([tf.reduce_max(image) for image in tf.nest.flatten(images)])
    return tf.nest.map_structure(lambda image: tf.math.divide_no_nan(image - low, high - low), images)
