"""From the smallest perturbation to the smoothest, over a folder of results: which image to take of each."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np

from tf_smoothadv import metrics
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.rendering import plots
from tf_smoothadv.evaluation.run import white_box
from tf_smoothadv.front import Front

FRONT = "front.json"
PICKED = "picked"


def evaluate(model: core.Model, config: Config, premium: float) -> tuple[Front, np.ndarray, metrics.Run]:
    """Attacks over alpha as `white_box` does, and picks of each image the smoothest within a premium.

    Args:
        model, config: see `white_box`; with `alphas` and `save_images`.
        premium: how many times the smallest distortion of its image the picked one may have, at least 1.

    Returns:
        The front; of each image the place of the picked attack in it, -1 for none; the run.

    Raises:
        ValueError: what `white_box` and `presets.front` refuse.
    """
    run = white_box(model, config)
    folder = pathlib.Path(config.output)
    names = records.settings_of(folder)["images"]
    front = Front.of(run)
    picked = front.smoothest(premium)
    keep_picked(folder, front, picked, names)
    records.write(folder / FRONT, summary(run, front, picked, names, premium))
    plots.save(plots.front(front), folder / "front.png")
    return front, picked, run


def keep_picked(folder: pathlib.Path, front: Front, picked: np.ndarray, names: list[str]) -> None:
    """Copies the picked image of each, and no other, to PICKED."""
    shutil.rmtree(folder / PICKED, ignore_errors=True)
    with records.writing(folder / PICKED):
        (folder / PICKED).mkdir()
        for index, attack in zip(front.indices, picked):
            if attack >= 0:
                path = folder / PICKED / f"{names[index]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / records.IMAGES / front.attacks[attack] / f"{names[index]}.png", path)


def summary(run: metrics.Run, front: Front, picked: np.ndarray, names: list[str], premium: float) -> dict[str, Any]:
    """What front.json holds."""
    undominated = front.undominated()
    return {
        "premium": premium,
        "attacks": {
            name: {
                "p_suc": outcome.p_suc,
                "mean_distortion": outcome.mean_distortion,
                "smoothness_energy": outcome.mean_smoothness_energy,
                "undominated": float(np.mean(undominated[place])),
            }
            for place, name in enumerate(front.attacks)
            for outcome in [run.outcome(name, delivered=True)]
        },
        "picked": {
            names[index]: front.attacks[attack] if attack >= 0 else None for index, attack in zip(front.indices, picked)
        },
    }
