"""Times of several functions taken in turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Times(NamedTuple):
    """Seconds a call of one function, one entry a round."""

    rounds: np.ndarray

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return float(np.median(self.rounds))

    def over(self, other: Times) -> Ratio:
        """These times over another function's, round by round."""
        return Ratio(*np.quantile(self.rounds / other.rounds, [0.5, 0.25, 0.75]).tolist())


class Ratio(NamedTuple):
    """A ratio of times: its median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float


def interleaved(functions: Mapping[Any, Callable[[], Any]], rounds: int, least: float = 0.2) -> dict[Any, Times]:
    """Calls every function once to warm it up, and then all of them in turns.

    Args:
        functions: each returns only once its work is done.
        rounds: how often each has its turn.
        least: seconds; in a turn a function is called as often as fills them, at least once.
    """
    calls = {}
    for name, function in functions.items():
        function()
        began = time.perf_counter()
        function()
        calls[name] = max(1, round(least / (time.perf_counter() - began)))
    taken: dict[Any, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            for _ in range(calls[name]):
                function()
            taken[name].append((time.perf_counter() - began) / calls[name])
    return {name: Times(np.array(rounds)) for name, rounds in taken.items()}


def machine() -> dict[str, Any]:
    """What the times were taken on."""
    versions = {}
    for package in (
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
        "foolbox",
        "adversarial-robustness-toolbox",
        "torch",
        "adv-lib",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    """The processor's name, as Linux gives it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
