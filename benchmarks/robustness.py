"""Robust accuracy by `Standard` beside AutoAttack's three attacks by gradients, on a network's copy in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

import models
import tf_smoothadv as sa
from benchmarks import adversarial_library, networks
from tf_smoothadv import robustness
from tf_smoothadv.evaluation import data

ATTACKS = ["apgd-ce", "apgd-t", "fab-t"]  # 100, 900 and 900 gradients where there are ten classes
BATCH = 200
WEIGHTS = {"C4": "clean", "adversarial C4": "adversarial"}


def run(count: int, path: str | None, epsilons: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """One row a network and epsilon; the gradients of `Standard` are those of all epsilons together.

    Args:
        count: digits, the first of `path`, MNIST's npz file, or of those that ship with the project.
    """
    digits, labels = next(iter(data.load("mnist", path, num_images=count, batch_size=count)))
    for network, weights in WEIGHTS.items():
        problem = networks.Problem(models.c4(weights), digits.numpy(), labels.numpy(), networks.DIGITS)
        result = decided(problem, epsilons)
        distortion = np.where(result["success"], result["distortion"], np.inf)
        correct = np.ones(count, bool)  # what is wrong unattacked has a success of distortion 0
        for epsilon in epsilons:
            theirs, taken = autoattack(problem, epsilon)
            yield {
                "network": network,
                "images": count,
                "epsilon": epsilon,
                "standard": robustness.robust_accuracy(distortion, correct, epsilon).value,
                "mean_gradients": float(np.mean(result["gradients"])),
                "most_gradients": int(np.max(result["gradients"])),
                "autoattack": theirs,
                "mean_gradients_autoattack": taken,
            }


def decided(problem: networks.Problem, epsilons: tuple[float, ...]) -> dict[str, np.ndarray]:
    """What `Standard` finds on all the images, without its control."""
    attack = sa.attacks.Standard(epsilons, queries=0)
    parts = []
    for start in range(0, len(problem.images), BATCH):
        some = problem.part(start + BATCH, start)
        found = attack(problem.model, tf.constant(some.images), some.labels)
        parts.append({name: getattr(found, name).numpy() for name in ("success", "distortion", "gradients")})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def autoattack(problem: networks.Problem, epsilon: float) -> tuple[float, float]:
    """The share of images that AutoAttack leaves, and the gradients that an image took in the mean."""
    import pyautoattack
    import torch

    copy = adversarial_library.copied(problem.model)
    taken = 0

    def counted(images: Any) -> Any:
        nonlocal taken
        taken += len(images) * images.requires_grad
        return copy(images)

    attack = pyautoattack.AutoAttack(counted, norm="L2", eps=epsilon, seed=0, version="standard")
    attack.attacks_to_run, attack.verbose = ATTACKS, False
    images = torch.tensor(np.moveaxis(problem.images, 3, 1)).contiguous()
    labels = torch.tensor(problem.labels, dtype=torch.int64)
    adversarial, _ = attack.run_standard_evaluation(images, labels, batch_size=BATCH)
    with torch.no_grad():
        holds = copy(adversarial).argmax(1) == labels
    return float(holds.float().mean()), taken / len(images)
