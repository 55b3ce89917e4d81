"""Pictures for the eye: what was added to an image, and images magnified."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_smoothadv import magnification

__all__ = ["BETA", "SETTING", "Panel", "amplified", "distinct_names", "magnified", "perturbation"]

BETA, SETTING = 0.8, "code"  # of magnified pictures


class Panel(NamedTuple):
    """A picture of a sheet.

    Attributes:
        picture: uint8 [H, W, C], or [0, 1]; None leaves the place free.
        title: what stands above it.
        success: green for True, red for False, black for None.
        bold: whether the title is.
    """

    picture: np.ndarray | None
    title: str = ""
    success: bool | None = None
    bold: bool = False


def amplified(r: np.ndarray) -> np.ndarray:
    """A perturbation [..., H, W, C], each channel scaled to its own largest value, in [-1, 1]; zeros stay zeros."""
    peak = np.abs(r).max(axis=(-3, -2), keepdims=True)
    return r / np.where(peak > 0, peak, 1)


def perturbation(original: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """What was added, uint8 from uint8 [H, W, C], each channel scaled to its own largest value; grey is nothing."""
    return np.round(128 + 127 * amplified(adversarial.astype(np.float64) - original)).astype(np.uint8)


def magnified(images: Sequence[np.ndarray], beta: float = BETA, setting: str = SETTING) -> list[np.ndarray]:
    """Adversarial magnification (22) of images uint8 [H, W, C], rescaled to one range, so that they compare.

    Args:
        images: of any sizes.
        beta, setting: see `tf_smoothadv.magnify`.

    Returns:
        uint8 [H, W, C] each.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    batches = [np.stack([images[place] for place in alike]) / np.float32(255) for alike in places.values()]
    shown = magnification.rescaled([magnification.magnify(batch, beta, setting) for batch in batches])
    pixels = [np.round(255 * batch.numpy()).astype(np.uint8) for batch in shown]
    found = {place: image for alike, batch in zip(places.values(), pixels) for place, image in zip(alike, batch)}
    return [found[place] for place in range(len(images))]


def distinct_names(paths: Sequence[pathlib.Path], taken: str) -> list[str]:
    """A name for each file's picture, from as much of its path as tells it from the others.

    Args:
        paths: files that differ.
        taken: a name that none may have.

    Raises:
        ValueError: files that come out under one name all the same, or under the one taken.
    """
    whole = [path.resolve().with_suffix("") for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    names = ["_".join(path.relative_to(common).parts) for path in whole]
    again = [name for name in names if [*names, taken].count(name) > 1]
    if again:
        raise ValueError(f"two pictures would be written to {again[0]}.png: give one of the files another name")
    return names
