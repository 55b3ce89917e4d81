from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import needs_shared

TRAINING = pathlib.Path(__file__).parents[1] / "docs" / "examples" / "adversarial_training.py"


def test_a_network_is_trained_against_a_smooth_attack_by_fit(digits):
    spec = importlib.util.spec_from_file_location(TRAINING.stem, TRAINING)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    images, labels = digits
    network = example.trained(images, labels, epochs=4)
    assert np.mean(np.argmax(network(images), axis=1) == labels) > 0.5


@pytest.mark.slow
def test_training_against_the_attack_makes_it_harder():
    command = [sys.executable, str(TRAINING), str(needs_shared("data/mnist.npz"))]
    finished = subprocess.run(command, cwd=TRAINING.parents[2], capture_output=True, text=True, check=True)
    plain, hardened = map(float, re.findall(r"within 1.5: ([0-9.]+)", finished.stdout))
    assert hardened < 0.7 * plain
