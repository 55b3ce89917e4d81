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


def evaluate(folder: str | pathlib.Path) -> dict[str, detection.Detectability]:
    """Measures how well a detector tells the images that each attack delivered from the originals.

    Only images on which the attack succeeded as delivered count. Writes detectability.json beside summary.json and
    prints the table.

    Args:
        folder: results of `eval.white_box` with --save_images, or of what writes the same.

    Returns:
        By attack, those that succeeded on at least 100 images.

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
    _check_pictures(finished, enough)

    @functools.cache  # every attack has the same originals
    def original(image: int) -> np.ndarray:
        return detection.spam(decoding.read(finished.picture(image)))

    def delivered(image: int, attack: str) -> np.ndarray:
        return detection.spam(decoding.read(finished.picture(image, attack)))

    found = {}
    for name, images in enough.items():
        features = [original(image) for image in images], [delivered(image, name) for image in images]
        found[name] = detection.measured(detection.scores(*map(np.stack, features)))
    by_attack = {name: dataclasses.asdict(one) for name, one in found.items()}
    records.write(finished.folder / records.DETECTABILITY, {"attacks": by_attack})
    terminal = rich.console.Console(highlight=False)
    terminal.print(tables.detection(finished, found))
    terminal.print(f"{records.DETECTABILITY} is in {finished.folder}", markup=False, soft_wrap=True)
    return found


def _check_pictures(finished: records.Finished, successes: dict[str, list[int]]) -> None:
    """Raises ValueError unless there are files of all the images on which an attack succeeded."""
    pictured = {(record.attack, record.index) for record in finished.pictured}
    missing = [
        finished.picture(image, name)
        for name, images in successes.items()
        for image in images
        if (name, image) not in pictured
    ]
    if missing:
        raise ValueError(
            f"{missing[0]} or its original is missing, and so are {len(missing) - 1} others: eval.white_box "
            "--save_images with a new --output keeps them"
        )
