"""The families of images that attacks have parameters for, told from the images; each one's smoothing and masking."""

from __future__ import annotations

from collections.abc import Sequence

import tf_smoothadv as sa

__all__ = [
    "AT_EPSILON",
    "DIGITS",
    "FAMILIES",
    "MASKING",
    "NAMES",
    "PAPER",
    "PHOTOGRAPHS",
    "SMALL",
    "SMOOTHING",
    "TUNED",
    "UNDETECTED",
    "family",
    "reference",
]

TUNED, PAPER = NAMES = ("tuned", "paper")
DIGITS, SMALL, PHOTOGRAPHS = FAMILIES = ("digits", "small", "photographs")
LARGEST_SMALL = 64  # pixels a side
SMOOTHING = {  # of the smooth attacks; its graph measures the energy of every attack of a run
    (DIGITS, TUNED): sa.Smoothing(alpha=0.95, gamma=3.0, tol=1e-2),
    (DIGITS, PAPER): sa.Smoothing(alpha=0.95, gamma=10.0, solver="dense"),
    (SMALL, TUNED): sa.Smoothing(alpha=0.97, gamma=10.0, tol=1e-2),
    (SMALL, PAPER): sa.Smoothing(alpha=0.997, gamma=10.0, solver="cg", iterations=50),
    (PHOTOGRAPHS, TUNED): sa.Smoothing(alpha=0.997, gamma=10.0, iterations=25),
    (PHOTOGRAPHS, PAPER): sa.Smoothing(alpha=0.997, gamma=10.0, solver="cg", iterations=50),
}
MASKING = {  # of the masked attacks that search the least norm, which is that of the mask
    DIGITS: sa.Masking(gains=None),
    SMALL: sa.Masking(),
    PHOTOGRAPHS: sa.Masking(sharpness=0.5, gains=(1.0, 1.3, 1.3), emphasis=0.3),
}
UNDETECTED = {**MASKING, PHOTOGRAPHS: sa.Masking(gains=(1.0, 1.3, 1.3))}  # what steganalysis finds least
AT_EPSILON = {  # of those that go for a distortion, and hide all of it
    DIGITS: sa.Masking(gains=None),
    SMALL: sa.Masking(),
    PHOTOGRAPHS: sa.Masking("deviation", 1.1, (1.0, 1.8, 2.4)),
}


def family(shape: Sequence[int]) -> str:
    """The family that images [H, W, C] of this shape have the parameters of.

    Above 64 pixels a side they are photographs; below, digits if they are grey, and small if they have colours.
    """
    if max(shape[:2]) > LARGEST_SMALL:
        return PHOTOGRAPHS
    return DIGITS if shape[2] == 1 else SMALL


def reference(family: str, settings: str) -> sa.Smoothing:
    """The smoothing whose graph measures the energy of every attack of a run."""
    return SMOOTHING[family, settings]
