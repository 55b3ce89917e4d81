"""How the cost of smooth C&W grows with the image's side, the batch and the steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import models
from benchmarks import attacks, images, networks, timing

SIDES = [64, 128, 224, 299, 384, 512]
BATCHES = [1, 5, 25, 100, 200]
STEPS = [5, 10, 20, 40, 80]


def run(network: str, folder: str | None, rounds: int) -> Iterator[dict[str, Any]]:
    """One row a point: what grows, its value, and the seconds of the bare gradients, of C&W and of sC&W.

    The side on the network of a file, that takes any, two photographs at a time and 5 steps; batch and steps on C4.
    """
    model = models.load(network)
    free = keras.Model(model.inputs, model.outputs)
    for side in SIDES:
        problem = networks.problem(free, images.photographs(folder, 2, side), networks.PHOTOGRAPHS)
        yield {"grows": "side", "value": side, **seconds(problem, 5, rounds)}
    digits = networks.c4(BATCHES[-1])
    for batch in BATCHES:
        some = digits.part(batch)
        yield {"grows": "batch", "value": batch, **seconds(some, 10, rounds)}
    some = digits.part(100)
    for steps in STEPS:
        yield {"grows": "steps", "value": steps, **seconds(some, steps, rounds)}


def seconds(problem: networks.Problem, steps: int, rounds: int) -> dict[str, float]:
    """Median seconds of `steps` bare gradients, and of the attacks with as many."""
    made = attacks.attacks(problem)
    functions = {"gradient": attacks.bare_gradient(problem)}
    for name in ("C&W", "sC&W"):
        functions[name] = attacks.call(dataclasses.replace(made[name], steps=steps), problem)
    times = timing.interleaved(functions, rounds, least=0.0)
    result = {name: taken.median for name, taken in times.items()}
    result["gradient"] *= steps
    return {name: float(np.round(value, 6)) for name, value in result.items()}
