"""Optimality of attacks within AttackBench's budget of queries, and within a hundred gradients, on C4."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

import models
from benchmarks import adversarial_library, minimal, robustness
from tf_smoothadv import optimality, protocol
from tf_smoothadv.attacks import Attack, standard
from tf_smoothadv.evaluation import data, presets

QUERIES = (2000, 200)  # AttackBench's budget, forwards and backwards together; that of a hundred gradients
OWN, STANDARD = "tf_smoothadv", "standard"
OURS = ("ddn", "fmn", "bp", "alma", "nfmn", "cw", "pgd2")
THEIRS = ("DDN", "FMN", "ALMA")
BATCH = 50


class Contender(NamedTuple):
    """An attack with a budget.

    Attributes:
        library, attack: their names.
        queries: forwards and backwards of the network, at most, an image.
    """

    library: str
    attack: str
    queries: int


def contenders() -> list[Contender]:
    """Ours and, where it is installed, adversarial-library's with its own settings; `Standard` has one budget."""
    made = [Contender(OWN, name, queries) for queries in QUERIES for name in OURS]
    if adversarial_library.available():
        made += [Contender(adversarial_library.NAME, name, queries) for queries in QUERIES for name in THEIRS]
    most = standard.CANDIDATES + sum(stage.attack.steps for stage in standard.STAGES)
    return [*made, Contender(OWN, STANDARD, 2 * most)]


def run(path: str | None, digits: int, folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """One row a contender: its local optimality on each network, and the mean; as computed and as delivered.

    The best attack is that of all the rows, image by image.

    Args:
        path: MNIST's npz file, None for the digits that ship with the project.
        digits: how many, the first.
        folder: of what each attack came to, with which an interrupted run goes on.
    """
    chosen, local, distances = contenders(), {}, {}
    for network, weights in robustness.WEIGHTS.items():
        model = models.c4(weights)
        dataset = data.load("mnist", path, digits, BATCH)
        for delivered in (False, True):
            found = [kept(folder, model, dataset, one, digits, delivered) for one in chosen]
            distances[network, delivered] = np.array(found)
            local[network, delivered] = optimality.local_optimality(found)
    overall = {
        delivered: optimality.overall_optimality([local[network, delivered] for network in robustness.WEIGHTS])
        for delivered in (False, True)
    }
    for place in np.argsort(-overall[False], kind="stable"):
        row: dict[str, Any] = {**chosen[place]._asdict()}
        for network in robustness.WEIGHTS:
            least = distances[network, False][place]
            row[f"{network}, P"] = float(np.mean(np.isfinite(least)))
            row[f"{network}, median D"] = float(np.median(least))
            row[f"{network}, optimality"] = float(local[network, False][place])
            row[f"{network}, optimality_8bit"] = float(local[network, True][place])
        yield row | {"overall": float(overall[False][place]), "overall_8bit": float(overall[True][place])}


def kept(
    folder: pathlib.Path, model: keras.Model, dataset: data.Dataset, one: Contender, digits: int, delivered: bool
) -> np.ndarray:
    """The distortions of a contender on the images that the network gets right, infinite without success.

    Those of `Standard` are made anew each time: its settings do not tell what it is made of.
    """
    if one.attack == STANDARD:
        return attacked(model, dataset, one, delivered)
    told = f"optimality, {one.library} {one.attack} {one.queries}, {digits} {'delivered' if delivered else 'computed'}"
    settings = repr(ours(one, delivered)) if one.library == OWN else ""
    of = [str(models.fingerprint(model)).encode(), settings.encode()]
    for images, labels in dataset:
        of += [images.numpy().tobytes(), labels.numpy().tobytes()]

    def make() -> dict[str, np.ndarray]:
        return {"distortion": attacked(model, dataset, one, delivered)}

    return robustness.stored(folder, told, of, make)["distortion"]


def attacked(model: keras.Model, dataset: data.Dataset, one: Contender, delivered: bool) -> np.ndarray:
    """Those distortions. Delivered, ours round inside the attack, theirs are `minimal.scaled`."""
    call, parts = made(model, one, delivered), []
    for originals in protocol.CorrectImages(model, dataset):
        adversarial = call(originals.images, originals.labels)
        if delivered and one.library != OWN:
            adversarial = minimal.scaled(model, originals, adversarial)
        smoother = minimal.reference().guided_by(originals.images)
        gradients = optimality.gradients_within(one.queries)
        records = protocol.score(model, one.attack, originals, adversarial, smoother, gradients).records
        scores = [record.delivered if delivered else record.computed for record in records]
        parts.append([score.distortion if score.success else np.inf for score in scores])
    return np.concatenate(parts)


def made(model: keras.Model, one: Contender, delivered: bool) -> minimal.Call:
    """The attack within its budget, from images and labels to adversarial images."""
    gradients = optimality.gradients_within(one.queries)
    if one.library == adversarial_library.NAME:
        steps = {"num_steps" if one.attack == "ALMA" else "steps": gradients}
        rounding = {"levels": None} if one.attack == "DDN" else {}
        return adversarial_library.attack(model, one.attack, **steps, **rounding)
    attack = ours(one, delivered)
    return lambda images, labels: attack(model, images, labels).adversarial.numpy()


def ours(one: Contender, delivered: bool) -> Attack:
    """One of this library within its budget, `Standard` without its control."""
    gradients = None if one.attack == STANDARD else optimality.gradients_within(one.queries)
    levels = minimal.LEVELS if delivered else None
    (attack,) = presets.preset("digits", "tuned", [one.attack], levels, gradients)[one.attack]
    return attack.replaced(queries=0) if isinstance(attack, standard.Standard) else attack
