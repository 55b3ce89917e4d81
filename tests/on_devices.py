"""Attacks on several logical CPU devices: `python -m tests.on_devices N`, which prints what test_devices.py looks at.

They can be set only before TensorFlow has begun with its devices, so in a process of their own.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

import models
import tf_smoothadv as sa
from tests.conftest import SAMPLE
from tf_smoothadv import replicas
from tf_smoothadv.attacks import DDN, FGSM, FMN, PGD2, CarliniWagner, NearestClasses, Standard
from tf_smoothadv.evaluation.data import mnist

ATTACKS = {
    "fgsm": FGSM(0.2),
    "pgd2": PGD2(5.0, 1.5, 4, loss="margin", binary_search_steps=2),
    "sfmn-8bit": FMN(6, smoothing=sa.Smoothing(alpha=0.9, gamma=3.0), delivery=sa.Levels()),
    "nfmn": NearestClasses(FMN(6), classes=2),
    "standard": Standard((1.0, 1.5), queries=0),
}


def difference(one: sa.AttackResult, other: sa.AttackResult) -> dict[str, float]:
    """How far two results are from one another, by what they hold."""
    columns = {name: (getattr(one, name), getattr(other, name)) for name in ("success", "gradients", "faulty")}
    found = {name: float(np.sum(first != second)) for name, (first, second) in columns.items()}
    found["distortion"] = float(np.max(np.abs(one.distortion / other.distortion - 1)))
    found["adversarial"] = float(np.max(np.abs(one.adversarial - other.adversarial)))
    found["trace"] = float(one.trace.shape != other.trace.shape)
    return found


def main(count: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])
    images, labels = mnist.read(str(SAMPLE), "test")
    with strategy.scope():
        model = models.c4()
    alone = models.c4()
    found: dict = {"results": {}, "shares": {}}
    for name, attack in ATTACKS.items():
        expected = attack(alone, images[:7], labels[:7])
        for size in (1, 3, 7):
            with strategy.scope():
                result = attack(model, images[:size], labels[:size])
            cut = tf.nest.map_structure(lambda tensor, size=size: tensor[:size], expected)
            found["results"][f"{name} {size}"] = difference(result, cut)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
