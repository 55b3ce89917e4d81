"""The smallest perturbations: ours beside other libraries', each at its best settings, as delivered in 8 bits.

C4, clean, on the first test digits, every image judged by `tf_smoothadv.protocol`. What does not round inside is
delivered twice: rounded as it is, and scaled, which is to say r times the factor of SCALES, one for each image, whose
rounding succeeds at the least distortion; that costs forward passes, no gradients.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import models
from benchmarks import adversarial_library
from tf_smoothadv import criteria, metrics, protocol, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.evaluation import data, families, presets
from tf_smoothadv.evaluation.records import Results

BATCH = 50
GRID = 100  # digits on which settings are chosen
LEVELS = 256
SCALES = np.linspace(0.9, 1.3, 41)
SCALED = ", scaled"
OURS = {name: name.lower().replace("&", "") for name in ("DDN", "FMN", "BP", "ALMA", "nFMN", "C&W")}
OURS |= {f"s{name}": f"s{own}" for name, own in OURS.items()}

Call = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from images [B, H, W, C] and labels [B] to adversarial images


class Contender(NamedTuple):
    """An attack with a budget.

    Attributes:
        library, attack: their names.
        gradients: of the network, an image.
        tried: settings by the library's own names, the best on GRID digits first. Ours are on top of `eval.settings`.
    """

    library: str
    attack: str
    gradients: int
    tried: list[dict[str, Any]]

    def name(self, values: dict[str, Any]) -> str:
        """What its records are known by."""
        return f"{self.library} {self.attack}, {told(values)}"


CONTENDERS = [
    Contender(
        "tf_smoothadv",
        "DDN",
        100,
        [
            {"steps": 100, "step_size": 1.0},
            {"steps": 100, "step_size": 0.5},
            {"steps": 100, "step_size": 1.0, "norm_step": 0.03},
            {"steps": 100, "step_size": 1.0, "norm_step": 0.1},
            {"steps": 100, "step_size": 1.0, "loss": "margin"},
        ],
    ),
    Contender("tf_smoothadv", "FMN", 100, [{"steps": 100, "step_size": 1.0}, {"steps": 100, "step_size": 0.5}]),
    Contender("tf_smoothadv", "BP", 100, [{"steps": 100, "step_size": 0.5}, {"steps": 100, "step_size": 1.0}]),
    Contender("tf_smoothadv", "ALMA", 100, [{"steps": 100, "step_size": 0.5}, {"steps": 100, "step_size": 0.1}]),
    Contender("tf_smoothadv", "nFMN", 99, [{"steps": 30, "step_size": 1.0}, {"steps": 30, "step_size": 0.5}]),
    *(Contender("tf_smoothadv", name, 100, [{"steps": 100}]) for name in ("sDDN", "sFMN", "sBP", "sALMA")),
    Contender("tf_smoothadv", "snFMN", 99, [{"steps": 30}]),
    Contender(
        "Foolbox",
        "DDN",
        100,
        [
            {"steps": 100, "gamma": 0.05, "init_epsilon": 1.5},
            {"steps": 100, "gamma": 0.05, "init_epsilon": 1.0},
            {"steps": 100, "gamma": 0.03, "init_epsilon": 1.0},
            {"steps": 100, "gamma": 0.1, "init_epsilon": 1.0},
        ],
    ),
    Contender(
        "Foolbox",
        "FMN",
        100,
        [
            {"steps": 100, "gamma": 0.05, "max_stepsize": 0.1},
            {"steps": 100, "gamma": 0.05, "max_stepsize": 0.3},
            {"steps": 100, "gamma": 0.05, "max_stepsize": 1.0},
        ],
    ),
    Contender(
        "adversarial-library",
        "DDN",
        100,
        [
            {"steps": 100, "levels": LEVELS, "γ": 0.05, "init_norm": 1.5},
            {"steps": 100, "levels": LEVELS, "γ": 0.1, "init_norm": 1.0},
            {"steps": 100, "levels": LEVELS, "γ": 0.05, "init_norm": 1.0},
            {"steps": 100, "levels": LEVELS, "γ": 0.03, "init_norm": 1.0},
        ],
    ),
    Contender(
        "adversarial-library",
        "FMN",
        100,
        [
            {"steps": 100, "γ_init": 0.05, "α_init": 0.5},
            {"steps": 100, "γ_init": 0.05, "α_init": 1.0},
            {"steps": 100, "γ_init": 0.1, "α_init": 1.0},
            {"steps": 100, "γ_init": 0.05, "α_init": 2.0},
        ],
    ),
    Contender(
        "adversarial-library",
        "ALMA",
        100,
        [
            {"num_steps": 100, "levels": LEVELS, "α": 0.7, "init_lr_distance": 0.3},
            {"num_steps": 100, "levels": LEVELS, "α": 0.5, "init_lr_distance": 0.1},
            {"num_steps": 100, "levels": LEVELS, "α": 0.5, "init_lr_distance": 0.5},
            {"num_steps": 100, "levels": LEVELS, "α": 0.5, "init_lr_distance": 1.0},
            {"num_steps": 100, "levels": LEVELS, "α": 0.5, "init_lr_distance": 0.5, "lr_reduction": 0.1},
            {"num_steps": 100, "levels": LEVELS, "α": 0.5, "init_lr_distance": 0.5, "check_steps": 3},
            {"num_steps": 100, "α": 0.5, "init_lr_distance": 0.5},
        ],
    ),
    Contender(
        "adversarial-library",
        "ALMA",
        1000,
        [
            {"num_steps": 1000, "levels": LEVELS, "α": 0.9, "init_lr_distance": 0.5},
            {"num_steps": 1000, "levels": LEVELS, "α": 0.9, "init_lr_distance": 0.1},
        ],
    ),
    Contender("tf_smoothadv", "DDN", 1000, [{"steps": 1000}]),
    Contender("tf_smoothadv", "ALMA", 1000, [{"steps": 1000, "averaging": 0.9}]),
    Contender("adversarial-library", "DDN", 1000, [{"steps": 1000, "levels": LEVELS, "γ": 0.05, "init_norm": 1.0}]),
    Contender(
        "Foolbox",
        "C&W",
        1000,
        [
            {"binary_search_steps": 5, "steps": 200, "stepsize": 0.1, "initial_const": 1.0},
            {"binary_search_steps": 5, "steps": 200, "stepsize": 0.05, "initial_const": 1.0},
        ],
    ),
    Contender("tf_smoothadv", "FMN", 1000, [{"steps": 1000}]),
    Contender("tf_smoothadv", "nFMN", 999, [{"steps": 330}]),
    Contender("adversarial-library", "FMN", 1000, [{"steps": 1000, "γ_init": 0.05, "α_init": 0.5}]),
    Contender("Foolbox", "DDN", 1000, [{"steps": 1000, "gamma": 0.05, "init_epsilon": 1.0}]),
    Contender("tf_smoothadv", "C&W", 1000, [{"binary_search_steps": 5, "steps": 200}]),
    Contender("tf_smoothadv", "sC&W", 1000, [{"binary_search_steps": 5, "steps": 200}]),
    Contender("Foolbox", "FMN", 1000, [{"steps": 1000, "gamma": 0.05, "max_stepsize": 0.1}]),
]


def run(path: str | None, digits: int, folder: pathlib.Path, grid: bool = False) -> Iterator[dict[str, Any]]:
    """One row an attack and way of delivery.

    Args:
        path: MNIST's npz file, None for the digits that ship with the project.
        digits: how many, the first.
        folder: of the records, with which an interrupted run goes on.
        grid: every setting that was tried, instead of the best.
    """
    model = models.c4("clean")
    dataset = data.load("mnist", path, digits, BATCH)
    with contextlib.closing(Results(folder, {"weights": models.fingerprint(model)}, metrics.Record)) as results:
        for contender in CONTENDERS:
            if contender.library == adversarial_library.NAME and not adversarial_library.available():
                continue
            for values in contender.tried if grid else contender.tried[:1]:
                images, call = protocol.CorrectImages(model, dataset), made(model, contender, values)
                name = contender.name(values)
                for originals in images:
                    if any((name, index) not in results.done for index in originals.indices.tolist()):
                        smoother = reference().guided_by(originals.images)
                        adversarial = {name: call(originals.images, originals.labels)}
                        if not rounds(contender, values):
                            adversarial[name + SCALED] = scaled(model, originals, adversarial[name])
                        for attack, made_so in adversarial.items():
                            judged = protocol.score(model, attack, originals, made_so, smoother, contender.gradients)
                            results.append(judged.records)
                records = tuple(record for record in results.records if record.index < digits)
                yield from rows(contender, values, metrics.Run(records, images.num_images, images.num_correct))


def rows(contender: Contender, values: dict[str, Any], run: metrics.Run) -> Iterator[dict[str, Any]]:
    """The rows of a contender with these settings: one where it rounds itself, else one a way of delivery."""
    name = contender.name(values)
    deliveries = {"inside": name} if rounds(contender, values) else {"after": name, "scaled": name + SCALED}
    for rounding, attack in deliveries.items():
        computed, delivered = run.outcome(attack), run.outcome(attack, delivered=True)
        yield {
            "library": contender.library,
            "attack": contender.attack,
            "settings": told(values),
            "gradients": contender.gradients,
            "images": run.num_correct,
            "rounding": rounding,
            "p_suc": computed.p_suc,
            "mean_distortion": computed.mean_distortion,
            "p_suc_8bit": delivered.p_suc,
            "mean_distortion_8bit": delivered.mean_distortion,
            "smoothness_energy_8bit": delivered.mean_smoothness_energy,
        }


def told(values: dict[str, Any]) -> str:
    """Settings as a cell of the table."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )


