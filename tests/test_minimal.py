from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf

import models
from benchmarks import adversarial_library, minimal
from tf_smoothadv import criteria, protocol, tensors
from tf_smoothadv.attacks import DDN, FMN
from tf_smoothadv.delivery import Levels


def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]


def test_scaling_finds_the_least_factor_that_survives_rounding():
    """111.56 levels, rounded to 112; the boundary is at 111.5625, so that one level further is the least there is."""
    (originals,) = protocol.CorrectImages(model, [(tf.fill([1, 4, 4, 1], 0.5), [0])])
    adversarial = np.full([1, 4, 4, 1], 0.437499, np.float32)
    assert protocol.predict(model, adversarial) == 1
    assert protocol.predict(model, protocol.quantize(adversarial)) == 0
    np.testing.assert_allclose(minimal.scaled(model, originals, adversarial), 111 / 255, rtol=1e-6)


@pytest.mark.parametrize("contender", minimal.CONTENDERS, ids=lambda contender: contender.name({})[:-2])
def test_settings_keep_the_budget(contender):
    for values in contender.tried:
        steps = values.get("steps") or values["num_steps"]
        runs, looked = (3, 9) if contender.attack.endswith("nFMN") else (values.get("binary_search_steps", 1), 0)
        assert looked + steps * runs == contender.gradients <= 1000


def test_records_are_not_made_twice(tmp_path, monkeypatch):
    contender = minimal.Contender("tf_smoothadv", "DDN", 5, [{"steps": 5}, {"steps": 5, "norm_step": 0.1}])
    monkeypatch.setattr(minimal, "CONTENDERS", [contender])
    rows = list(minimal.run(None, 4, tmp_path, grid=True))
    assert [row["settings"] for row in rows] == ["steps 5", "steps 5, norm_step 0.1"]
    assert all(row["rounding"] == "inside" and row["images"] == 4 for row in rows)
    content = (tmp_path / "records.jsonl").read_text()
    assert list(minimal.run(None, 4, tmp_path)) == rows[:1]
    assert (tmp_path / "records.jsonl").read_text() == content


def test_without_pytorch_its_rows_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(adversarial_library, "available", lambda: False)
    monkeypatch.setattr(
        minimal, "CONTENDERS", [row for row in minimal.CONTENDERS if row.library == adversarial_library.NAME]
    )
    assert list(minimal.run(None, 4, tmp_path)) == []
    assert adversarial_library.attacks(None, 5) == {}


@pytest.fixture
def library():
    """adversarial-library, with what it does to `sys.modules` undone."""
    pytest.importorskip("torch")
    sys.modules.setdefault("triton", None)
    pytest.importorskip("adv_lib.attacks")
    return adversarial_library


def test_c4_in_pytorch_is_c4(library, digits, rng):
    import torch

    network = models.c4("clean")
    copy = library.copied(network)
    for images in (digits[0][:50].astype(np.float32), rng.random((20, 28, 28, 1), np.float32)):
        logits = copy(torch.tensor(np.moveaxis(images, 3, 1))).numpy()
        np.testing.assert_allclose(logits, network(images).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:CUDA initialization")
@pytest.mark.parametrize(
    ("name", "ours", "values"),
    [
        ("DDN", DDN(100, loss="cross_entropy"), {"steps": 100, "levels": None}),
        ("DDN", DDN(100, loss="cross_entropy", delivery=Levels()), {"steps": 100, "levels": 256}),
        ("FMN", FMN(100), {"steps": 100}),
    ],
)
def test_distortion_is_that_of_adversarial_library(library, digits, name, ours, values):
    network, images, labels = models.c4("clean"), digits[0][:20].astype(np.float32), digits[1][:20]
    theirs = library.attack(network, name, **values)(images, labels)
    result = ours(network, images, labels)
    assert result.success.numpy().all()
    # Theirs of FMN steps onto the boundary itself, and where rounding leaves it short of it nothing takes it across.
    succeeded = criteria.is_adversarial(network(theirs), labels).numpy()
    assert np.mean(succeeded) >= (0.3 if name == "FMN" else 1)
    distortion = tensors.l2_norm(tf.constant(theirs - images)).numpy()[succeeded]
    assert np.mean(result.distortion.numpy()[succeeded]) == pytest.approx(np.mean(distortion), rel=0.02)


@pytest.mark.slow
def test_distortion_of_ddn_is_that_of_foolbox(digits):
    pytest.importorskip("foolbox")
    network, images, labels = models.c4("clean"), digits[0][:20].astype(np.float32), digits[1][:20]
    theirs = minimal.foolbox(network, "DDN", steps=100, gamma=0.05, init_epsilon=1.0)(images, labels)
    result = DDN(100, loss="cross_entropy")(network, images, labels)
    assert criteria.is_adversarial(network(theirs), labels).numpy().all()
    distortion = tensors.l2_norm(tf.constant(theirs - images))
    assert np.mean(result.distortion) == pytest.approx(np.mean(distortion), rel=0.02)
