"""From the smallest perturbation to the smoothest, over a folder of results: which image to take of each."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from typing import Any

import numpy as np

from tf_smoothadv import checks, metrics
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.records import schema
from tf_smoothadv.evaluation.rendering import plots
from tf_smoothadv.evaluation.run import is_complete as has_run
from tf_smoothadv.evaluation.run import loaded, white_box
from tf_smoothadv.front import Front
from tf_smoothadv.visibility import MEASURES, check

__all__ = ["FRONT", "PICKED", "PICKS", "SMOOTHEST", "evaluate", "is_complete", "means", "summary"]

FRONT = "front.json"
PICKED = "picked"
SMOOTHEST = "smoothest"
PICKS = (SMOOTHEST, *MEASURES)


def evaluate(
    model: core.Model, config: Config, premium: float, pick: str = SMOOTHEST
) -> tuple[Front, np.ndarray, metrics.Run]:
    """Attacks over alpha as `white_box` does, and picks one image of each.

    Args:
        model, config: see `white_box`; with `alphas` and `save_images`.
        premium: of the smoothest, how many times the smallest distortion of its image it may have, at least 1.
        pick: of PICKS: the smoothest within the premium, or the least visible by a measure, which is then taken.

    Returns:
        The front; of each image the place of the picked attack in it, -1 for none; the run.

    Raises:
        ValueError: what `white_box` and `variants.front` refuse, or a measure that cannot judge these images.
    """
    config = _looking(config, pick)
    run = white_box(model, config)
    folder = pathlib.Path(config.output)
    names = records.settings_of(folder)["images"]
    front = Front.of(run)
    picked = front.smoothest(premium) if pick == SMOOTHEST else front.least_visible(pick)
    _keep_picked(folder, front, picked, names)
    records.write(folder / FRONT, {**_chosen_by(premium, pick), **summary(run, front, picked, names)})
    plots.save(plots.front(front), folder / "front.png")
    return front, picked, run


def is_complete(model: core.Model, config: Config, premium: float, pick: str = SMOOTHEST) -> bool:
    """Whether the folder holds all that `evaluate` would leave there; see `run.is_complete`."""
    path = pathlib.Path(config.output) / FRONT
    chosen_by = _chosen_by(premium, pick)
    if not path.exists() or {name: schema.read(path).get(name) for name in chosen_by} != chosen_by:
        return False
    return has_run(model, _looking(config, pick))


def _looking(config: Config, pick: str) -> Config:
    """What a run is made with that picks by a measure: it is taken.

    Raises:
        ValueError: no such pick, or a measure that cannot judge these images.
    """
    checks.one_of("pick", pick, PICKS)
    if pick not in MEASURES:
        return config
    check([pick], loaded(config).shape)
    return dataclasses.replace(config, visibility=True)


def _chosen_by(premium: float, pick: str) -> dict[str, Any]:
    return {"pick": pick, **({"premium": premium} if pick == SMOOTHEST else {})}


def _keep_picked(folder: pathlib.Path, front: Front, picked: np.ndarray, names: list[str]) -> None:
    """Copies the picked image of each, and no other, to PICKED."""
    shutil.rmtree(folder / PICKED, ignore_errors=True)
    with records.writing(folder / PICKED):
        (folder / PICKED).mkdir()
        for index, attack in zip(front.indices, picked):
            if attack >= 0:
                path = folder / PICKED / f"{names[index]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / records.IMAGES / front.attacks[attack] / f"{names[index]}.png", path)


def means(front: Front, picked: np.ndarray) -> str:
    """The mean distortion, energy and visibility of the picked images, as text."""
    columns = [("D", front.distortion, 3), ("E", front.smoothness_energy, 3)]
    columns += [(MEASURES[name].heading, seen, MEASURES[name].digits) for name, seen in front.visibility.items()]
    found = [(name, front.chosen(values, picked), digits) for name, values, digits in columns if np.any(picked >= 0)]
    return ", ".join(f"{name} {np.mean(values):.{digits}f}" for name, values, digits in found)


def summary(run: metrics.Run, front: Front, picked: np.ndarray, names: list[str]) -> dict[str, Any]:
    """What front.json holds, but for how it was picked."""
    undominated = front.undominated()
    return {
        "attacks": {
            name: {
                "p_suc": outcome.p_suc,
                "mean_distortion": outcome.mean_distortion,
                "smoothness_energy": outcome.mean_smoothness_energy,
                **{measure: outcome.mean_visibility(measure) for measure in front.visibility},
                "undominated": float(np.mean(undominated[place])),
            }
            for place, name in enumerate(front.attacks)
            for outcome in [run.outcome(name, delivered=True)]
        },
        "picked": {
            names[index]: front.attacks[attack] if attack >= 0 else None for index, attack in zip(front.indices, picked)
        },
    }