def rounds(contender: Contender, values: dict[str, Any]) -> bool:
    """Whether the attack itself rounds."""
    return contender.library == "tf_smoothadv" or "levels" in values


def reference() -> Any:
    """The smoothing whose graph measures E."""
    return families.reference("digits", "tuned")


def made(model: keras.Model, contender: Contender, values: dict[str, Any]) -> Call:
    """The attack with these settings."""
    if contender.library == "tf_smoothadv":
        name = OURS[contender.attack]
        (attack,) = presets.preset("digits", "tuned", [name], LEVELS)[name]
        attack = attack.replaced(**values)
        return lambda images, labels: attack(model, images, labels).adversarial.numpy()
    library = {"Foolbox": foolbox, adversarial_library.NAME: adversarial_library.attack}[contender.library]
    return library(model, contender.attack, **values)


def foolbox(model: keras.Model, name: str, **values: Any) -> Call:
    """An attack of Foolbox."""
    import foolbox

    kinds = {
        "C&W": functools.partial(foolbox.attacks.L2CarliniWagnerAttack, abort_early=False),
        "DDN": foolbox.attacks.DDNAttack,
        "FMN": foolbox.attacks.L2FMNAttack,
    }
    attack, network = kinds[name](**values), foolbox.TensorFlowModel(model, bounds=(0, 1))

    def call(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        # Labels of argmax's own dtype: where dtypes differ, eagerpy calls what NumPy 2 no longer has.
        adversarial: np.ndarray = attack(network, tf.constant(images), tf.constant(labels, tf.int64), epsilons=None)[
            1
        ].numpy()
        return adversarial

    return call


def scaled(model: core.Model, originals: protocol.Originals, adversarial: np.ndarray) -> np.ndarray:
    """The same perturbations, scaled before they are rounded."""
    images = tf.constant(originals.images)
    best = core.start(images, 0)
    for scale in SCALES:
        candidate = tensors.quantized(tensors.clip(images + scale * (adversarial - images)), LEVELS)
        success = criteria.is_adversarial(Classifier.of(model)(candidate), originals.labels)
        best = core.keep_best(best, images, candidate, success, gradients=0)
    made: np.ndarray = best.adversarial.numpy()
    return made
