"""The attacks: time of a step over that of one bare gradient of the same network and batch, and peak memory."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import networks, timing
from tf_smoothadv import criteria
from tf_smoothadv.attacks import FGSM, FMN, IFGSM, PGD2, Attack, CarliniWagner
from tf_smoothadv.evaluation import families

FEW, MANY = 2, 10  # steps; a step's time is the difference of two runs', which cancels what an attack does once


def attacks(problem: networks.Problem) -> dict[str, Any]:
    """The iterative attacks, plain and smooth, with FEW steps; FMN also masked, with the rounding to 8 bits inside."""
    plain: dict[str, Any] = {
        "I-FGSM": IFGSM(0.3, 0.01, FEW),
        "PGD2": PGD2(5.0, 0.1, FEW),
        "C&W": CarliniWagner(FEW, 1),
    }
    plain["FMN"] = FMN(FEW, delivery=sa.Levels())
    smooth = {f"s{name}": attack.replaced(smoothing=problem.smoothing) for name, attack in plain.items()}
    masking = families.masking(families.family(problem.images.shape[1:]), families.EYE)
    return {**plain, **smooth, "mFMN": plain["FMN"].replaced(masking=masking)}


def run(problems: dict[str, Callable[[], networks.Problem]], rounds: int) -> Iterator[dict[str, Any]]:
    """One row a network and attack; each network is made when its turn comes."""
    for network, made in problems.items():
        problem = made()
        gradient = bare_gradient(problem)
        functions = {"gradient": gradient, "smoothing": smoothing_both_ways(problem)}
        functions["FGSM"] = call(FGSM(0.1), problem)
        functions["sFGSM"] = call(FGSM(0.1, problem.smoothing), problem)
        for name, attack in attacks(problem).items():
            functions[f"{name} few"] = call(attack, problem)
            functions[f"{name} many"] = call(dataclasses.replace(attack, steps=MANY), problem)
        times = timing.interleaved(functions, rounds)
        steps = {name: times[name] for name in ("smoothing", "FGSM", "sFGSM")}
        for name in attacks(problem):
            difference = times[f"{name} many"].rounds - times[f"{name} few"].rounds
            steps[name] = timing.Times(difference / (MANY - FEW))
        for name, step in steps.items():
            yield {
                "network": network,
                "batch": len(problem.images),
                "attack": name,
                "ms_per_step_and_image": 1000 * step.median / len(problem.images),
                "ms_per_gradient_and_image": 1000 * times["gradient"].median / len(problem.images),
                "over_gradient": step.over(times["gradient"])._asdict(),
            }


def bare_gradient(problem: networks.Problem) -> Callable[[], Any]:
    """One gradient of the margin, and nothing else."""
    x, labels = tf.constant(problem.images), tf.constant(problem.labels)

    @tf.function
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = criteria.margin(problem.model(x, training=False), labels)
        return tape.gradient(loss, x)

    return lambda: gradient().numpy()


def smoothing_both_ways(problem: networks.Problem) -> Callable[[], Any]:
    """The smoothing and its adjoint, as a step of smooth C&W takes them."""
    smoother = problem.smoothing.guided_by(problem.images)
    forward, adjoint = tf.function(smoother.__call__), tf.function(smoother.adjoint)
    z = tf.random.stateless_normal(problem.images.shape, seed=[0, 0])
    return lambda: adjoint(forward(z)).numpy()


def call(attack: Attack, problem: networks.Problem) -> Callable[[], Any]:
    """The whole attack."""
    x, labels = tf.constant(problem.images), tf.constant(problem.labels)
    return lambda: attack(problem.model, x, labels).adversarial.numpy()


def memory(problem: Callable[[], networks.Problem]) -> dict[str, float]:
    """Peak memory in MiB of a process that only loads the network, and of those that then run C&W, plain and smooth."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for name in ("loading", "C&W", "sC&W"):
        with context.Pool(1) as pool:
            peaks[name] = pool.apply(peak, (problem, name))
    above = {f"{name} above loading": peaks[name] - peaks["loading"] for name in ("C&W", "sC&W")}
    return {**peaks, **above, "sC&W over C&W": peaks["sC&W"] / peaks["C&W"]}


def peak(problem: Callable[[], networks.Problem], name: str) -> float:
    """Peak resident memory of this process in MiB, after it has run the attack."""
    made = problem()
    if name != "loading":
        call(dataclasses.replace(attacks(made)[name], steps=MANY), made)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
