"""The attacks with their parameters: the paper's, and the ones that serve each attack best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import tf_smoothadv as sa
from tf_smoothadv import checks
from tf_smoothadv.attacks import FGSM, IFGSM, PGD2, Attack, CarliniWagner

Preset = dict[str, tuple[Attack, ...]]

NAMES = ("tuned", "paper")
ATTACKS = ("fgsm", "ifgsm", "pgd2", "cw", "spgd2", "scw")


def mnist_smoothing(settings: str) -> sa.Smoothing:
    """The smoothing of the smooth attacks on MNIST; its graph measures the energy of every attack of a run."""
    if settings == "paper":
        return sa.Smoothing(alpha=0.95, gamma=10.0, solver="dense")
    return sa.Smoothing(alpha=0.95, gamma=3.0, tol=1e-2)


def mnist_paper() -> Preset:
    """Section 5.2. Where it is silent: gamma as in the authors' demo, 100 steps and 9 constants for C&W as in their
    code, 10 steps for the gradient attacks, and targets from a sixth of the given epsilon to all of it.
    """
    smoothing = mnist_smoothing("paper")
    pixels = np.linspace(0.05, 0.3, 6).tolist()
    norms = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    cw = CarliniWagner(steps=100, binary_search_steps=9, learning_rate=0.1, initial_const=15.0, confidence=1.0)
    return {
        "fgsm": tuple(FGSM(epsilon) for epsilon in pixels),
        "ifgsm": tuple(IFGSM(epsilon, 0.08, 10) for epsilon in pixels),
        "pgd2": tuple(PGD2(epsilon, 3.0, 10) for epsilon in norms),
        "cw": (cw,),
        "spgd2": tuple(PGD2(epsilon, 3.0, 10, smoothing) for epsilon in norms),
        "scw": (dataclasses.replace(cw, smoothing=smoothing),),
    }


def mnist_tuned() -> Preset:
    """Settings for C4 within 400 gradients an image.

    C&W keeps the paper's constant: started from 1 it is smaller as computed, but loses more images to the rounding.
    Smooth C&W has the bandwidth that keeps its distortion near C&W's.
    """
    smoothing = mnist_smoothing("tuned")
    pixels = np.geomspace(0.02, 0.3, 12).tolist()
    norms = np.geomspace(0.5, 6.0, 12).tolist()
    narrow = dataclasses.replace(smoothing, alpha=0.99)
    return {
        "fgsm": tuple(FGSM(epsilon) for epsilon in np.linspace(0.01, 0.3, 30).tolist()),
        "ifgsm": tuple(IFGSM(epsilon, epsilon / 4, 10) for epsilon in pixels),
        "pgd2": tuple(PGD2(epsilon, epsilon / 4, 12, loss="margin") for epsilon in norms),
        "cw": (CarliniWagner(steps=80, binary_search_steps=5, learning_rate=0.1, initial_const=15.0),),
        "spgd2": tuple(PGD2(epsilon, epsilon / 4, 12, smoothing, loss="margin") for epsilon in norms),
        "scw": (CarliniWagner(80, 5, learning_rate=0.2, initial_const=1.0, smoothing=narrow),),
    }


def preset(settings: str, attacks: Sequence[str]) -> Preset:
    """The named attacks in the order given; several of one name are merged image by image (section 5.1).

    Raises:
        ValueError: unknown settings or attack, or none.
    """
    checks.one_of("settings", settings, NAMES)
    known = {"tuned": mnist_tuned, "paper": mnist_paper}[settings]()
    for name in attacks:
        checks.one_of("attack", name, tuple(known))
    return {name: known[name] for name in attacks}


def described(variants: Sequence[Attack]) -> dict[str, Any]:
    """The parameters of attacks that run under one name; a parameter in which they differ is a list."""
    configs = [dataclasses.asdict(attack) for attack in variants]
    values = {key: [config[key] for config in configs] for key in configs[0]}
    merged = {
        key: column[0] if all(value == column[0] for value in column) else column for key, column in values.items()
    }
    return {"attack": type(variants[0]).__name__, **merged}
