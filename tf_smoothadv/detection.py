"""Whether a detector tells adversarial images from originals that it has never seen, as steganalysis measures it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from tf_smoothadv import checks

__all__ = ["Detectability", "Estimate", "detectability", "measured", "scores", "spam"]

LARGEST = 3  # T of the source
STEPS = 2 * LARGEST + 1  # values that a difference of neighbours has, cut at -T and T
REACH = 4  # pixels in a row, with three differences between them
CHANNELS, DIFFERENCES = COLORS = ("channels", "differences")
LEAST_IMAGES = 100
FOLDS = 10
RIDGES = 10.0 ** -np.arange(8.0)  # in units of the sum of the features' squares
FALSE_ALARMS = 0.05
CONFIDENCE = 0.95
DRAWS = 2000  # of the bootstrap,
DRAWS_AT_ONCE = 100  # so many at a time, which bounds the memory
SEED = 0  # of folds and draws: the same images have the same numbers


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and the interval that holds the true one with a confidence of 95 %.

    >>> print(Estimate(0.642, 0.588, 0.694))
    0.642 (0.588 to 0.694)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclasses.dataclass(frozen=True, repr=False)
class Detectability:
    """How well a detector tells N adversarial images from their originals.

    Attributes:
        num_images: N.
        auc: the area under the curve of true positives against false alarms, which is the probability that an
            adversarial image has a higher score than an original: 0.5 if nothing is detected, 1 if everything is.
        error: P_E of the source, the mean of the shares of false alarms and of missed images, at the threshold where
            it is smallest on the images that the detector was trained on: 0.5 if nothing is detected, 0 if everything
            is. The threshold that is best for the judged images themselves would make it too small, by 0.03 with 100
            images.
        true_positives: the share of adversarial images that is found where 5 % of the originals are false alarms.

    >>> Detectability(183, Estimate(0.64, 0.59, 0.69), Estimate(0.38, 0.33, 0.43), Estimate(0.1, 0.05, 0.2))
    183 images: AUC 0.640 (0.590 to 0.690), P_E 0.380 (0.330 to 0.430), found at 5 % false alarms 0.100 (0.050 to 0.200)
    """

    num_images: int
    auc: Estimate
    error: Estimate
    true_positives: Estimate

    def __repr__(self) -> str:
        return (
            f"{self.num_images} images: AUC {self.auc}, P_E {self.error}, "
            f"found at {100 * FALSE_ALARMS:g} % false alarms {self.true_positives}"
        )


def detectability(originals: Any, delivered: Any, color: str = CHANNELS) -> Detectability:
    """How well a linear classifier of SPAM features tells delivered images from originals that it was not trained on.

    The features are those of `spam`, the classifier and its cross-validation those of `scores`, the numbers and their
    intervals those of `measured`. The detector sees one image at a time, never the original beside it, and has learnt
    from both kinds of images of the same attack on the same network: the best case for who detects.

    Args:
        originals, delivered: [N, H, W, C] in [0, 1], float32 or float64, of 256 levels as a file of 8 bits holds them;
            delivered[i] is what an attack made of originals[i]. Only images on which it succeeded should be among
            them: the others tell of no adversarial images.
        color: "channels" or "differences", see `spam`; of photographs the second detects more.

    Raises:
        ValueError: fewer than 100 images, other shapes or dtypes, values that are no levels of 8 bits, or what `spam`
            refuses.

    Source: Pevny, Bas, Fridrich, "Steganalysis by Subtractive Pixel Adjacency Matrix", 2010; their measure P_E.

    Noise of one level on smooth images is found in each of them:

    >>> rng = np.random.default_rng(0)
    >>> slopes = rng.uniform(20, 40, [100, 1, 1, 1]) + np.arange(16)[:, None] * rng.integers(1, 5, [100, 1, 1, 1])
    >>> originals = np.round(slopes + np.zeros([100, 16, 16, 1]))
    >>> noise = rng.integers(-1, 2, originals.shape)
    >>> detectability(originals / 255, (originals + noise) / 255).auc.value
    1.0
    """
    originals, delivered = checks.as_levels(originals, "originals"), checks.as_levels(delivered, "delivered")
    if originals.shape != delivered.shape:
        raise ValueError(
            f"delivered must have the originals' shape {list(originals.shape)}; received {list(delivered.shape)}"
        )
    kinds = (originals, delivered)
    return measured(scores(*(np.array([spam(image, color) for image in images]) for images in kinds)))


def spam(image: np.ndarray, color: str = CHANNELS) -> np.ndarray:
    """The second-order SPAM features of an image: how differences of neighbours follow one another.

    D_i = x_i - x_{i+1} along a row, a column or a diagonal, cut at -T and T, T = 3; the features are the
    probabilities of D_{i+2} = w given D_i = u and D_{i+1} = v: M_uvw = P(w | u, v), 0 where (u, v) does not occur. The
    four ways along rows and columns count together, and so do the four diagonal ones. Each channel has features of its
    own, since a classifier that can compare channels detects more: a detector of luminance would not see what changes
    colours alone.

    A camera's noise and an image's edges are much the same in red, green and blue, so that little of them is left in
    the differences of channels, where a perturbation shows the more.

    Args:
        image: [H, W, C] uint8, at least 4 x 4 pixels.
        color: what x is. "channels": the image's channels, as the source has it for grey images. "differences": red
            minus green and blue minus green, of images of three channels.

    Returns:
        [686 C], or [1372] for "differences"; of each channel first along rows and columns, then along diagonals, M_uvw
        each with w fastest.

    Raises:
        ValueError: a smaller image, another `color`, or "differences" of an image that has not three channels.

    Source: Pevny, Bas, Fridrich, "Steganalysis by Subtractive Pixel Adjacency Matrix", 2010, section III. Differences
    beyond T are cut, not left out, as in the authors' own program, which detects more.

    Where brightness rises by 1 a pixel, after two differences of -1 comes a third one:

    >>> image = np.arange(8, dtype=np.uint8) + np.zeros([8, 1], np.uint8)
    >>> float(spam(image[..., np.newaxis]).reshape([2, 7, 7, 7])[0, -1 + 3, -1 + 3, -1 + 3])
    1.0
    """
    checks.one_of("color", color, COLORS)
    x = image.astype(np.int16)
    if color == DIFFERENCES:
        if x.shape[-1] != 3:
            raise ValueError(f"color {DIFFERENCES!r} needs images of three channels; received {x.shape[-1]}")
        x = x[..., ::2] - x[..., 1:2]
    channels = np.split(x, x.shape[-1], axis=-1)
    return np.concatenate([_transitions(joint).ravel() for channel in channels for joint in _cooccurrences(channel)])


def _cooccurrences(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often the differences D_i, D_{i+1}, D_{i+2} are u, v and w: along rows and columns, and along diagonals.

    Args:
        pixels: [H, W, C] int16, at least 4 x 4 pixels.

    Returns:
        Two arrays [7, 7, 7], of index u + 3, v + 3, w + 3; each sums to 1.

    Raises:
        ValueError: a smaller image.
    """
    height, width, _ = pixels.shape
    if min(height, width) < REACH:
        raise ValueError(f"features need images of at least {REACH} x {REACH} pixels; received {height} x {width}")
    mirrored = pixels[:, ::-1]
    straight = _along(pixels, 0, 1) + _along(pixels, 1, 0)
    diagonal = _along(pixels, 1, 1) + _along(mirrored, 1, 1)
    return straight / 2, diagonal / 2


