from __future__ import annotations

import importlib
import pathlib
import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_first_example_makes_a_photograph_adversarial(tmp_path, monkeypatch, capsys, rng):
    pytest.importorskip("jpeglib")
    monkeypatch.chdir(tmp_path)
    layers = keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")
    keras.Sequential([keras.Input((224, 224, 3)), *layers]).save("net.keras")
    PIL.Image.fromarray(rng.integers(64, 192, (240, 320, 3), np.uint8)).save("holiday.jpg")
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 10
    exec(compile(example, "README.md", "exec"), {})
    assert "True" in capsys.readouterr().out
    with PIL.Image.open("holiday.adversarial.jpg") as image:
        assert image.size == (320, 240)


def test_the_attack_of_contributing_reaches_a_linear_models_optimum(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    imports = """
from __future__ import annotations
import dataclasses
from typing import ClassVar
import tensorflow as tf
from tf_smoothadv import criteria, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.smoothing import Smoothing
"""
    (tmp_path / "steepest.py").write_text(imports + code)
    monkeypatch.syspath_prepend(tmp_path)
    attack = importlib.import_module("steepest").SteepestDescent(step_size=0.001, steps=100)
    weights = tf.constant([[1.0, -1.0]] * 16)

    def model(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [-1, 16]) @ weights

    images = tf.fill([1, 4, 4, 1], 0.5) + 0.005  # the margin, 2 sum(x) - 2 * 8, is 0.16
    result = attack(lambda x: model(x) - [8.0, -8.0], images, [0])
    assert result.success.numpy().all()
    assert result.distortion.numpy() == pytest.approx([0.16 / (2 * 4)], abs=0.001)


def test_the_map_of_contributing_names_every_file_and_no_other():
    mapped = re.findall(r"^\| `(\S+\.py)` \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    folders = ("tf_smoothadv", "models", "eval")
    files = {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert {name for name, _ in mapped} == {name for name in files if not name.endswith("__init__.py")}
    assert [line for _, line in mapped if " and " in line] == []
