"""Attacks on several logical CPU devices: `python -m tests.on_devices N FOLDER NAMES`, which prints what they came to.

They can be set only before TensorFlow has begun with its devices, so in a process of their own.
"""

from __future__ import annotations

import json
import sys
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import models
import tf_smoothadv as sa
from tests.conftest import SAMPLE
from tests.many_runs import here
from tf_smoothadv import classifier, replicas
from tf_smoothadv.attacks import FGSM, FMN, PGD2, CarliniWagner, NearestClasses, Standard
from tf_smoothadv.attacks.core import NoGradientError
from tf_smoothadv.evaluation import devices
from tf_smoothadv.evaluation.data import mnist
from tf_smoothadv.evaluation.rendering import plots

PGD = PGD2(5.0, 1.5, 4, loss="margin", binary_search_steps=2)
ATTACKS = {
    "fgsm": FGSM(0.2),
    "fmn-8bit": FMN(6, delivery=sa.Levels()),
    "pgd2": PGD,
    "sfmn-8bit": FMN(6, smoothing=sa.Smoothing(alpha=0.9, gamma=3.0), delivery=sa.Levels()),
    "nfmn": NearestClasses(FMN(6), classes=2),
    "standard": Standard((1.0, 1.5), queries=0),
}
IMAGES, LABELS = mnist.read(str(SAMPLE), "test")


def difference(one: sa.AttackResult, other: sa.AttackResult) -> float:
    """By how much the distortions of two results differ at most, relative; infinite where anything else does."""
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("success", "gradients", "faulty"))
    if not same or one.trace.shape != other.trace.shape:
        return np.inf
    return float(np.max(np.abs(one.distortion / other.distortion - 1), where=one.distortion != 0, initial=0))


def results(strategy: tf.distribute.Strategy, names: list[str]) -> dict[str, float]:
    """By attack and size of batch, how far its results lie from those of one device."""
    with strategy.scope():
        model = models.c4()
    alone, found = models.c4(), {}
    for name in names:
        attack = ATTACKS[name]
        expected = attack(alone, IMAGES[:7], LABELS[:7])
        for size in (1, 3, 7):
            with strategy.scope():
                result = attack(model, IMAGES[:size], LABELS[:size])
            cut = tf.nest.map_structure(lambda tensor, size=size: tensor[:size], expected)
            found[f"{name} {size}"] = difference(result, cut)
    aimed = IMAGES[:5], LABELS[:5], (LABELS[:5] + 1) % 10
    expected = PGD(alone, *aimed)
    with strategy.scope():
        found["targeted"] = difference(PGD(model, *aimed), expected)
    return found


def main(count: int, folder: str, names: list[str]) -> None:
    strategy = devices.strategy(count)
    assert strategy.num_replicas_in_sync == count
    found = {
        "results": results(strategy, names),
        "shares": shares(strategy),
        "waits": waits(strategy),
        "dead": dead(strategy),
        "refused": refused(strategy),
    }
    models.c4().save(f"{folder}/c4.keras")
    flags = (f"--model={folder}/c4.keras", "--num_images=9", "--batch_size=5", "--attacks=fmn", "--gradients=5")
    for name, number in (("one", 1), ("several", count)):
        with mock.patch.object(plots, "save"):  # to save time
            made = here("eval.white_box", *flags, f"--devices={number}", f"--output={folder}/{name}")
        assert made.status == 0, made.stderr
    json.dump(found, sys.stdout)


def shares(strategy: tf.distribute.Strategy) -> dict[int, list[list[int]]]:
    """By the size of a batch, of each of its images which replica had it, and how many it had."""

    def told(images: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.stack([tf.fill([tf.size(images)], replica), tf.repeat(tf.size(images), tf.size(images))], axis=1)

    spread = tf.function(replicas.spread(told, strategy, (True,)))
    return {size: spread(tf.range(size)).numpy().tolist() for size in range(1, 10)}


def waits(strategy: tf.distribute.Strategy) -> list[list[str]]:
    """The devices of the loops of an attack, and of each the loops that it waits for."""
    with strategy.scope():
        model = sa.Classifier.of(models.c4())

    def run(images: tf.Tensor, labels: tf.Tensor) -> sa.AttackResult:
        return FMN(3).run(model.folded(), images, labels, None)

    specs = tf.TensorSpec([None, 28, 28, 1]), tf.TensorSpec([None], tf.int32)
    graph = classifier.compile_for(replicas.spread(run, strategy, (True, True)), *specs).graph
    loops = [operation for operation in graph.get_operations() if operation.type in ("While", "StatelessWhile")]
    return [[one.device[-5:], *(other.name for other in loops if other in before(one))] for one in loops]


def before(operation: tf.Operation) -> set[tf.Operation]:
    """All that a graph has to do before an operation."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        others = {tensor.op for tensor in one.inputs} | set(one.control_inputs)
        waiting += others - found
        found |= others
    return found


def kinked(images: tf.Tensor) -> tf.Tensor:
    """Logits of two classes; black images are of class 0 and have no gradient."""
    total = tf.reduce_sum(tf.nn.relu(images - 0.1), axis=[1, 2, 3])
    return tf.stack([tf.zeros_like(total) + 3.0, total + 2.0], axis=1)


def dead(strategy: tf.distribute.Strategy) -> list[float | str]:
    """Where all images of one device have no gradient: the difference to one device, and what is said of black ones."""
    images = np.zeros([2 * strategy.num_replicas_in_sync, 4, 4, 1], np.float32)
    labels = np.zeros(len(images), np.int32)
    mixed = images.copy()
    mixed[0 :: strategy.num_replicas_in_sync] = 0.15  # those of the first device
    expected = FMN(5)(kinked, mixed, labels)
    told: list[float | str] = []
    with strategy.scope():
        told.append(difference(FMN(5)(kinked, mixed, labels), expected))
        try:
            FMN(5)(kinked, images, labels)
        except NoGradientError as error:
            told.append(str(error))
    return [*told, float(np.sum(expected.success)), float(np.sum(expected.faulty))]


def refused(strategy: tf.distribute.Strategy) -> list[str]:
    """What is said of a model from outside of the scope, and of an optimiser's variables."""
    model, told = models.c4(), []
    with strategy.scope():
        inside = models.c4()
        attacks = [(FMN(5), model), (CarliniWagner(5, optimizer=keras.optimizers.SGD), inside)]
        for attack, one in attacks:
            try:
                attack(one, IMAGES[:5], LABELS[:5])
            except ValueError as error:
                told.append(str(error))
    return told


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3].split(","))