def _along(pixels: np.ndarray, down: int, right: int) -> np.ndarray:
    """`_cooccurrences` of pixels [H, W, C] from each one on and, as often, backwards."""
    height, width = pixels.shape[0] - (REACH - 1) * down, pixels.shape[1] - (REACH - 1) * right
    x = [pixels[i * down : i * down + height, i * right : i * right + width] for i in range(REACH)]
    u, v, w = (np.clip(before - after, -LARGEST, LARGEST) + LARGEST for before, after in itertools.pairwise(x))
    counts = np.bincount(((u * STEPS + v) * STEPS + w).ravel(), minlength=STEPS**3).reshape([STEPS] * 3)
    # Backwards the differences come in the other order, with the other sign.
    backwards = counts[::-1, ::-1, ::-1].transpose()
    joint: np.ndarray = (counts + backwards) / (2 * u.size)
    return joint


def _transitions(joint: np.ndarray) -> np.ndarray:
    """P(w | u, v) from P(u, v, w), arrays [7, 7, 7]; 0 where (u, v) does not occur."""
    given = joint.sum(axis=-1, keepdims=True)
    conditional: np.ndarray = np.divide(joint, given, out=np.zeros_like(joint), where=given > 0)
    return conditional


class _Detector(NamedTuple):
    """A linear classifier: an image is adversarial if features' (f - center)'weights is more than 0.

    Attributes:
        center, weights: [F].
        threshold: what is taken off.
    """

    center: np.ndarray
    weights: np.ndarray
    threshold: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Scores [N] of features [N, F], in units of their standard deviation within a class."""
        scores: np.ndarray = (features - self.center) @ self.weights - self.threshold
        return scores


def scores(originals: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    """Scores of images by detectors that were trained without them, in a cross-validation of 10 folds.

    An original and its adversarial image are always in the same fold: a detector that had seen one of them would know
    the image.

    Args:
        originals, delivered: features [N, F], a row an image, in the same order.

    Returns:
        [2, N], first of the originals; an image is said to be adversarial if its score is more than 0.

    Raises:
        ValueError: fewer than 100 images.

    Two features, of which the second tells the classes apart:

    >>> features = np.random.default_rng(0).normal(size=[100, 2])
    >>> found = scores(features, features + [0.0, 10.0])
    >>> bool(np.all(found[0] < 0)), bool(np.all(found[1] > 0))
    (True, True)
    """
    if len(originals) < LEAST_IMAGES:
        raise ValueError(
            f"detectability needs at least {LEAST_IMAGES} adversarial images and their originals; received "
            f"{len(originals)}"
        )
    fold = np.random.default_rng(SEED).permutation(len(originals)) % FOLDS
    found = np.empty([2, len(originals)])
    for number in range(FOLDS):
        left_out = fold == number
        detector = _trained(originals[~left_out], delivered[~left_out])
        found[:, left_out] = detector(originals[left_out]), detector(delivered[left_out])
    return found


def _trained(originals: np.ndarray, delivered: np.ndarray) -> _Detector:
    """Fisher's linear discriminant with a ridge, as the regression of -1 and 1 on standardised features.

    w = (X'X + ridge I)^-1 X'y. The ridge is the one of RIDGES with the largest AUC where each image is judged without
    itself and without its counterpart: the residuals of a pair left out are (I - H)^-1 e, H the pair's block of the
    hat matrix and e its residuals (Cook and Weisberg 1982), so that no other regression is needed. The threshold is
    the best one for these same scores.

    Args:
        originals, delivered: features [N, F].
    """
    pairs = np.stack([originals, delivered], axis=1)
    center, deviation = pairs.mean(axis=(0, 1)), pairs.std(axis=(0, 1))
    scale = np.where(deviation > 1e-9, deviation, 1)
    x, y = (pairs - center) / scale, np.array([-1.0, 1.0])
    flat = x.reshape(-1, x.shape[-1])
    _, singular, axes = np.linalg.svd(flat, full_matrices=False)
    z = x @ axes.T
    slopes = np.sum(z[:, 1] - z[:, 0], axis=0)
    tried = []
    for ridge in RIDGES * (np.sum(np.square(flat)) or 1.0):
        inverse = 1 / (singular**2 + ridge)
        hat = (z * inverse) @ z.transpose(0, 2, 1) + 1 / len(flat)
        residuals = y - z @ (inverse * slopes)
        left_out = y - np.linalg.solve(np.eye(2) - hat, residuals[..., None])[..., 0]
        tried.append((left_out.T, (inverse * slopes) @ axes))
    left_out, weights = max(tried, key=lambda one: _numbers(one[0], np.ones([1, len(pairs)]))[0, 0])
    within = left_out.std(axis=1).mean() or 1.0
    return _Detector(center, weights / scale / within, _best_threshold(left_out / within))


def measured(scores: np.ndarray) -> Detectability:
    """The numbers of scores, with intervals of the bootstrap over images.

    An original and its adversarial image are drawn together; an interval goes from the 2.5 % to the 97.5 % quantile of
    what 2,000 such draws give. It tells how much hangs on which images were judged, not on which ones the detectors
    were trained with. Where every draw gives the same number, as where nothing is misjudged, it is a point.

    Args:
        scores: [2, N], first of the originals; more than 0 is adversarial.

    >>> measured(np.array([[-3.0, -2.0, 1.0], [-1.0, 2.0, 3.0]]))
    3 images: AUC 0.889 (0.778 to 1.000), P_E 0.333 (0.000 to 0.500), found at 5 % false alarms 0.667 (0.333 to 1.000)
    """
    num_images = scores.shape[1]
    random = np.random.default_rng(SEED)
    shares = np.full(num_images, 1 / num_images)
    draws = [
        _numbers(scores, random.multinomial(num_images, shares, size=DRAWS_AT_ONCE))
        for _ in range(DRAWS // DRAWS_AT_ONCE)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(draws, axis=1), [tail, 1 - tail], axis=1).tolist()
    values = _numbers(scores, np.ones([1, num_images]))[:, 0].tolist()
    return Detectability(num_images, *map(Estimate, values, low, high))


def _numbers(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """AUC, P_E and the share of true positives where each image counts several times.

    Args:
        scores: [2, N], first of the originals.
        counts: [R, N], how often the pairs count.

    Returns:
        [3, R].
    """
    alarms, found = _curve(scores, counts)
    auc = np.sum(np.diff(alarms) * (found[:, 1:] + found[:, :-1]), axis=1) / 2
    false, missed = counts @ (scores[0] > 0), counts @ (scores[1] <= 0)
    error = (false + missed) / (2 * counts.sum(axis=1))
    true_positives = np.max(np.where(alarms <= FALSE_ALARMS, found, 0), axis=1)
    return np.stack([auc, error, true_positives])


def _curve(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """False alarms and true positives as the threshold falls, shares from 0 to 1 in [2, R, thresholds + 1].

    Args: see `_numbers`.
    """
    thresholds = np.unique(scores)[::-1]
    shares = []
    for row in scores:
        order = np.argsort(-row)
        above = np.searchsorted(-row[order], -thresholds, side="right")
        drawn = np.pad(np.cumsum(counts[:, order], axis=1), [(0, 0), (1, 0)])
        shares.append(np.pad(drawn[:, above], [(0, 0), (1, 0)]) / drawn[:, -1:])
    return np.stack(shares)


def _best_threshold(scores: np.ndarray) -> float:
    """The threshold with the smallest mean of false alarms and missed images; of several the one in the middle.

    Args:
        scores: [2, N], first of the originals.
    """
    alarms, found = _curve(scores, np.ones([1, scores.shape[1]]))[:, 0]
    error = (alarms + 1 - found)[:-1]  # the last, of all images, is that of none, the first
    values = np.unique(scores)[::-1]
    thresholds = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
    best = thresholds[error == error.min()]
    return float(best[len(best) // 2])
