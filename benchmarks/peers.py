"""Other libraries' attacks on the same network and images with the same steps: time, success, distortion."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import networks, timing
from tf_smoothadv import criteria
from tf_smoothadv.attacks import FGSM, PGD2, CarliniWagner, core

Call = Callable[[], np.ndarray]  # adversarial images

FGSM_EPSILON = 0.3
PGD_EPSILON = 2.0
LEARNING_RATE = 0.1
CONST = 1.0
CONSTANTS = 4


def run(problem: networks.Problem, steps: int, rounds: int) -> list[dict[str, Any]]:
    """One row a library and attack: the same epsilon, step size, steps, learning rate and first constant for all."""
    from benchmarks.attacks import bare_gradient

    calls = {("bare gradient", ""): bare_gradient(problem), **ours(problem, steps)}
    calls.update(foolbox(problem, steps))
    calls.update(art(problem, steps))
    times = timing.interleaved({" ".join(key): call for key, call in calls.items()}, rounds)
    gradient = times["bare gradient "]
    rows = []
    for (attack, library), call in calls.items():
        if not library:
            continue
        gradients = {"FGSM": 1, "C&W": steps * CONSTANTS}.get(attack, steps)
        per_gradient = timing.Times(times[f"{attack} {library}"].rounds / gradients)
        adversarial = tf.constant(call())
        logits = core.logits_of(problem.model, adversarial)
        success = criteria.is_adversarial(logits, problem.labels).numpy()
        distortion = core.l2_norm(adversarial - problem.images).numpy()
        rows.append(
            {
                "attack": attack,
                "library": library,
                "gradients": gradients,
                "ms_per_gradient_and_image": 1000 * per_gradient.median / len(problem.images),
                "over_gradient": per_gradient.over(gradient)._asdict(),
                "p_suc": float(np.mean(success)),
                "mean_distortion": float(np.mean(distortion[success])) if success.any() else float("nan"),
            }
        )
    return rows


def ours(problem: networks.Problem, steps: int) -> dict[tuple[str, str], Call]:
    """The attacks of tf_smoothadv."""
    x, labels = tf.constant(problem.images), tf.constant(problem.labels)
    attacks = {
        "FGSM": FGSM(FGSM_EPSILON),
        "PGD2": PGD2(PGD_EPSILON, PGD_EPSILON / 10, steps),
        "C&W": CarliniWagner(steps, CONSTANTS, LEARNING_RATE, initial_const=CONST),
    }

    def call(attack: core.Attack) -> Call:
        return lambda: attack(problem.model, x, labels).adversarial.numpy()

    return {(name, "tf_smoothadv"): call(attack) for name, attack in attacks.items()}


def foolbox(problem: networks.Problem, steps: int) -> dict[tuple[str, str], Call]:
    """The attacks of Foolbox."""
    import foolbox

    model = foolbox.TensorFlowModel(problem.model, bounds=(0, 1))
    # Labels of argmax's own dtype: where dtypes differ, eagerpy calls what NumPy 2 no longer has.
    x, labels = tf.constant(problem.images), tf.constant(problem.labels, tf.int64)
    attacks = {
        "FGSM": (foolbox.attacks.LinfFastGradientAttack(), FGSM_EPSILON),
        "PGD2": (
            foolbox.attacks.L2ProjectedGradientDescentAttack(
                abs_stepsize=PGD_EPSILON / 10, steps=steps, random_start=False
            ),
            PGD_EPSILON,
        ),
        "C&W": (
            foolbox.attacks.L2CarliniWagnerAttack(
                CONSTANTS, steps, stepsize=LEARNING_RATE, initial_const=CONST, abort_early=False
            ),
            None,
        ),
        "DDN": (foolbox.attacks.DDNAttack(steps=steps), None),
    }

    def call(attack: Any, epsilon: float | None) -> Call:
        return lambda: attack(model, x, labels, epsilons=epsilon)[1].numpy()

    return {(name, "Foolbox"): call(*attack) for name, attack in attacks.items()}


def art(problem: networks.Problem, steps: int) -> dict[tuple[str, str], Call]:
    """The attacks of ART."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from art.attacks.evasion import CarliniL2Method, ProjectedGradientDescentTensorFlowV2
        from art.estimators.classification import TensorFlowV2Classifier

    classes = problem.model.output_shape[-1]
    classifier = TensorFlowV2Classifier(
        problem.model,
        nb_classes=classes,
        input_shape=problem.images.shape[1:],
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    batch = len(problem.images)
    attacks = {
        "PGD2": ProjectedGradientDescentTensorFlowV2(
            classifier,
            norm=2,
            eps=PGD_EPSILON,
            eps_step=PGD_EPSILON / 10,
            max_iter=steps,
            batch_size=batch,
            verbose=False,
        ),
        "C&W": CarliniL2Method(
            classifier,
            learning_rate=LEARNING_RATE,
            binary_search_steps=CONSTANTS,
            max_iter=steps,
            initial_const=CONST,
            batch_size=batch,
            verbose=False,
        ),
    }

    def call(attack: Any) -> Call:
        return lambda: np.asarray(attack.generate(problem.images, np.eye(classes)[problem.labels]))

    return {(name, "ART"): call(attack) for name, attack in attacks.items()}
