"""Masking guided by an image: where, in which colours and how fine the eye sees a change least, as a linear map."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks

__all__ = ["TEXTURES", "Masker", "Masking"]

TEXTURES = ("hill", "deviation")
STEEPEST = 4  # the largest gain over the smallest: beyond it `Masker.rounded` may miss the nearest levels
STRONGEST = 0.9  # the largest emphasis: the inverse of a stronger one reaches further than it is worth
LUMINANCE = (0.299, 0.587, 0.114)  # of ITU-R BT.601
OPPONENT = np.array([LUMINANCE, [0.5, -0.5, 0], [-0.25, -0.25, 0.5]])
SHARPENING = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float64)
HILL_FLOOR, DEVIATION_FLOOR = 0.02, 0.05
MEAN = np.array([1, 4, 6, 4, 1]) / 16  # what `emphasis` takes away a share of
PERIOD = 256  # pixels, of which the inverse of F reaches over a part
EXACT = 1e-13  # what the weights of the inverse are known to

Weights = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Masking:
    """How to shape a perturbation by what an image hides: in texture, in colours and in detail, where eyes are weak.

    A signal z becomes r_i = m_i C (F z)_i at each pixel i. The mask m has mean 1 over each image, large where its
    luminance is textured. C weighs colours: z in opponent coordinates, luminance 0.299 R + 0.587 G + 0.114 B, red-green
    (R - G) / 2 and blue-yellow B / 2 - (R + G) / 4, each times its gain. F lowers what is coarse: along rows and along
    columns it is I - a K, a the emphasis, K the mean with weights (1, 4, 6, 4, 1) / 16, the image mirrored at its
    border. ||z|| is a norm of r in which a change of a textured pixel counts little, one of colour less than one of
    luminance, and one that its neighbours take back less than one that they share.

    Attributes:
        texture: "hill", rho^-1/2, rho the 15 x 15 mean of 1 / (the 3 x 3 mean of |luminance * H| + 0.02), H the filter
            [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], which passes what is hard to predict and hence no edge;
            "deviation", the standard deviation of the luminance over 5 x 5 pixels, plus 0.05; None, 1 everywhere.
            Windows are cut at the border.
        sharpness: the power that the mask is taken to, at least 0; 0 is no mask.
        gains: of luminance, red-green and blue-yellow, above 0, the largest at most 4 times the smallest; their ratio
            alone matters. None leaves colours as they are. Images of one channel have no colours.
        emphasis: a, of detail over what is coarse, in [0, 0.9]: F lowers what all pixels share to (1 - a)^2, and leaves
            a checkerboard as it is. 0 is no filter.

    Raises:
        ValueError: a value outside these.

    Source: HILL, Li, Wang, Huang, Li 2014, https://doi.org/10.1109/ICIP.2014.7025854; F after the eye's contrast
    sensitivity, which falls from a few periods a degree on, Mannos, Sakrison 1974,
    https://doi.org/10.1109/TIT.1974.1055250; section 2.2 of the paper names masking as what smoothness leaves out.

    >>> spec = Masking(texture="deviation", gains=None)
    >>> spec == Masking.from_config(spec.get_config())
    True
    >>> masker = spec.guided_by(tf.random.stateless_uniform([1, 8, 8, 3], seed=[0, 0]))
    >>> masker.mask.shape, round(float(tf.reduce_mean(masker.mask)), 5)
    (TensorShape([1, 8, 8, 1]), 1.0)
    """

    texture: str | None = "hill"
    sharpness: float = 1.0
    gains: tuple[float, float, float] | None = (1.0, 1.5, 2.0)
    emphasis: float = 0.0

    def __post_init__(self) -> None:
        checks.one_of("texture", self.texture, (*TEXTURES, None))
        checks.in_range("sharpness", self.sharpness, 0)
        checks.in_range("emphasis", self.emphasis, 0, STRONGEST, open_high=False)
        if self.gains is None:
            return
        if not isinstance(self.gains, (tuple, list)) or len(self.gains) != 3:
            raise ValueError(f"gains must be three numbers, or None; received {self.gains!r}")
        for gain in self.gains:
            checks.in_range("gains", gain, 0, open_low=True)
        if max(self.gains) > STEEPEST * min(self.gains):
            raise ValueError(
                f"the largest of gains must be at most {STEEPEST} times the smallest; received {self.gains}"
            )
        object.__setattr__(self, "gains", tuple(map(float, self.gains)))  # a list could be no key

    def get_config(self) -> dict[str, Any]:
        """The attributes as a dictionary of plain values, as JSON has them."""
        return {**dataclasses.asdict(self), "gains": None if self.gains is None else list(self.gains)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Masking:
        """The inverse of `get_config`.

        Raises:
            ValueError: a value that `Masking` refuses.
        """
        return cls(**config)

    def guided_by(self, images: Any) -> Masker:
        """The masking operator guided by these images.

        Args:
            images: [B, H, W, C] in [0, 1], float32 or float64, C = 1 or, for colours, 3. In eager code NaN and values
                outside are refused; in a `tf.function` they are the caller's affair.

        Raises:
            ValueError: another rank or dtype, values outside [0, 1], or gains for another number of channels.
        """
        return Masker(self, checks.as_images(images, "guide images"))


class Masker:
    """T of a batch of images, r_i = m_i C (F z)_i, invertible; what depends on the images alone is computed once, here.

    Made by `Masking.guided_by`. Signals have the images' shape [B, H, W, C] and dtype. No gradient flows to the images;
    nothing mixes images, and only F mixes pixels.

    Attributes:
        spec: the `Masking` that it was made by.
        mask: m, positive, of mean 1 over each image; [B, H, W, 1].

    On one half of the image there is noise, and there r may be large:

    >>> noise = tf.random.stateless_uniform([1, 16, 8, 3], seed=[0, 0])
    >>> masker = Masking().guided_by(tf.concat([noise, tf.fill([1, 16, 8, 3], 0.5)], axis=2))
    >>> bool(masker.mask[0, 8, 2, 0] > 3 * masker.mask[0, 8, 13, 0])
    True
    """

    def __init__(self, spec: Masking, images: tf.Tensor) -> None:
        images = tf.stop_gradient(images)
        channels = images.shape[-1]
        if spec.gains is not None and channels not in (1, 3):
            raise ValueError(f"gains are of images of 1 or 3 channels; received {channels}: take gains=None")
        self.spec = spec
        self.mask = _mask(spec, _luminance(images))
        self._color = np.eye(channels) if spec.gains is None or channels == 1 else _color(spec.gains)
        self._mixes = spec.gains is not None and channels == 3
        self._emphasis, self._coarsening = _filters(spec.emphasis, images.dtype.as_numpy_dtype)

    def take(self, indices: tf.Tensor) -> Masker:
        """The masking of some of the images, in the order of `indices`; nothing is computed again.

        Args:
            indices: [M] integers below B.
        """
        taken = copy.copy(self)
        taken.mask = tf.gather(self.mask, indices)
        return taken

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """T z; z and the result [B, H, W, C]."""
        return self._times(self._fine(z, self._emphasis), self._color.T, self.mask)

    def adjoint(self, gradient: tf.Tensor) -> tf.Tensor:
        """T' g, the gradient of a loss in z from its gradient in r; both [B, H, W, C]."""
        return self._fine(self._times(gradient, self._color, self.mask), self._emphasis)

    def inverse(self, r: tf.Tensor) -> tf.Tensor:
        """T^-1 r; r and the result [B, H, W, C]."""
        return self._fine(self._times(r, np.linalg.inv(self._color).T, 1 / self.mask), self._coarsening)

    def rounded(self, x: tf.Tensor) -> tf.Tensor:
        """The integers q nearest to x in the norm ||T^-1 (q - x)|| without F: of each pixel's colours those that the
        eye finds most like it, which need not be the nearest in each channel.

        The mask cancels: at each pixel it is the closest-vector problem e'Qe -> min, Q = (C C')^-1, e = q - x. Two
        channels try the nearest integer and its two neighbours; given these, the third takes the best one. For gains
        as near to each other as `Masking` takes them no other is nearer.

        Args:
            x: [B, H, W, C], in units of a level.

        Returns:
            The shape and dtype of x. No gradient flows through it.
        """
        x = tf.stop_gradient(x)
        if not self._mixes:
            return tf.round(x)
        return tf.ensure_shape(_closest(x, tf.constant(np.linalg.inv(self._color @ self._color.T), x.dtype)), x.shape)

    def _fine(self, signal: tf.Tensor, weights: Weights) -> tf.Tensor:
        """F or its inverse of a signal, by the weights of either."""
        if not self.spec.emphasis:
            return signal
        return tf.ensure_shape(_filtered(signal, weights), signal.shape)

    def _times(self, signal: tf.Tensor, matrix: np.ndarray, factor: tf.Tensor) -> tf.Tensor:
        """Every pixel's row of channels times a matrix [C, C] and a factor."""
        return _product(signal, tf.constant(matrix, signal.dtype), factor) if self._mixes else factor * signal


