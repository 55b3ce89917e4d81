"""The standard evaluation, on models whose nearest boundary is known and beside the attacks that it is made of."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import COLOR, FOUR, SPEC, alone_and_together, and_first
from tests.test_nearest_classes import Planes
from tf_smoothadv.attacks import ALMA, FMN, NearestClasses, Standard, standard

EPSILONS = (0.8, 1.0, 1.2)
LOOKED = 9  # classes of `Curved` but the label
FIRST = LOOKED + standard.STAGES[0].attack.steps


class Curved:
    """Ten classes, logits W tanh(V x), without symmetry: attacks end in several minima."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.inner = tf.constant(rng.normal(size=(64, 40)).astype(np.float32) / 2)
        self.outer = tf.constant(rng.normal(size=(40, 10)).astype(np.float32))
        self.images = rng.uniform(size=(24, 8, 8, 1)).astype(np.float32)
        self.labels = np.argmax(self(self.images), axis=1)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.tanh(tf.reshape(images - 0.5, [-1, 64]) @ self.inner) @ self.outer


CURVED = Curved()


@pytest.fixture(scope="module")
def least() -> sa.AttackResult:
    """The least distortion, every stage on every image."""
    return Standard()(CURVED, CURVED.images, CURVED.labels)


class TestLinear:
    @pytest.mark.parametrize("epsilons", [(), (0.01,), (100.0,), (0.1, 0.3, 0.5)])
    def test_reaches_the_optimum(self, epsilons):
        adversarial = alone_and_together(Standard(epsilons), COLOR)
        distortion = np.linalg.norm((adversarial - and_first(COLOR.images)).reshape(4, -1), axis=1)
        np.testing.assert_allclose(distortion, and_first(COLOR.optimum()), rtol=2e-3)

    @pytest.mark.slow
    def test_reaches_the_nearest_of_several_boundaries(self):
        model = Planes()
        result = Standard()(model, model.images, model.labels)
        np.testing.assert_allclose(result.distortion, model.distances.min(), rtol=2e-3)

    @pytest.mark.slow
    def test_smooth_stops_at_the_boundary_along_the_smoothed_gradient(self):
        direction = COLOR.smoothed_direction(SPEC)
        norms = np.linalg.norm(direction.reshape(3, -1), axis=1)
        thresholds = COLOR.margins * norms / np.sum(COLOR.a * direction, axis=(1, 2, 3))
        result = Standard(smoothing=SPEC)(COLOR, COLOR.images, COLOR.labels)
        np.testing.assert_allclose(result.distortion, thresholds, rtol=0.02)

    @pytest.mark.slow
    def test_rounded_to_levels_every_pixel_has_one(self):
        result = Standard(delivery=sa.Levels())(COLOR, COLOR.images, COLOR.labels)
        assert np.all(result.success)
        np.testing.assert_allclose(result.adversarial * 255, np.round(result.adversarial * 255), atol=1e-3)


class TestEpsilons:
    def test_none_is_as_robust_as_without_the_others(self, least):
        """What leaves early is decided already; what is too far away goes no further."""
        result = Standard(EPSILONS)(CURVED, CURVED.images, CURVED.labels)
        for epsilon in EPSILONS:
            np.testing.assert_array_equal(result.distortion <= epsilon, least.distortion <= epsilon)
        assert np.mean(result.gradients) < 0.8 * np.mean(least.gradients)

    def test_what_is_decided_leaves_after_the_first_attack(self):
        result = Standard((100.0,))(CURVED, CURVED.images, CURVED.labels)
        assert np.all(result.gradients == FIRST)

    def test_what_is_far_from_every_epsilon_leaves_after_the_first_attack(self):
        result = Standard((1e-3,))(CURVED, CURVED.images, CURVED.labels)
        assert np.all(result.gradients == FIRST)

    def test_an_image_gets_each_attack_while_it_pays(self, least):
        """The gradients of each image, by the distortions that the trace of all the attacks shows."""
        result = Standard(EPSILONS)(CURVED, CURVED.images, CURVED.labels)
        for trace, other, gradients in zip(least.trace.numpy(), result.trace.numpy(), result.gradients.numpy()):
            taken, position, distortion = LOOKED, LOOKED, np.inf
            for stage in standard.STAGES:
                skipped = stage is not standard.STAGES[0] and not any(
                    epsilon < distortion < stage.reach * epsilon for epsilon in EPSILONS
                )
                if skipped:
                    break  # the reaches fall: what a later attack does not reach, none behind it does
                taken, position = taken + stage.attack.steps, position + stage.attack.steps
                distortion = trace[: position + 1].min()
            assert gradients == taken
            np.testing.assert_allclose(other.min(), distortion, rtol=1e-4)

    def test_reaches_fall(self):
        reaches = [stage.reach for stage in standard.STAGES]
        assert reaches == sorted(reaches, reverse=True)


class TestBesideItsParts:
    @pytest.mark.parametrize("part", [FMN(), ALMA(), NearestClasses(FMN())], ids=["fmn", "alma", "nfmn"])
    def test_is_no_worse_than_each_with_the_same_gradients(self, part, least):
        gradients = int(least.gradients[0])
        alone = part.within(gradients)(CURVED, CURVED.images, CURVED.labels)
        distortion = np.where(alone.success, alone.distortion, np.inf)
        for epsilon in EPSILONS:
            assert np.sum(least.distortion <= epsilon) >= np.sum(distortion <= epsilon)
        assert np.median(least.distortion) <= 1.001 * np.median(distortion)

    def test_begins_with_the_first_of_them(self, least):
        trace = least.trace.numpy()
        assert np.all(np.isinf(trace[:, :LOOKED]))
        assert np.all(least.distortion <= trace[:, : FIRST + 1].min(axis=1))


class TestRefuses:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epsilons": (0.0,)}, r"epsilons must be a number in \(0, inf\); received 0.0"),
            ({"epsilons": ("1",)}, r"epsilons must be a number in \(0, inf\); received '1'"),
            ({"epsilons": 1.0}, "epsilons must be a tuple of numbers; received 1.0"),
            ({"smoothing": 1}, "smoothing"),
            ({"delivery": 8}, "delivery"),
        ],
    )
    def test_what_is_no_setting(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Standard(**settings)

    def test_targets(self):
        with pytest.raises(ValueError, match="targets must be None: Standard chooses the classes itself"):
            Standard()(FOUR, FOUR.images, FOUR.labels, targets=1 - FOUR.labels)

    def test_a_number_of_gradients(self):
        with pytest.raises(ValueError, match="gradients is of attacks that have steps, such as fmn; received 25"):
            Standard().within(25)
