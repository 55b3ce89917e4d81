"""The random search without gradients: its pieces beside algorithm 3 in loops, and as a control of masked gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import Linear
from tf_smoothadv.attacks import FMN, Square, Standard, square

COLOR = Linear(8, (16, 15, 3))


class Masked(Linear):
    """A linear model of images in 16 levels, whose gradient is noise."""

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        noise = np.random.default_rng(1).normal(size=self.a.shape).astype(np.float32)

        @tf.custom_gradient
        def coarse(x):
            return tf.round(15 * x) / 15, lambda upstream: 0 * upstream + noise

        return super().__call__(coarse(images))


MASKED = Masked(8, (16, 15, 1))


def placed(values: np.ndarray, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    image = np.zeros(shape)
    image[corner[0] : corner[0] + len(values), corner[1] : corner[1] + len(values)] = values
    return image


class TestPieces:
    def test_hill_of_three(self):
        """Distances 0 and 1: 1 + 1/4 in the middle, 1/4 around it."""
        values = np.full((3, 3), 0.25)
        values[1, 1] = 1.25
        np.testing.assert_allclose(square.hill(3, 3), values / np.linalg.norm(values), rtol=1e-6)

    @pytest.mark.parametrize("h", [3, 5, 9])
    def test_pattern_is_a_hill_above_a_valley_of_norm_one(self, h):
        values = square.pattern(h).numpy()
        assert values.shape == (h, h)
        assert np.all(values[: h // 2] > 0)
        assert np.all(values[h // 2 :] < 0)
        assert np.linalg.norm(values) == pytest.approx(1)

    @pytest.mark.parametrize(("side", "query"), [(299, 0), (299, 30), (28, 9000), (4, 0), (3, 0), (33, 200)])
    def test_side_falls_by_the_schedule(self, side, query):
        share = 0.8 / 2 ** sum(query > when for when in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
        h = int(square.side([1, side, side, 1], query))
        assert h % 2 == 1
        assert 3 <= h <= side
        assert h == 3 or abs(h - np.sqrt(share) * side) <= 1.5

    def test_moved_is_algorithm_3(self, rng):
        """In float64, an image and a channel after the other."""
        h, shape = 5, (16, 15, 3)
        r = rng.normal(size=(6, *shape)).astype(np.float32)
        epsilon = np.linalg.norm(r.reshape(6, -1), axis=1).astype(np.float32) * 1.2
        drawn = square.draws(tf.constant(r), h, tf.constant([3, 4]))
        assert len({tuple(corner) for corner in drawn.first.numpy()}) > 1
        assert set(drawn.turned.numpy()) == {False, True}
        moved = square.moved(tf.constant(r), tf.constant(epsilon), h, drawn).numpy()
        for image, result, limit, first, second, sign, turned in zip(r, moved, epsilon, *drawn):
            eta = square.pattern(h).numpy()
            eta = eta.T if turned else eta
            expected = image.astype(np.float64)
            unused = limit**2 - np.sum(expected**2)
            one, other = (placed(np.ones((h, h)), corner, shape[:2]) > 0 for corner in (first, second))
            for channel in range(3):
                values = expected[..., channel].copy()
                mixed = float(sign[0, 0, channel]) * placed(eta, first, shape[:2])[one] + values[one] / np.linalg.norm(
                    values[one]
                )
                available = np.sqrt(np.sum(values[one | other] ** 2) + unused / 3)
                expected[..., channel][other] = 0
                expected[..., channel][one] = mixed / np.linalg.norm(mixed) * available
            np.testing.assert_allclose(result, expected, atol=1e-5)
            assert np.linalg.norm(result) == pytest.approx(limit, rel=1e-5)


class TestAttack:
    @pytest.mark.parametrize("delivery", [None, sa.Levels(1024)])
    def test_finds_the_boundary_of_a_linear_model_within_epsilon(self, delivery):
        epsilon = 4 * float(COLOR.optimum().max())
        result = Square(epsilon, 2000, delivery)(COLOR, COLOR.images, COLOR.labels)
        assert np.all(result.success)
        assert np.all(result.distortion <= epsilon * (1 + 1e-3))
        assert np.all(result.distortion >= COLOR.optimum())
        assert np.all(result.gradients <= 2000)
        assert result.trace.shape == (8, 2001)

    def test_finds_nothing_before_the_boundary(self):
        epsilon = 0.9 * float(COLOR.optimum().min())
        result = Square(epsilon, 50)(COLOR, COLOR.images, COLOR.labels)
        assert not np.any(result.success)
        assert np.all(result.gradients == 50)

    def test_more_calls_find_more_and_the_seed_is_what_is_random(self):
        epsilon = 3 * float(COLOR.optimum().max())
        runs = [Square(epsilon, queries, seed=seed)(COLOR, COLOR.images, COLOR.labels) for queries, seed in
                [(20, 0), (300, 0), (300, 0), (300, 1)]]  # fmt: skip
        assert np.sum(runs[0].success) < np.sum(runs[1].success)
        np.testing.assert_array_equal(runs[1].adversarial, runs[2].adversarial)
        assert np.any(runs[1].adversarial != runs[3].adversarial)

    def test_targets_are_reached(self):
        epsilon = 4 * float(COLOR.optimum().max())
        result = Square(epsilon, 2000)(COLOR, COLOR.images, COLOR.labels, targets=1 - COLOR.labels)
        assert np.all(np.argmax(COLOR(result.adversarial), axis=1) == 1)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Square(0.0), r"epsilon must be a number in \(0, inf\)"),
            (lambda: Square(1.0, 0), "queries must be"),
            (lambda: Square(1.0, seed=-1), "seed must be"),
            (lambda: Square(1.0, delivery=8), "delivery must be"),
        ],
    )
    def test_bad_values(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class TestControl:
    EPSILON = 3 * float(MASKED.optimum().max())

    @pytest.mark.slow
    def test_masked_gradients_are_told(self):
        found = FMN(30)(MASKED, MASKED.images, MASKED.labels)
        assert not np.any(found.success & (found.distortion <= self.EPSILON))
        result = Standard((self.EPSILON,))(MASKED, MASKED.images, MASKED.labels)
        assert np.any(result.masked)
        np.testing.assert_array_equal(result.masked, result.success & (result.distortion <= self.EPSILON))
        assert np.all(result.trace.numpy()[result.masked].min(axis=1) > self.EPSILON)  # which is of the gradients

    def test_without_control_nothing_is_told(self):
        result = Standard((self.EPSILON,), queries=0)(MASKED, MASKED.images, MASKED.labels)
        assert not np.any(result.masked)
        assert not np.any(result.success & (result.distortion <= self.EPSILON))

    @pytest.mark.slow
    @pytest.mark.parametrize("factor", [0.9, 1.1])
    def test_open_gradients_are_not_called_masked(self, factor):
        """Neither where the model is robust at epsilon nor where it is not."""
        result = Standard((factor * float(COLOR.optimum()[0]),))(COLOR, COLOR.images, COLOR.labels)
        assert not np.any(result.masked)

    @pytest.mark.slow
    def test_a_steep_softmax_does_not_mask(self):
        """Logits of a network distilled at temperature 100: its softmax saturates, its margin does not."""
        result = Standard((1.05 * float(COLOR.optimum().max()),))(lambda x: 1e4 * COLOR(x), COLOR.images, COLOR.labels)
        np.testing.assert_allclose(result.distortion, COLOR.optimum(), rtol=2e-3)
        assert not np.any(result.masked)