def _color(gains: tuple[float, ...]) -> np.ndarray:
    """C: from opponent coordinates, in units of their gains, to red, green and blue; of mean square 1 a channel."""
    color = np.linalg.inv(OPPONENT) @ np.diag(gains)
    scaled: np.ndarray = color * np.sqrt(3 / np.sum(np.square(color)))
    return scaled


def _filters(emphasis: float, dtype: type[np.floating[Any]]) -> tuple[Weights, Weights]:
    """The weights of I - a K and of its inverse, from the middle to one end.

    A mirrored signal is periodic, and both filters multiply each of its frequencies by a number, one by 1 - a k, where
    K has k, the other by 1 / (1 - a k). The weights of the inverse fall as a power does. They are cut where those
    beyond sum up to less than a float's precision: by no larger share of a signal's norm each of the two passes misses.
    """
    kernel = np.roll(np.pad(MEAN, (0, PERIOD - len(MEAN))), -(len(MEAN) // 2))
    response = 1 - emphasis * np.fft.rfft(kernel).real
    weights, inverse = np.fft.irfft(response), np.fft.irfft(1 / response)[: PERIOD // 2]
    beyond = 2 * np.cumsum(np.abs(inverse[::-1]))[::-1]
    reach = int(np.argmax(beyond < max(np.finfo(dtype).eps, EXACT)))
    return tuple(weights[: len(MEAN) // 2 + 1].tolist()), tuple(inverse[:reach].tolist())


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _filtered(signal: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Along columns and along rows the sum over neighbours, weighed from the middle to both ends; mirrored beyond."""
    reach = len(weights) - 1
    for axis in (1, 2):
        size = tf.shape(signal)[axis]
        places = tf.range(-reach, size + reach) % (2 * size)  # mirrored again where the image is smaller
        mirrored = tf.gather(signal, tf.minimum(places, 2 * size - 1 - places), axis=axis)
        ahead = (slice(None),) * axis
        moved = [mirrored[*ahead, k : k + size] for k in range(2 * reach + 1)]
        signal = weights[0] * moved[reach]
        for k in range(1, reach + 1):
            signal += weights[k] * (moved[reach - k] + moved[reach + k])
    return signal


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _product(signal: tf.Tensor, matrix: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Rows of three channels times a matrix and a factor, [B, H, W, 1]; one pass over the pixels."""
    return factor * (signal[..., 0:1] * matrix[0] + signal[..., 1:2] * matrix[1] + signal[..., 2:3] * matrix[2])


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _closest(x: tf.Tensor, metric: tf.Tensor) -> tf.Tensor:
    """The integers q that minimise (q - x)'Q(q - x) of each pixel, [B, H, W, 3], Q the metric [3, 3]."""
    nearest = tf.round(x)
    red, green, blue = tf.unstack(nearest - x, axis=-1)
    # Blue makes up for an error of the other two as well as integers can; `rest` is their metric where it does.
    pull = metric[2, :2] / metric[2, 2]
    rest = metric[:2, :2] - metric[2, 2] * pull[:, tf.newaxis] * pull
    smallest, best = tf.fill(tf.shape(red), red.dtype.max), [tf.zeros_like(red)] * 3
    for change in itertools.product((0.0, -1.0, 1.0), repeat=2):
        r, g = red + change[0], green + change[1]
        wanted = -(pull[0] * r + pull[1] * g) - blue
        b = tf.round(wanted)
        size = rest[0, 0] * r * r + (2 * rest[0, 1] * r + rest[1, 1] * g) * g + metric[2, 2] * tf.square(b - wanted)
        better = size < smallest
        smallest = tf.where(better, size, smallest)
        moved = *(tf.cast(value, x.dtype) for value in change), b
        best = [tf.where(better, new, old) for new, old in zip(moved, best)]
    return nearest + tf.stack(best, axis=-1)


def _luminance(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] as [B, H, W, 1]: of three channels the luminance, otherwise their mean."""
    if images.shape[-1] == 3:
        return tf.tensordot(images, tf.constant([[weight] for weight in LUMINANCE], images.dtype), 1)
    return tf.reduce_mean(images, axis=-1, keepdims=True)


def _mask(spec: Masking, luminance: tf.Tensor) -> tf.Tensor:
    """The mask m of luminances [B, H, W, 1]; the same shape, of mean 1 over each image."""
    mask = tf.ones_like(luminance)
    if spec.texture == "hill":
        padded = tf.pad(luminance, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        kernel = tf.constant(SHARPENING[:, :, np.newaxis, np.newaxis], luminance.dtype)
        residual = tf.nn.conv2d(padded, kernel, strides=1, padding="VALID")
        mask = tf.math.rsqrt(_mean(1 / (_mean(tf.abs(residual), 3) + HILL_FLOOR), 15))
    elif spec.texture == "deviation":
        # Around each image's mean: the difference of two squares loses little there.
        centred = luminance - tf.reduce_mean(luminance, axis=[1, 2], keepdims=True)
        variance = _mean(tf.square(centred), 5) - tf.square(_mean(centred, 5))
        mask = tf.sqrt(tf.maximum(variance, 0)) + DEVIATION_FLOOR
    mask = tf.pow(mask, spec.sharpness)
    return mask / tf.reduce_mean(mask, axis=[1, 2, 3], keepdims=True)


def _mean(x: tf.Tensor, size: int) -> tf.Tensor:
    """The mean over windows of so many pixels a side, cut at the border; [B, H, W, 1]."""
    rows = tf.nn.avg_pool2d(x, [size, 1], 1, "SAME")
    return tf.nn.avg_pool2d(rows, [1, size], 1, "SAME")
