"""Robust accuracy by `Standard` beside AutoAttack's three attacks by gradients, both on the network in TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import models
import tf_smoothadv as sa
from benchmarks import adversarial_library, networks
from tf_smoothadv import folding, robustness
from tf_smoothadv.evaluation import data

ATTACKS = ["apgd-ce", "apgd-t", "fab-t"]  # 100, 900 and 900 gradients, against nine classes
WEIGHTS = {"C4": "clean", "adversarial C4": "adversarial"}
DIGITS, PHOTOGRAPHS = (1.0, 1.5, 2.0), (0.1, 0.25, 0.5)  # epsilons


class Case(NamedTuple):
    """What is evaluated.

    Attributes:
        problem: the network and the images with their classes.
        epsilons: L2 norms.
        batch: images at once.
    """

    problem: networks.Problem
    epsilons: tuple[float, ...]
    batch: int


class Found(NamedTuple):
    """What an attack came to on some images, [N] each.

    Attributes:
        distortion: the least of an adversarial image, 0 where the image itself is one; infinite where there is none.
        gradients: that an image took.
    """

    distortion: np.ndarray
    gradients: np.ndarray


Attack = Callable[[networks.Problem], Found]


def digits(count: int, path: str | None) -> dict[str, Callable[[], Case]]:
    """C4 with both weights on the first digits of MNIST's npz file, or of those that ship with the project."""

    def made(weights: str) -> Case:
        images, labels = next(iter(data.load("mnist", path, num_images=count, batch_size=count)))
        problem = networks.Problem(models.c4(weights), images.numpy(), labels.numpy(), networks.DIGITS)
        return Case(problem, DIGITS, 200)

    return {network: functools.partial(made, weights) for network, weights in WEIGHTS.items()}


def run(cases: Mapping[str, Callable[[], Case]], folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """One row a network and epsilon; the gradients of `Standard` are those of all epsilons together.

    Args:
        cases: by name, made when it is their turn.
        folder: of what AutoAttack came to, with which an interrupted run goes on.
    """
    for network, make in cases.items():
        case = make()
        ours, copy = standard(case), adversarial_library.called_from_torch(folding.folded(case.problem.model))
        for epsilon in case.epsilons:
            theirs = kept(folder, f"{network}, autoattack at {epsilon}", case, autoattack(copy, epsilon))
            robust = [where(found, epsilon) for found in (ours, theirs)]
            yield {
                "network": network,
                "images": len(case.problem.images),
                "epsilon": epsilon,
                "standard": float(np.mean(robust[0])),
                "mean_gradients": float(np.mean(ours.gradients)),
                "most_gradients": int(np.max(ours.gradients)),
                "autoattack": float(np.mean(robust[1])),
                "mean_gradients_autoattack": float(np.mean(theirs.gradients)),
                "standard_alone": int(np.sum(~robust[0] & robust[1])),
                "autoattack_alone": int(np.sum(robust[0] & ~robust[1])),
            }


def where(found: Found, epsilon: float) -> np.ndarray:
    """On which images the network is robust; what is wrong unattacked has distortion 0."""
    return robustness.robust(found.distortion, np.ones(len(found.distortion), bool), epsilon)


def kept(folder: pathlib.Path, name: str, case: Case, attack: Attack, settings: str = "") -> Found:
    """What an attack of a fixed version comes to; a batch is a file, by its weights, images, classes and settings."""
    parts = []
    for part in batches(case):
        of = [str(models.fingerprint(part.model)).encode(), part.images.tobytes(), part.labels.tobytes()]
        of.append(settings.encode())

        def make(part: networks.Problem = part) -> dict[str, Any]:
            return attack(part)._asdict()

        parts.append(Found(**stored(folder, name, of, make)))
    return joined(parts)


def stored(
    folder: pathlib.Path, name: str, of: Iterable[bytes], make: Callable[[], dict[str, Any]]
) -> dict[str, np.ndarray]:
    """What `make` comes to, from a file that is written once and whole, by its name and a digest of what it is of."""
    told = hashlib.sha256()
    for part in of:
        told.update(part)
    path = folder / f"{name}, {told.hexdigest()[:16]}.npz"
    if not path.exists():
        made = make()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".part.npz"), **made)
        path.with_suffix(".part.npz").rename(path)
    with np.load(path) as there:
        return dict(there)


def batches(case: Case) -> Iterator[networks.Problem]:
    """The parts of a problem that are attacked at once."""
    for start in range(0, len(case.problem.images), case.batch):
        yield case.problem.part(start + case.batch, start)


def joined(parts: Iterable[Found]) -> Found:
    """What became of all the images."""
    return Found(*map(np.concatenate, zip(*parts)))


def standard(case: Case) -> Found:
    """What `Standard` comes to, without its control; made anew each time, which takes minutes, not hours."""
    attack = sa.attacks.Standard(case.epsilons, queries=0)

    def attacked(part: networks.Problem) -> Found:
        found = attack(part.model, tf.constant(part.images), part.labels)
        return Found(np.where(found.success, found.distortion, np.inf), found.gradients.numpy())

    return joined(map(attacked, batches(case)))


def autoattack(copy: Any, epsilon: float) -> Attack:
    """AutoAttack's part; each image has the mean of its batch's gradients."""

    def attacked(part: networks.Problem) -> Found:
        import pyautoattack
        import torch

        taken = 0

        def counted(images: Any) -> Any:
            nonlocal taken
            taken += len(images) * images.requires_grad
            return copy(images)

        attack = pyautoattack.AutoAttack(counted, norm="L2", eps=epsilon, seed=0, version="standard")
        attack.attacks_to_run, attack.verbose = ATTACKS, False
        images = torch.tensor(np.moveaxis(part.images, 3, 1)).contiguous()
        labels = torch.tensor(part.labels, dtype=torch.int64)
        adversarial, _ = attack.run_standard_evaluation(images, labels, batch_size=len(images))
        with torch.no_grad():
            holds = (copy(adversarial).argmax(1) == labels).numpy()
        distortion = torch.linalg.vector_norm((adversarial - images).flatten(1), dim=1).numpy()
        return Found(
            np.where(holds, np.inf, np.minimum(distortion, epsilon)), np.full(len(images), taken / len(images))
        )

    return attacked
