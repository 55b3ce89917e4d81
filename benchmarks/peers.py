"""Other libraries' attacks on the same network and images with the same steps: time, success, distortion."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from benchmarks import adversarial_library, attacks, networks, timing
from tf_smoothadv import criteria, tensors
from tf_smoothadv.attacks import DDN, FGSM, FMN, PGD2, CarliniWagner, core
from tf_smoothadv.classifier import Classifier

Call = Callable[[], np.ndarray]  # adversarial images

FGSM_EPSILON = 0.3
CONSTANTS = 4
SHORT = 10  # steps that are timed; C&W's with one constant


class Scale(NamedTuple):
    """What is as large as the perturbations of some images are.

    Attributes:
        epsilon: of PGD2; a step is a tenth of it.
        learning_rate, const: of C&W.
    """

    epsilon: float
    learning_rate: float
    const: float


DIGITS = Scale(2.0, 0.1, 1.0)
PHOTOGRAPHS = Scale(0.5, 0.003, 0.3)


def run(problem: networks.Problem, slow: int, steps: int, rounds: int) -> Iterator[dict[str, Any]]:
    """One row a library and attack: the same epsilon, step size, steps, learning rate and first constant for all.

    Time is that of short runs, in turns; success and distortion are those of one run of `steps`, for each of C&W's
    CONSTANTS. ART's C&W searches along every step and has only the first `slow` images.
    """
    some = problem.part(slow)
    problems = {("C&W", "ART"): some}
    short = attacks_of(problem, some, SHORT, 1)
    calls: dict[Any, Call] = {"gradient": attacks.bare_gradient(problem), "some": attacks.bare_gradient(some), **short}
    times = timing.interleaved(calls, rounds)
    for (attack, library), call in attacks_of(problem, some, steps, CONSTANTS).items():
        mine = problems.get((attack, library), problem)
        gradients = 1 if attack == "FGSM" else SHORT
        per_gradient = timing.Times(times[attack, library].rounds / gradients)
        adversarial = tf.constant(call())
        success = criteria.is_adversarial(Classifier.of(mine.model)(adversarial), mine.labels).numpy()
        distortion = tensors.l2_norm(adversarial - mine.images).numpy()
        yield {
            "attack": attack,
            "library": library,
            "images": len(mine.images),
            "ms_per_gradient_and_image": 1000 * per_gradient.median / len(mine.images),
            "over_gradient": per_gradient.over(times["some" if mine is some else "gradient"])._asdict(),
            "gradients": {"FGSM": 1, "C&W": steps * CONSTANTS}.get(attack, steps),
            "p_suc": float(np.mean(success)),
            "mean_distortion": float(np.mean(distortion[success])) if success.any() else float("nan"),
        }


def attacks_of(
    problem: networks.Problem, some: networks.Problem, steps: int, constants: int
) -> dict[tuple[str, str], Call]:
    """The attacks of all libraries by name and library, ART's C&W on `some` of the images."""
    return {
        **{(name, "tf_smoothadv"): call for name, call in ours(problem, steps, constants).items()},
        **{(name, "Foolbox"): call for name, call in foolbox(problem, steps, constants).items()},
        **{
            (name, adversarial_library.NAME): call for name, call in adversarial_library.attacks(problem, steps).items()
        },
        ("PGD2", "ART"): art(problem, steps, constants)["PGD2"],
        ("C&W", "ART"): art(some, steps, constants)["C&W"],
    }


def ours(problem: networks.Problem, steps: int, constants: int) -> dict[str, Call]:
    """The attacks of tf_smoothadv."""
    x, labels = tf.constant(problem.images), tf.constant(problem.labels)
    made = {
        "FGSM": FGSM(FGSM_EPSILON),
        "PGD2": PGD2(DIGITS.epsilon, DIGITS.epsilon / 10, steps),
        "C&W": CarliniWagner(steps, constants, DIGITS.learning_rate, initial_const=DIGITS.const),
        "DDN": DDN(steps, loss="cross_entropy"),
        "FMN": FMN(steps),
    }

    def call(attack: core.Attack) -> Call:
        return lambda: attack(problem.model, x, labels).adversarial.numpy()

    return {name: call(attack) for name, attack in made.items()}


def foolbox(problem: networks.Problem, steps: int, constants: int, scale: Scale = DIGITS) -> dict[str, Call]:
    """The attacks of Foolbox."""
    import foolbox

    model = foolbox.TensorFlowModel(problem.model, bounds=(0, 1))
    # Labels of argmax's own dtype: where dtypes differ, eagerpy calls what NumPy 2 no longer has.
    x, labels = tf.constant(problem.images), tf.constant(problem.labels, tf.int64)
    made = {
        "FGSM": (foolbox.attacks.LinfFastGradientAttack(), FGSM_EPSILON),
        "PGD2": (
            foolbox.attacks.L2ProjectedGradientDescentAttack(
                abs_stepsize=scale.epsilon / 10, steps=steps, random_start=False
            ),
            scale.epsilon,
        ),
        "C&W": (
            foolbox.attacks.L2CarliniWagnerAttack(
                constants, steps, stepsize=scale.learning_rate, initial_const=scale.const, abort_early=False
            ),
            None,
        ),
        "DDN": (foolbox.attacks.DDNAttack(steps=steps), None),
        "FMN": (foolbox.attacks.L2FMNAttack(steps=steps), None),
    }

    def call(attack: Any, epsilon: float | None) -> Call:
        return lambda: attack(model, x, labels, epsilons=epsilon)[1].numpy()

    return {name: call(*attack) for name, attack in made.items()}


def art(problem: networks.Problem, steps: int, constants: int, scale: Scale = DIGITS) -> dict[str, Call]:
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
    made = {
        "PGD2": ProjectedGradientDescentTensorFlowV2(
            classifier,
            norm=2,
            eps=scale.epsilon,
            eps_step=scale.epsilon / 10,
            max_iter=steps,
            batch_size=batch,
            verbose=False,
        ),
        "C&W": CarliniL2Method(
            classifier,
            learning_rate=scale.learning_rate,
            binary_search_steps=constants,
            max_iter=steps,
            initial_const=scale.const,
            batch_size=batch,
            verbose=False,
        ),
    }

    def call(attack: Any) -> Call:
        return lambda: np.asarray(attack.generate(problem.images, np.eye(classes)[problem.labels]))

    return {name: call(attack) for name, attack in made.items()}
