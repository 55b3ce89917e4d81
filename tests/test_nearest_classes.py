"""An attack aimed at the nearest classes, on models that are linear in each class: their boundaries are planes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tf_smoothadv import protocol, shaping
from tf_smoothadv.attacks import FGSM, FMN, PGD2, CarliniWagner, NearestClasses
from tf_smoothadv.attacks.nearest_classes import distance
from tf_smoothadv.evaluation import families, parameters, presets, variants
from tf_smoothadv.front import over_alpha

SPEC = sa.Smoothing(alpha=0.9, gamma=3.0)
CLASSES = 7


class Planes:
    """Logits a_k'(x - image) + b_k, class 0 ahead of the next by 0.1; the nearer a boundary the smaller its logit."""

    def __init__(self, images: int = 3, shape: tuple[int, int, int] = (8, 8, 1)) -> None:
        rng = np.random.default_rng(0)
        self.image = protocol.quantize(rng.uniform(0.4, 0.6, size=shape).astype(np.float32))
        self.images = np.repeat(self.image[None], images, axis=0)
        self.labels = np.zeros(images, np.int32)
        self.b = -0.1 * np.arange(CLASSES, dtype=np.float32)
        away = np.array([np.inf, 1.2, 1.0, 0.8, 0.6, 0.4, 0.5], np.float32)
        a = rng.normal(size=(CLASSES, *shape)).astype(np.float32)
        norms = np.linalg.norm(a.reshape(CLASSES, -1), axis=1)
        self.a = a * (-self.b / (away * norms))[:, None, None, None]
        self.distances = away

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(images - self.image, self.a, axes=[[1, 2, 3], [1, 2, 3]]) + self.b

    def batch(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, labels and logits."""
        return tf.constant(self.images), tf.constant(self.labels), self(self.images)

    def along(self, smoothing: sa.Smoothing | None) -> np.ndarray:
        """The distance of each class's boundary along its gradient, smoothed if there is a smoothing; [CLASSES - 1]."""
        if smoothing is None:
            return self.distances[1:]
        normals = -self.a[1:]
        smooth = smoothing.guided_by(np.repeat(self.image[None], CLASSES - 1, axis=0))(normals).numpy()
        norms = np.linalg.norm(smooth.reshape(CLASSES - 1, -1), axis=1)
        return -self.b[1:] * norms / np.sum(normals * smooth, axis=(1, 2, 3))


@pytest.mark.parametrize(
    "smoothing", [pytest.param(None, id="plain", marks=pytest.mark.slow), pytest.param(SPEC, id="smooth")]
)
class TestLinear:
    def test_distance_is_that_of_the_plane(self, smoothing):
        model = Planes(CLASSES - 1)
        shaper = shaping.of(model.images, smoothing, None)
        candidates = tf.range(1, CLASSES)
        found = distance(sa.Classifier(model), tf.constant(model.images), tf.constant(model.labels), candidates, shaper)
        np.testing.assert_allclose(found, model.along(smoothing), rtol=1e-4)

    def test_classes_come_nearest_first(self, smoothing):
        model = Planes()
        attack = NearestClasses(FMN(5, smoothing=smoothing), classes=4)
        shaper = shaping.of(model.images, smoothing, None)
        nearest, gradients = attack.nearest(sa.Classifier(model), *model.batch(), shaper)
        order = 1 + np.argsort(model.along(smoothing))
        assert nearest.numpy().tolist() == [[k] * 3 for k in order[:4]]
        assert gradients == CLASSES - 1

    def test_reaches_the_nearest_boundary(self, smoothing):
        model = Planes()
        result = NearestClasses(FMN(100, smoothing=smoothing), classes=1)(model, model.images, model.labels)
        assert np.all(result.success)
        best = model.along(smoothing).min()
        assert np.all(result.distortion <= 1.005 * best)
        assert np.all(result.distortion >= best * (1 - 1e-4))
        untargeted = FMN(100, smoothing=smoothing)(model, model.images, model.labels)
        assert np.all(untargeted.distortion > 1.1 * best)


def test_keeps_the_best_of_its_targets_and_their_traces():
    model, base = Planes(), FMN(12)
    attack = NearestClasses(base, classes=3)
    result = attack(model, model.images, model.labels)
    nearest, looked = attack.nearest(sa.Classifier(model), *model.batch(), shaping.of(model.images, None, None))
    alone = [base(model, model.images, model.labels, targets=targets) for targets in nearest]
    np.testing.assert_allclose(result.distortion, np.min([each.distortion for each in alone], axis=0), rtol=1e-5)
    assert result.gradients.numpy().tolist() == [looked + 3 * 12] * 3
    trace = result.trace.numpy()
    assert trace.shape == (3, looked + 3 * 12 + 1)
    assert np.all(np.isinf(trace[:, :looked]))
    for rank, each in enumerate(alone):
        start = looked + 12 * rank
        np.testing.assert_allclose(trace[:, start + 1 : start + 12], each.trace[:, 1:-1], rtol=1e-5)


def test_few_classes():
    """Of two classes there is one to aim at."""
    model, base = Planes(), FMN(30)
    two = lambda images: model(images)[:, :2]  # noqa: E731
    result = NearestClasses(base)(two, model.images, model.labels)
    np.testing.assert_allclose(result.distortion, base(two, model.images, model.labels).distortion, rtol=1e-5)
    assert result.gradients.numpy().tolist() == [31] * 3


def test_what_is_misclassified_stays_as_it_is():
    model = Planes()
    result = NearestClasses(FMN(5, delivery=sa.Levels()))(model, model.images, np.array([0, 3, 6]))
    assert result.distortion.numpy()[1:].tolist() == [0, 0]
    assert np.all(result.distortion[0] > 0.3)


def test_a_class_that_nothing_changes_is_infinitely_far():
    flat = lambda images: tf.stack([1 + 0 * images[:, 0, 0, 0], 0 * images[:, 0, 0, 0]], axis=1)  # noqa: E731
    images = tf.fill([1, 4, 4, 1], 0.5)
    shaper = shaping.of(images, None, None)
    assert np.isinf(distance(sa.Classifier(flat), images, tf.constant([0]), tf.constant([1]), shaper))


@pytest.mark.parametrize(
    "base",
    [
        PGD2(3.0, 0.5, 5, binary_search_steps=4),
        pytest.param(PGD2(3.0, 0.5, 5, SPEC, binary_search_steps=4), marks=pytest.mark.slow),
        pytest.param(CarliniWagner(20, 2, initial_const=3.0, smoothing=SPEC), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_aims_any_attack(base):
    model = Planes()
    assert np.all(NearestClasses(base)(model, model.images, model.labels).success)


def test_replaced_changes_the_attack_that_is_aimed():
    attack = NearestClasses(FMN(30), classes=2)
    changed = attack.replaced(delivery=sa.Levels(), smoothing=SPEC, classes=3)
    assert changed == NearestClasses(FMN(30, smoothing=SPEC, delivery=sa.Levels()), classes=3)
    assert attack == NearestClasses(FMN(30), classes=2)
    assert over_alpha(attack, [0.0, 0.9], SPEC) == {
        "nearestclasses-0": attack,
        "nearestclasses-0.9": attack.replaced(smoothing=SPEC),
    }


def test_its_preset_takes_a_hundred_gradients_and_is_told_whole():
    for family in families.FAMILIES:
        preset = presets.preset(family, "tuned", ["nfmn", "snfmn"], levels=256)
        for (attack,) in preset.values():
            assert attack.candidates + attack.classes * attack.base.steps <= 100
            assert attack.base.delivery == sa.Levels()
            told = parameters.described([attack])
            assert told["attack"] == "NearestClasses"
            assert told["base"]["attack"] == "FMN"
            assert told["base"]["steps"] == attack.base.steps
        assert preset["snfmn"][0].base.smoothing is not None


def test_a_front_gives_it_as_many_gradients_as_the_others():
    preset = variants.front("digits", "tuned", ["fmn", "nfmn"], [0.0, 0.9], gradients=40)
    assert list(preset) == ["fmn-0", "fmn-0.9", "nfmn-0", "nfmn-0.9"]
    assert preset["fmn-0"][0].steps == 40
    (attack,) = preset["nfmn-0.9"]
    assert attack.base.steps == 10
    assert attack.base.smoothing.alpha == 0.9
    assert attack.base.delivery == sa.Levels()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NearestClasses(3), "base must be an attack .* received 3"),
        (lambda: NearestClasses(NearestClasses(FMN())), "base must be an attack"),
        (lambda: NearestClasses(FMN(), classes=0), "classes must be an integer of at least 1; received 0"),
        (lambda: NearestClasses(FMN(), candidates=2.0), "candidates must be an integer of at least 1"),
        (lambda: NearestClasses(FMN(), classes=10), "classes must be at most candidates; received classes=10"),
        (lambda: NearestClasses(FMN()).replaced(steps=0), "steps must be an integer of at least 1; received 0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_targets_are_its_own():
    model = Planes()
    with pytest.raises(ValueError, match="NearestClasses chooses"):
        NearestClasses(FGSM(0.1))(model, model.images, model.labels, targets=np.array([1, 1, 1]))


@pytest.mark.slow
def test_one_compiled_loop_for_all_sizes_of_batch():
    calls = []

    class Counted(Planes):
        def __call__(self, images):
            if not tf.executing_eagerly():
                calls.append(images.shape)
            return super().__call__(images)

    model, attack = Counted(4), NearestClasses(FMN(3))
    attack(model, model.images, model.labels)
    traced = len(calls)
    attack(model, model.images[:3], model.labels[:3])
    assert len(calls) == traced
