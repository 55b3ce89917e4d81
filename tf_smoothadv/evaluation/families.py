"""The families of images that attacks have parameters for, told from the images; each one's smoothing and masking."""

from __future__ import annotations

from collections.abc import Sequence

import tf_smoothadv as sa

__all__ = [
    "BOTH",
    "DETAIL",
    "DETECTOR",
    "DIGITS",
    "EYE",
    "FAMILIES",
    "MASKINGS",
    "NAMES",
    "PAPER",
    "PHOTOGRAPHS",
    "SMALL",
    "SMOOTHING",
    "TEXTURE",
    "TUNED",
    "family",
    "masking",
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
EYE, DETAIL, TEXTURE, BOTH, DETECTOR = "eye", "detail", "texture", "both", "detector"
MASKINGS = {  # by what hides a perturbation best
    DIGITS: {EYE: sa.Masking(gains=None)},
    SMALL: {EYE: sa.Masking()},
    PHOTOGRAPHS: {
        EYE: sa.Masking(sharpness=0.5, gains=(1.0, 1.3, 1.3), emphasis=0.3),  # no measure of the eye pays for another
        DETAIL: sa.Masking(gains=(1.0, 2.0, 2.0), emphasis=0.66),  # SSIMULACRA2's best in the mean
        TEXTURE: sa.Masking("deviation", 1.1, (1.0, 1.8, 2.4)),  # butteraugli's, and at a given distortion
        BOTH: sa.Masking("deviation", 0.8, (1.0, 2.0, 2.0), emphasis=0.5),  # between the two
        DETECTOR: sa.Masking(gains=(1.0, 1.3, 1.3)),  # steganalysis's
    },
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


def masking(family: str, name: str) -> sa.Masking:
    """The family's masking of that name; EYE where it has one alone."""
    known = MASKINGS[family]
    return known.get(name, known[EYE])
