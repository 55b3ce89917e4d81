"""What makes sure that a result is right: its time over that of an attack of 100 gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import attacks, networks, timing
from tf_smoothadv.attacks import FMN

GRADIENTS = 100


def run(problems: dict[str, Callable[[], networks.Problem]], rounds: int) -> Iterator[dict[str, Any]]:
    """A row a network: the eager and the compiled call of two images before an attack, and the judge's call behind."""
    for network, made in problems.items():
        problem = made()
        classifier, images = sa.Classifier(problem.model), tf.constant(problem.images)
        functions: dict[str, Callable[[], Any]] = {
            "attack": attacks.call(FMN(GRADIENTS), problem),
            "check": functools.partial(classifier.check, images),
            "judge": functools.partial(classifier, images),
        }
        times = timing.interleaved(functions, rounds)
        for name in ("check", "judge"):
            yield {
                "network": network,
                "batch": len(problem.images),
                "call": name,
                "ms": 1000 * times[name].median,
                "ms_of_the_attack": 1000 * times["attack"].median,
                "over_attack": times[name].over(times["attack"])._asdict(),
            }
