"""Detectability over a folder of results: original against delivered images, for each attack."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np
import rich.console

from tf_smoothadv import detection
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import tables

__all__ = ["evaluate"]


def evaluate(folder: str | pathlib.Path) -> dict[str, dict[str, detection.Detectability]]:
    """Measures how well a detector tells the images that each attack delivered from the originals.

    Only images on which the attack succeeded as delivered count. Writes detectability.json beside summary.json and
    prints the table.

    Args:
        folder: results of `eval.white_box` with --save_images, or of what writes the same.

    Returns:
        By attack, those that succeeded on at least 100 images, and by the colours that the features are of, one of
        `detection.COLORS`; grey images have no differences of them.

    Raises:
        ValueError: a folder without such results, without all the images, or no attack with enough successes.
    """
    finished = records.read(pathlib.Path(folder))
    successes = finished.successes()
    enough = {name: images for name, images in successes.items() if len(images) >= detection.LEAST_IMAGES}
    if not enough:
        counts = ", ".join(f"{name} on {len(images)}" for name, images in successes.items())
        raise ValueError(
            f"detectability needs an attack that succeeds on at least {detection.LEAST_IMAGES} images; in {folder} "
            f"{counts}: attack more images"
        )
    finished.check_pictures(enough)

    shape = decoding.read(finished.picture(min(min(images) for images in enough.values()))).shape
    colors = [color for color in detection.COLORS if color == detection.CHANNELS or shape[-1] == 3]

    @functools.cache  # every attack has the same originals
    def original(image: int) -> dict[str, np.ndarray]:
        return features(finished.picture(image))

    def features(path: pathlib.Path) -> dict[str, np.ndarray]:
        pixels = decoding.read(path, shape=shape)
        return {color: detection.spam(pixels, color) for color in colors}

    found: dict[str, dict[str, detection.Detectability]] = {}
    for name, images in enough.items():
        kinds = [original(image) for image in images], [features(finished.picture(image, name)) for image in images]
        found[name] = {
            color: detection.measured(detection.scores(*(np.array([one[color] for one in kind]) for kind in kinds)))
            for color in colors
        }
    values = {name: {color: dataclasses.asdict(one) for color, one in both.items()} for name, both in found.items()}
    records.write(finished.folder / records.DETECTABILITY, {"attacks": values})
    terminal = rich.console.Console(highlight=False)
    for table in tables.detection(finished, found):
        terminal.print(table)
    terminal.print(tables.DETECTION_LEGEND, markup=False)
    terminal.print(f"{records.DETECTABILITY} is in {finished.folder}", markup=False, soft_wrap=True)
    return found
