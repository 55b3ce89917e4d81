"""Measures of large images strip by strip: the same numbers, in a fraction of the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["ssimulacra2", "strips"]

STRIP = 256  # pixels
BLUR = 5  # reach of SSIMULACRA2's blur, in pixels of each scale


def strips(length: int) -> Iterator[tuple[int, int]]:
    """The ends of strips that a length is cut into.

    >>> list(strips(300))
    [(0, 256), (256, 300)]
    """
    for begin in range(0, length, STRIP):
        yield begin, min(begin + STRIP, length)


def ssimulacra2(original: np.ndarray, delivered: np.ndarray) -> float:
    """The score of the package ssimulacra2, which holds 40 arrays of the image's size at once.

    Args:
        original, delivered: uint8 [H, W, 3].
    """
    from ssimulacra2 import ssimulacra2 as package

    linear = package.srgb_to_linear(np.arange(256))
    pair = [linear[pixels] for pixels in (original, delivered)]
    metric = package.Msssim()
    for scale in range(package.kNumScales):
        if scale:
            pair = [package.downsample(image, 2, 2) for image in pair]
        height, width = pair[0].shape[:2]
        if min(height, width) < 8:
            break
        parts = [_compared(package, pair, begin, end) for begin, end in strips(width)]
        of_scale = package.MsssimScale()
        of_scale.avg_ssim, of_scale.avg_edgediff = (_pooled(each, width) for each in zip(*parts))
        metric.scales.append(of_scale)
    return float(metric.score())


def _compared(package: Any, pair: list[np.ndarray], begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """What the columns from `begin` to `end` give, weighed by their number, fourth powers in place of their roots."""
    left = max(begin - BLUR, 0)
    inside = slice(begin - left, end - left)
    # The package has columns first, and pads the image's left and right with zeros before it blurs.
    x, y = (package.make_positive_xyb(package.linear_rgb_to_xyb(image[:, left : end + BLUR])) for image in pair)
    blurred = [package.blur_image(image)[inside] for image in (x, y, x * x, y * y, x * y)]
    ssim = package.ssim_map(*blurred)
    edges = package.edge_diff_map(x[inside], blurred[0], y[inside], blurred[1])
    for averages in (ssim, edges):
        averages[1::2] **= 4
        averages *= end - begin
    return ssim, edges


def _pooled(parts: tuple[np.ndarray, ...], width: int) -> np.ndarray:
    """The averages of all columns: of each number the mean and, behind it, the fourth root of that of fourth powers."""
    averages: np.ndarray = np.sum(parts, axis=0) / width
    averages[1::2] **= 0.25
    return averages
