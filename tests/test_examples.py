from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from tests.conftest import needs_shared
from tf_smoothadv.evaluation.rendering import plots

ROOT = pathlib.Path(__file__).parents[1]
TRAINING = ROOT / "docs" / "examples" / "adversarial_training.py"


@pytest.mark.slow
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


GALLERY = (ROOT / "docs" / "gallery.md").read_text()
SMALL = {  # what makes a picture in seconds
    "budget": {"num_images": 4, "steps": 6},
    "eye": {"size": 80},
    "jpeg_coefficients": {"num_images": 1, "steps": 30},
    "magnifier": {"size": 48},
    "mask": {"size": 48},
    "over_alpha": {"num_images": 4, "steps": 10, "alphas": (0, 0.9)},
    "perturbations": {"num_images": 1, "steps": 30},
}


LONG = ("budget", "jpeg_coefficients", "magnifier", "over_alpha", "perturbations")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SMALL])
def test_a_script_of_the_gallery_draws(name, tmp_path):
    if name == "eye":
        pytest.importorskip("flip_evaluator")
    figure = importlib.import_module(f"docs.examples.{name}").picture(**SMALL[name])
    drawn = [axes for axes in figure.axes if axes.lines or axes.images]
    assert len(drawn) > 1 or len(drawn[0].lines) > 1
    for axes in drawn:
        for image in axes.images:
            assert np.std(image.get_array()) > 0  # something is seen
    plots.save(figure, tmp_path / "picture.webp")
    with PIL.Image.open(tmp_path / "picture.webp") as picture:
        assert picture.width > 300


def test_the_gallery_has_every_script_and_its_picture_and_is_small():
    scripts = {path.stem for path in TRAINING.parent.glob("*.py")} - {TRAINING.stem}
    pictures = {path.name for path in (ROOT / "docs" / "gallery").iterdir()}
    shown = re.findall(r"python -m docs\.examples\.(\w+) docs/gallery/([\w.]+)`", GALLERY)
    assert {name for name, _ in shown} == scripts == set(SMALL)
    assert {file for _, file in shown} == pictures
    assert all(f"](gallery/{file})" in GALLERY and f"](examples/{name}.py)" in GALLERY for name, file in shown)
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()) < 1e6
