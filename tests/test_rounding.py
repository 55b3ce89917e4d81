from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tests.conftest import SAMPLE
from tests.many_runs import here
from tf_smoothadv import protocol, rounding
from tf_smoothadv.attacks import FMN, PGD2
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import mnist

SIDE = 3


class Linear:
    """Class 0 while <w, x> stays below the threshold; the margin falls by 2 <w, r>."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.w = rng.normal(size=[SIDE, SIDE, 1]).astype(np.float32)
        self.original = (rng.integers(60, 196, size=[1, SIDE, SIDE, 1]) / 255).astype(np.float32)
        self.reach = 4.3 / 255 * float(np.linalg.norm(self.w))
        self.threshold = float(np.sum(self.w * self.original)) + self.reach

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        excess = tf.reduce_sum(x * self.w, axis=[1, 2, 3]) - self.threshold
        return tf.stack([-excess, excess], axis=1)

    def beyond(self, share: float) -> np.ndarray:
        """The image moved along w by this share of the way to the boundary."""
        return self.original + share * self.reach * self.w / np.sum(np.square(self.w))


def levels_of(images) -> np.ndarray:
    levels = 255 * np.asarray(images, np.float64)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    return np.round(levels)


@pytest.mark.parametrize("seed", [0, 1, 4, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 5, 6, 7))])
def test_it_takes_the_least_multiplier_that_keeps_an_image_adversarial(seed):
    """Of a linear model all roundings that any multiplier gives are known: pixels go down the slope in one order."""
    model = Linear(seed)
    adversarial = model.beyond(1.02)
    o, a = levels_of(model.original), 255 * adversarial.astype(np.float64)
    below, above = np.floor(a), np.ceil(a)
    loss = (np.square(above - o) - np.square(below - o)) / np.abs(model.w)
    turn = np.where(model.w > 0, loss, -loss)  # the multiplier from which a pixel takes the level down the slope
    uphill, downhill = np.where(model.w > 0, below, above), np.where(model.w > 0, above, below)
    tried = [np.where(turn <= multiplier, downhill, uphill) for multiplier in (0, *np.sort(turn, axis=None))]
    successes = [v for v in tried if float(np.sum(model.w * v / 255)) > model.threshold]
    expected = min(float(np.linalg.norm(v - o)) / 255 for v in successes)

    result = sa.deliver(model, model.original, adversarial, [0])
    assert result.success.numpy().all()
    assert np.all((levels_of(result.adversarial) == below) | (levels_of(result.adversarial) == above))
    assert float(result.distortion[0]) == pytest.approx(expected, rel=1e-4)
    every = [np.array(v).reshape(o.shape) for v in itertools.product(*zip(below.ravel(), above.ravel()))]
    best = min(np.linalg.norm(v - o) for v in every if np.sum(model.w * v / 255) > model.threshold) / 255
    assert best * 0.9999 <= float(result.distortion[0]) <= 1.1 * best


def test_a_perturbation_that_falls_short_grows():
    model = Linear(1)
    result = sa.deliver(model, model.original, model.beyond(0.8), [0])
    assert result.success.numpy().all()
    assert 1 <= int(result.gradients[0]) <= rounding.ATTEMPTS
    hopeless = sa.deliver(model, model.original, model.original, [0])
    assert not hopeless.success.numpy().any()
    assert int(hopeless.gradients[0]) == rounding.ATTEMPTS


def test_images_of_levels_stay_as_they_are():
    model = Linear(2)
    adversarial = np.clip(np.round(255 * model.beyond(1.5)) / 255, 0, 1).astype(np.float32)
    result = sa.deliver(model, model.original, adversarial, [0])
    np.testing.assert_array_equal(levels_of(result.adversarial), levels_of(adversarial))
    assert int(result.gradients[0]) == 1


def test_every_pair_of_levels_stays_as_it_is():
    """Computed from the difference of two levels, a tenth of the values would be beside theirs, by the last bit."""
    level = np.arange(256, dtype=np.float32) / np.float32(255)
    original, adversarial = (np.reshape(side, [1, 256, 256, 1]) for side in np.meshgrid(level, level))

    def model(x: tf.Tensor) -> tf.Tensor:  # of class 1 whatever it sees, and with a slope
        total = tf.reduce_sum(x, axis=[1, 2, 3])
        return tf.stack([-total, total], axis=1)

    result = sa.deliver(model, original, adversarial, [0])
    np.testing.assert_array_equal(levels_of(result.adversarial), levels_of(adversarial))


@pytest.mark.parametrize(
    "levels", [2, pytest.param(16, marks=pytest.mark.slow), 256, pytest.param(4096, marks=pytest.mark.slow)]
)
def test_any_number_of_levels(levels):
    model = Linear(3)
    result = sa.deliver(model, model.original, np.clip(model.beyond(3.0), 0, 1), [0], levels=levels)
    places = np.asarray(result.adversarial, np.float64) * (levels - 1)
    np.testing.assert_allclose(places, np.round(places), atol=1e-3)
    assert bool(result.success[0]) == bool(np.argmax(model(result.adversarial)) == 1)


@pytest.fixture(scope="module")
def digits():
    images, labels = mnist.read(str(SAMPLE), "test")
    return images[:24], labels[:24]


class TestDigits:
    def test_what_rounding_undoes_is_adversarial_again(self, digits):
        images, labels = digits
        model = models.c4()
        given = FMN(30)(model, images, labels)
        nearest = protocol.predict(model, protocol.quantize(given.adversarial.numpy())) != labels
        result = sa.deliver(model, images, given.adversarial, labels)
        before, after = given.success.numpy(), result.success.numpy()
        assert nearest[before].mean() < 0.9
        assert after[before].all()
        assert np.array_equal(after, protocol.predict(model, result.adversarial) != labels)
        ratio = result.distortion.numpy()[before].mean() / given.distortion.numpy()[before].mean()
        assert ratio < 1.05

    def test_targets_are_kept(self, digits):
        images, labels = digits[0][:8], digits[1][:8]
        model, targets = models.c4(), (digits[1][:8] + 1) % 10
        given = PGD2(4.0, 0.5, 30, loss="margin")(model, images, labels, targets)
        result = sa.deliver(model, images, given.adversarial, labels, targets=targets)
        classes = protocol.predict(model, result.adversarial)
        assert np.array_equal(result.success.numpy(), classes == targets)
        assert result.success.numpy()[given.success.numpy()].all()

    def test_an_image_does_not_depend_on_its_batch(self, digits):
        images, labels = digits[0][:6], digits[1][:6]
        model = models.c4()
        adversarial = np.clip(images + np.linspace(-0.1, 0.2, 6)[:, None, None, None], 0, 1).astype(np.float32)
        whole = sa.deliver(model, images, adversarial, labels)
        for place in range(6):
            some = slice(place, place + 1)
            alone = sa.deliver(model, images[some], adversarial[some], labels[some])
            assert bool(alone.success[0]) == bool(whole.success[place])
            assert float(alone.distortion[0]) == pytest.approx(float(whole.distortion[place]), abs=0.02)

    def test_it_is_compiled_once(self, digits):
        images, labels = digits[0][:4], digits[1][:4]
        traces = []
        network = models.c4()

        def model(x: tf.Tensor) -> tf.Tensor:
            traces.append(x.shape) if tf.is_symbolic_tensor(x) else None
            return network(x)

        sa.deliver(model, images, images, labels)
        before = len(traces)
        for levels, count in ((256, 4), (128, 3), (64, 2)):
            sa.deliver(model, images[:count], 0.9 * images[:count], labels[:count], levels=levels)
        assert len(traces) == before > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adversarial": np.zeros([1, SIDE, SIDE, 3], np.float32)}, "adversarial must have the shape of the originals"),
        ({"adversarial": np.full([1, SIDE, SIDE, 1], 1.5, np.float32)}, r"adversarial must lie in \[0, 1\]"),
        ({"adversarial": np.full([1, SIDE, SIDE, 1], np.nan, np.float32)}, "adversarial"),
        ({"originals": np.full([1, SIDE, SIDE, 1], 3, np.uint8)}, "originals must be"),
        ({"levels": 1}, "levels must be an integer of at least 2; received 1"),
        ({"levels": 255.5}, "levels must be an integer"),
        ({"labels": [7]}, "labels must be below the model's 2 classes; received 7"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)
def test_what_is_refused(arguments, message):
    model = Linear(0)
    given = {"originals": model.original, "adversarial": model.original, "labels": [0], **arguments}
    with pytest.raises(ValueError, match=message):
        sa.deliver(model, **given)


def test_the_binary_delivers_what_anybody_made(digits, tmp_path):
    images, labels = digits[0][:12], digits[1][:12]
    model = models.c4()
    given = FMN(30)(model, images, labels)
    np.savez(tmp_path / "mine.npz", images=given.adversarial.numpy()[:11])
    flags = ["--num_images=12", "--batch_size=5", f"--output={tmp_path / 'out'}"]
    finished = here("eval.deliver", *flags, tmp_path / "mine.npz")
    assert finished.status == 0, finished.stderr
    assert "mine: 1 of the 12 images have no adversarial image, the first of them 00011" in finished.stdout
    kept = records.read(tmp_path / "out")
    by_index = {record.index: record for record in kept.run.records}
    for index in range(11):
        assert by_index[index].delivered.success == by_index[index].computed.success
        assert by_index[index].delivered.success or not given.success[index]
        assert by_index[index].delivered.distortion == pytest.approx(by_index[index].computed.distortion, abs=1e-5)
        assert kept.picture(index, "mine").exists()
    assert not by_index[11].delivered.success
    summary = json.loads((tmp_path / "out" / records.SUMMARY).read_text())
    assert summary["attacks"]["mine"]["p_suc_8bit"] == pytest.approx(np.mean([*given.success[:11], False]))
    lines = (tmp_path / "out" / records.RECORDS).read_text()
    assert here("eval.deliver", *flags, tmp_path / "mine.npz").status == 0
    assert (tmp_path / "out" / records.RECORDS).read_text() == lines
    refused = here("eval.referee", *flags, tmp_path / "mine.npz")
    assert refused.status == 2
    assert "name another --output" in refused.stderr
    assert here("eval.deliver").status == 2
