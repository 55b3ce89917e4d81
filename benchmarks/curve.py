"""How small a perturbation is, delivered, after how many gradients; each point is a run of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import adversarial_library, delivery, minimal, networks, robustness
from tf_smoothadv import criteria, folding, protocol, tensors
from tf_smoothadv.evaluation import families, presets
from tf_smoothadv.evaluation.rendering import plots

OURS = ("fmn", "sfmn")
SETTINGS = {  # of other libraries, of which the best for each image counts; `minimal.GRID` has tried more on digits
    "Foolbox": [{"gamma": 0.05, "max_stepsize": size} for size in (0.1, 0.5)],
    adversarial_library.NAME: [{"α_init": size} for size in (0.5, 1.0)],
}
DRAWN = 0.995  # of the images, on which an attack must have succeeded


class Contender(NamedTuple):
    """An attack with a number of gradients.

    Attributes:
        library, attack: their names.
        gradients: that an image takes.
        settings: what it is made with.
        call: from images and labels to adversarial images.
        rounds: whether these are of 8 bits.
    """

    library: str
    attack: str
    gradients: int
    settings: str
    call: minimal.Call
    rounds: bool


def run(
    cases: Mapping[str, Callable[[], robustness.Case]], budgets: Sequence[int], folder: pathlib.Path
) -> Iterator[dict[str, Any]]:
    """One row a network, attack and number of gradients.

    Args:
        cases: by name, made when it is their turn; their epsilons are not looked at.
        budgets: how many gradients an attack is given.
        folder: of what each came to, with which an interrupted run goes on.
    """
    for network, make in cases.items():
        case = make()
        folded = folding.folded(case.problem.model)
        compiled = delivery.Compiled(folded)
        called = adversarial_library.called_from_torch(folded) if adversarial_library.available() else None
        for gradients in budgets:
            found: dict[tuple[str, str], np.ndarray] = {}
            for one in contenders(case.problem, compiled, called, gradients):
                name = f"curve, {network}, {one.library}, {gradients}"
                least = robustness.kept(folder, name, case, attack_of(one), one.settings).distortion
                known = found.get((one.library, one.attack), least)
                found[one.library, one.attack] = np.minimum(known, least)
            for (library, attack), least in found.items():
                yield {
                    "network": network,
                    "library": library,
                    "attack": attack,
                    "gradients": gradients,
                    "images": len(least),
                    "p_suc_8bit": float(np.mean(np.isfinite(least))),
                    "mean_distortion_8bit": float(np.mean(least[np.isfinite(least)])),
                }


def contenders(problem: networks.Problem, compiled: Any, called: Any, gradients: int) -> Iterator[Contender]:
    """FMN, plain and smooth; and that of other libraries, on the network compiled, and called from PyTorch if it is."""
    model = problem.model
    for name in OURS:
        kind = families.family(problem.images.shape[1:])
        (attack,) = presets.preset(kind, "tuned", [name], minimal.LEVELS, gradients=gradients)[name]

        def ours(images: np.ndarray, labels: np.ndarray, attack: sa.attacks.Attack = attack) -> np.ndarray:
            made: np.ndarray = attack(model, tf.constant(images), labels).adversarial.numpy()
            return made

        yield Contender("tf_smoothadv", name, gradients, repr(attack), ours, rounds=True)
    for values in SETTINGS["Foolbox"]:
        call = minimal.foolbox(compiled, "FMN", steps=gradients, **values)
        yield Contender("Foolbox", "fmn", gradients, repr(values), call, rounds=False)
    for values in SETTINGS[adversarial_library.NAME] if called else ():
        call = adversarial_library.attack_on(called, "FMN", steps=gradients, **values)
        yield Contender(adversarial_library.NAME, "fmn", gradients, repr(values), call, rounds=False)


def attack_of(one: Contender) -> robustness.Attack:
    """What a contender comes to in 8 bits. What does not round inside is `minimal.scaled`."""

    def attacked(part: networks.Problem) -> robustness.Found:
        adversarial = one.call(part.images, part.labels)
        if not one.rounds:
            originals = protocol.Originals(np.arange(len(part.labels)), part.images, part.labels)
            adversarial = minimal.scaled(part.model, originals, adversarial)
        success = criteria.is_adversarial(sa.Classifier.of(part.model)(adversarial), part.labels).numpy()
        norm = tensors.l2_norm(tf.constant(adversarial - part.images)).numpy()
        return robustness.Found(np.where(success, norm, np.inf), np.full(len(norm), one.gradients))

    return attacked


def figure(rows: Sequence[Mapping[str, Any]]) -> plots.Figure:
    """Mean distortion over the least of the attack's, against gradients; a panel a network."""
    names = list(dict.fromkeys(row["network"] for row in rows))
    drawn = plots.Figure(figsize=(5 * len(names), 3.6), layout="constrained")
    panels = drawn.subplots(1, len(names), squeeze=False)[0]
    for axes, network in zip(panels, names):
        for library, attack in dict.fromkeys((row["library"], row["attack"]) for row in rows):
            of = [row for row in rows if (row["network"], row["library"], row["attack"]) == (network, library, attack)]
            points = [(row["gradients"], row["mean_distortion_8bit"]) for row in of if row["p_suc_8bit"] >= DRAWN]
            if points:
                name = f"{presets.label(attack)}, {library}"
                axes.semilogx(
                    *zip(*points), "--" if attack.startswith("s") else "-", marker="o", markersize=3, label=name
                )
        axes.set(title=network, xlabel="gradients", ylabel="mean D in 8 bits", ylim=(0, None))
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    return drawn
