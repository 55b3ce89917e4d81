"""The classes that targeted attacks are to reach: by a word, a number, or a file."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
import pathlib
from collections.abc import Mapping

import numpy as np

from tf_smoothadv import checks, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.data import formats
from tf_smoothadv.evaluation.data.dataset import Dataset

__all__ = ["TARGETS", "aimed", "told"]

GIVEN, NEXT, SECOND, LEAST_LIKELY = TARGETS = ("given", "next", "second", "least_likely")
BY_LOGITS = TARGETS[1:]  # whose images must be read
IMAGE, TARGET = COLUMNS = ("image", "target")


def aimed(model: core.Model, dataset: Dataset, targets: str) -> Dataset:
    """The same images with a class that a targeted attack is to reach.

    Args:
        model: whose logits say what is likely.
        dataset: without targets.
        targets: "given", the dataset's own; "next", the class after the label; "second" and "least_likely", by the
            model's logits, of classes other than the label; the number of a class; or a CSV file with the columns image
            and target, names as results have them and classes from 0.

    Raises:
        ValueError: another word, a file that cannot be read, images without a target, or a target that is an image's
            label.
    """
    if targets == GIVEN:
        advice = f"(that of nips2017 is the column TargetClass): take --targets={SECOND}"
        chosen = _listed(dataset, dataset.given, f"of their own {advice}")
    elif targets.isdecimal():
        chosen = [int(targets)] * len(dataset.names)
    elif pathlib.Path(targets).is_file():
        chosen = _listed(dataset, _of_file(pathlib.Path(targets)), f"in {targets}")
    else:
        checks.one_of("targets", targets, (*TARGETS, "a class", "a file"))
        chosen = _by_logits(model, dataset, targets)
    own = sum(map(operator.eq, chosen, dataset.labels))
    if own:
        raise ValueError(f"{own} of the images are of the class that they are to reach: take --targets={SECOND}")
    return dataclasses.replace(dataset, targets=chosen)


def told(targets: str) -> str:
    """What tells these targets from others in a run's settings: of a file its name and a digest of what it says."""
    if targets in TARGETS or not pathlib.Path(targets).is_file():
        return targets
    digest = hashlib.sha256(pathlib.Path(targets).read_bytes()).hexdigest()
    return f"{pathlib.Path(targets).name} {digest[:16]}"


def _listed(dataset: Dataset, targets: Mapping[str, int], where: str) -> list[int]:
    missing = [name for name in dataset.names if name not in targets]
    if missing:
        raise ValueError(f"{len(missing)} of the {len(dataset.names)} images of {dataset.path} have no target {where}")
    return [targets[name] for name in dataset.names]


def _of_file(path: pathlib.Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for where, row in formats.rows(path, COLUMNS):
        if not row[TARGET].strip().isdecimal():
            raise ValueError(f"{where}: {TARGET} must be the number of a class, from 0; received {row[TARGET]!r}")
        if row[IMAGE] in found:
            raise ValueError(f"{where}: every {IMAGE} must be another; received {row[IMAGE]!r} again")
        found[row[IMAGE]] = int(row[TARGET])
    return found


def _by_logits(model: core.Model, dataset: Dataset, targets: str) -> list[int]:
    chosen: list[int] = []
    for images, labels, *_ in dataset:
        logits = protocol.mean_logits(model, images).numpy()
        if targets == NEXT:
            chosen += ((labels.numpy() + 1) % logits.shape[1]).tolist()
            continue
        worst = np.inf if targets == LEAST_LIKELY else -np.inf
        np.put_along_axis(logits, labels.numpy()[:, np.newaxis], worst, axis=1)
        chosen += (np.argmin if targets == LEAST_LIKELY else np.argmax)(logits, axis=1).tolist()
    return chosen
