from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests import reference
from tf_smoothadv import graph

SOLVERS = [
    pytest.param({"solver": "dense"}, id="dense"),
    pytest.param({"solver": "cg", "iterations": 300, "tol": 1e-13}, id="cg"),
    pytest.param({"solver": "chebyshev", "iterations": 6}, id="chebyshev-6"),
    pytest.param({"solver": "chebyshev", "tol": 1e-12}, id="chebyshev"),
]


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.random((3, 7, 8, 3))


class TestRounded:
    """Integers near x in the norm e'(I - alpha W)e of their error e."""

    def error(self, smoother: sa.Smoother, q: np.ndarray, x: np.ndarray) -> np.ndarray:
        """e' L_alpha e (1 - alpha) of each image, by the dense operator, per channel."""
        e = np.moveaxis(q - x, 3, 1).reshape(*x.shape[:1], x.shape[3], -1, 1)
        matrix = smoother.operator.to_dense().numpy()
        matrix = matrix[:, None] if matrix.ndim == 3 else matrix
        return np.sum(e * (matrix @ e), axis=(1, 2, 3)) * (1 - smoother.spec.alpha)

    @pytest.mark.parametrize("color", ["joint", pytest.param("per_channel", marks=pytest.mark.slow)])
    def test_hardly_a_change_of_one_pixel_by_one_is_better(self, color, images, rng):
        smoother = sa.Smoothing(0.9, 3.0, color=color).guided_by(images)
        x = rng.normal(size=images.shape)
        q = smoother.rounded(x).numpy()
        base = self.error(smoother, q, x)
        assert np.all(q == np.round(q))
        assert np.all(base < self.error(smoother, np.round(x), x))
        worse = 0
        for pixel in np.ndindex(*images.shape[1:]):
            for change in (-1, 1):
                moved = q.copy()
                moved[(slice(None), *pixel)] += change
                worse += self.error(smoother, moved, x) >= base - 1e-9
        assert np.all(worse >= 0.97 * 2 * np.prod(images.shape[1:]))

    def test_without_bandwidth_it_is_the_nearest_integer(self, images, rng):
        x = 3 * rng.normal(size=images.shape)
        np.testing.assert_array_equal(sa.Smoothing(0.0).guided_by(images).rounded(x), np.round(x))

    def test_integers_stay(self, images, rng):
        x = np.round(3 * rng.normal(size=images.shape))
        np.testing.assert_array_equal(sa.Smoothing(0.99).guided_by(images).rounded(x), x)

    def test_a_shift_by_integers_shifts_the_result(self, images, rng):
        x, shift = rng.normal(size=images.shape), np.round(5 * rng.normal(size=images.shape))
        smoother = sa.Smoothing(0.99).guided_by(images)
        np.testing.assert_array_equal(smoother.rounded(x + shift), smoother.rounded(x) + shift)

    def test_a_smooth_signal_is_smoother_than_rounded_to_the_nearest(self, rng):
        guide = rng.random((1, 32, 32, 1)) * 0.1
        smoother = sa.Smoothing(0.99, 10.0).guided_by(guide)
        x = smoother(rng.normal(size=guide.shape)).numpy()
        x *= 0.8 / np.abs(x).max()
        assert smoother.energy(smoother.rounded(x)) < 0.7 * smoother.energy(np.round(x))

    def test_in_a_function_of_any_batch(self, images, rng):
        x = rng.normal(size=images.shape)
        spec = sa.Smoothing(0.9)
        function = tf.function(
            lambda guide, x: spec.guided_by(guide).rounded(x),
            input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.float64)] * 2,
        )
        for size in (3, 1):
            np.testing.assert_array_equal(
                function(images[:size], x[:size]), spec.guided_by(images[:size]).rounded(x[:size])
            )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("color", graph.COLORS)
class TestLinearMap:
    """What holds of the normalised smoothing whatever the solver, and however few its sweeps."""

    def test_constants_are_preserved(self, solver, color, images):
        smoother = sa.Smoothing(0.95, color=color, **solver).guided_by(images)
        np.testing.assert_allclose(smoother(np.full_like(images, 0.3)), 0.3, rtol=1e-10)

    def test_linearity(self, solver, color, images, rng):
        smoother = sa.Smoothing(0.95, color=color, **solver).guided_by(images)
        u, v = rng.normal(size=(2, *images.shape))
        np.testing.assert_allclose(smoother(2 * u - 3 * v), 2 * smoother(u) - 3 * smoother(v), atol=1e-9)

    def test_s_is_symmetric(self, solver, color, images, rng):
        smoother = sa.Smoothing(0.95, color=color, **solver).guided_by(images)
        u, v = rng.normal(size=(2, *images.shape))
        np.testing.assert_allclose(np.sum(u * smoother.solve(v)), np.sum(v * smoother.solve(u)), rtol=1e-9)

    def test_adjoint_identity(self, solver, color, images, rng):
        smoother = sa.Smoothing(0.95, color=color, **solver).guided_by(images)
        u, v = rng.normal(size=(2, *images.shape))
        np.testing.assert_allclose(np.sum(u * smoother(v)), np.sum(v * smoother.adjoint(u)), rtol=1e-9)

    def test_batch_order_and_company_do_not_matter(self, solver, color, images, rng):
        spec = sa.Smoothing(0.95, color=color, **solver)
        z = rng.normal(size=images.shape)
        together = spec.guided_by(images)(z).numpy()
        np.testing.assert_allclose(spec.guided_by(images[::-1])(z[::-1]).numpy()[::-1], together, atol=1e-13)
        np.testing.assert_allclose(spec.guided_by(images[1:2])(z[1:2]).numpy(), together[1:2], atol=1e-13)

    def test_zero_beside_non_zero_stays_zero(self, solver, color, images, rng):
        smoother = sa.Smoothing(0.95, color=color, **solver).guided_by(images)
        z = rng.normal(size=images.shape)
        z[1] = 0
        with tf.GradientTape() as tape:
            signal = tf.constant(z)
            tape.watch(signal)
            smoothed = smoother(signal)
            total = tf.reduce_sum(tf.square(smoothed))
        gradient = tape.gradient(total, signal).numpy()
        assert not np.any(smoothed[1])
        assert not np.any(gradient[1])
        assert np.all(np.isfinite(smoothed))
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("color", ["joint", pytest.param("per_channel", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_implicit_gradient_is_unrolled_dense_and_finite_difference(solver, color, images, rng):
    u, z, direction = rng.normal(size=(3, *images.shape))

    def gradient(**changes):
        smoother = sa.Smoothing(0.95, color=color, **{**solver, **changes}).guided_by(images)
        with tf.GradientTape() as tape:
            signal = tf.constant(z)
            tape.watch(signal)
            value = tf.reduce_sum(u * tf.sin(smoother(signal)))
        return tape.gradient(value, signal).numpy(), lambda x: np.sum(u * np.sin(smoother(x)))

    implicit, value = gradient(gradient="implicit")
    unrolled, _ = gradient(gradient="unrolled")
    np.testing.assert_allclose(implicit, unrolled, atol=1e-8)
    if solver.get("iterations") != 6:
        dense, _ = gradient(solver="dense", iterations=None, tol=None)
        np.testing.assert_allclose(implicit, dense, atol=1e-8)
    h = 1e-6
    difference = (value(z + h * direction) - value(z - h * direction)) / (2 * h)
    np.testing.assert_allclose(np.sum(implicit * direction), difference, rtol=1e-6)


def test_second_derivative_goes_through_the_implicit_gradient(images, rng):
    smoother = sa.Smoothing(0.9, solver="chebyshev").guided_by(images)
    z, v = tf.constant(rng.normal(size=images.shape)), tf.constant(rng.normal(size=images.shape))
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = tf.reduce_sum(tf.square(smoother(z))) / 2
        product = tf.reduce_sum(inner.gradient(value, z) * v)
    np.testing.assert_allclose(outer.gradient(product, z), smoother.adjoint(smoother(v)), atol=1e-10)


@pytest.mark.parametrize("solver", ["dense", "cg", "chebyshev"])
def test_a_pixel_without_edges_is_left_alone(solver, rng):
    images = np.zeros((2, 5, 6, 1))
    images[0, 2, 3] = 1.0  # gamma 2000: its four weights underflow, in float64 too
    z = rng.normal(size=images.shape)
    for dtype in (np.float32, np.float64):
        smoother = sa.Smoothing(0.95, gamma=2000.0, solver=solver).guided_by(images.astype(dtype))
        smoothed = smoother(z.astype(dtype)).numpy()
        assert np.all(np.isfinite(smoothed))
        np.testing.assert_allclose(smoothed[0, 2, 3], z[0, 2, 3], rtol=1e-6)
        assert abs(smoothed[1, 2, 3, 0] - z[1, 2, 3, 0]) > 1e-3


def test_normalised_smoothing_follows_the_closed_form(images, rng):
    spec = sa.Smoothing(0.95, solver="dense")
    z = rng.normal(size=images.shape)
    closed = reference.smoothed(images[0], z[0], spec) / reference.smoothed(images[0], np.ones_like(z[0]), spec)
    np.testing.assert_allclose(spec.guided_by(images)(z)[0], closed, atol=1e-10)


def test_smoothing_does_not_cross_an_edge():
    images = np.zeros((1, 8, 8, 1))
    images[:, :, 4:] = 1.0
    z = np.zeros_like(images)
    z[:, :, :4] = 1.0
    smoothed = sa.Smoothing(0.95, gamma=50.0, solver="dense").guided_by(images)(z)
    np.testing.assert_allclose(smoothed, z, atol=1e-9)


class TestEnergy:
    def test_is_the_quadratic_form(self, images, rng):
        spec = sa.Smoothing(0.95, 4.0)
        r = rng.normal(size=images.shape)
        w = reference.adjacency(images[0], spec).toarray()
        columns = r[0].reshape(-1, 3)
        expected = np.trace(columns.T @ (np.eye(len(w)) - w) @ columns) / np.sum(columns**2)
        np.testing.assert_allclose(spec.guided_by(images).energy(r)[0], expected)

    def test_of_the_extreme_signals_is_zero_and_two(self, rng):
        image = rng.random((1, 6, 7, 1))
        spec = sa.Smoothing(0.95, 4.0)
        smoother = spec.guided_by(image)
        root = np.sqrt(graph.degrees(graph.similarity_edges(tf.constant(image), 4.0, "laplacian", "joint")))
        smoothest = root.reshape(image.shape)
        checkerboard = smoothest * (1 - 2 * (np.indices((6, 7)).sum(0) % 2))[None, ..., None]
        np.testing.assert_allclose(smoother.energy(smoothest), [0], atol=1e-12)
        np.testing.assert_allclose(smoother.energy(checkerboard), [2], rtol=1e-12)

    def test_is_scale_free_and_zero_at_zero(self, images, rng):
        smoother = sa.Smoothing().guided_by(images)
        r = rng.normal(size=images.shape)
        r[2] = 0
        energy = smoother.energy(r).numpy()
        np.testing.assert_allclose(smoother.energy(1e-3 * r), energy)
        assert energy[2] == 0

    def test_penalty_is_the_sum_over_pairs_of_the_paper(self, images, rng):
        """(14), written out over all pairs, each counted twice as the sum over i and j does."""
        spec = sa.Smoothing(0.95, 4.0)
        r = rng.normal(size=images.shape)
        height, width = images.shape[1:3]
        pixels, signal = images[0].reshape(-1, 3), r[0].reshape(-1, 3)
        places = np.indices((height, width)).reshape(2, -1).T
        near = np.abs(places[:, None] - places[None]).sum(-1) == 1
        w = near * np.exp(-4.0 * np.linalg.norm(pixels[:, None] - pixels[None], axis=-1))
        hat = signal / np.sqrt(w.sum(1))[:, None]
        expected = np.sum(w * np.sum((hat[:, None] - hat[None]) ** 2, axis=-1))
        np.testing.assert_allclose(spec.guided_by(images).penalty(r)[0], expected)


def test_spec_goes_through_its_config():
    spec = sa.Smoothing(0.9, 3.0, "gaussian", "per_channel", "cg", 30, 1e-3, "unrolled")
    assert sa.Smoothing.from_config(spec.get_config()) == spec
    assert hash(sa.Smoothing.from_config(spec.get_config())) == hash(spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.0}, r"alpha must be a number in \[0, 1\); received 1.0"),
        ({"alpha": 0.9999999}, r"alpha must be at most 0.999999, beyond which float32 loses 1 - alpha"),
        ({"alpha": -0.1}, r"alpha must be a number in \[0, 1\); received -0.1"),
        ({"alpha": float("nan")}, "received nan"),
        ({"alpha": "0.9"}, "received '0.9'"),
        ({"gamma": -1.0}, r"gamma must be a number in \[0, inf\); received -1.0"),
        ({"kernel": "cubic"}, "kernel must be one of 'laplacian', 'gaussian'; received 'cubic'"),
        ({"color": "grey"}, "color must be one of 'joint', 'per_channel'; received 'grey'"),
        ({"solver": "lu"}, "solver must be one of .* received 'lu'"),
        ({"gradient": "none"}, "gradient must be one of .* received 'none'"),
        ({"iterations": 0}, "iterations must be an integer of at least 1; received 0"),
        ({"iterations": 2.5}, "received 2.5"),
        ({"tol": 0.0}, r"tol must be a number in \(0, 1\); received 0.0"),
        ({"iterations": 5, "tol": 0.1}, "received iterations=5 and tol=0.1"),
        ({"solver": "dense", "iterations": 5}, "takes neither iterations nor tol"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        sa.Smoothing(**settings)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 1)), r"guide images must have rank 4, .*received shape \(4, 4, 1\)"),
        (np.zeros((1, 4, 4, 1), np.uint8), "must be floats; received uint8; divide 8-bit values by 255"),
        (np.full((1, 4, 4, 1), 255.0), r"must lie in \[0, 1\]; received values from 255 to 255; divide 8-bit"),
        (np.full((1, 4, 4, 1), -0.1), "received values from -0.1 to -0.1"),
        (np.full((1, 4, 4, 1), 1.000001), r"received values from 1\.000001 to 1\.000001"),
        (np.full((1, 4, 4, 1), np.nan), "received values from nan to nan"),
    ],
)
def test_bad_guides(images, message):
    with pytest.raises(ValueError, match=message):
        sa.Smoothing().guided_by(images)


def test_bad_signals(images):
    smoother = sa.Smoothing().guided_by(images)
    with pytest.raises(ValueError, match=r"guide's shape \(3, 7, 8, 3\); received \(3, 7, 7, 3\)"):
        smoother(images[:, :, :7])
    with pytest.raises(ValueError, match="guide's dtype float64; received float32"):
        smoother(images.astype(np.float32))


class TestLayer:
    @pytest.fixture
    def pair(self, rng) -> tuple[np.ndarray, np.ndarray]:
        z, guide = rng.normal(size=(4, 8, 9, 3)), rng.random((4, 8, 9, 3))
        return z.astype(np.float32), guide.astype(np.float32)

    def test_computes_the_normalised_smoothing(self, pair):
        z, guide = pair
        expected = sa.Smoothing(0.95, 3.0).guided_by(guide)(z)
        np.testing.assert_allclose(sa.GuidedSmoothing(0.95, 3.0)([z, guide]), expected, atol=1e-6)

    def test_config(self):
        layer = sa.GuidedSmoothing(0.95, 3.0, kernel="gaussian", solver="cg", iterations=7, name="smooth")
        again = sa.GuidedSmoothing.from_config(layer.get_config())
        assert again.smoothing == layer.smoothing
        assert again.name == "smooth"

    def test_in_a_functional_model_that_is_saved_and_loaded(self, pair, tmp_path):
        z, guide = (keras.Input((8, 9, 3)) for _ in range(2))
        smoothed = sa.GuidedSmoothing(0.95, 3.0)([z, guide])
        assert tuple(smoothed.shape) == (None, 8, 9, 3)
        model = keras.Model([z, guide], keras.layers.Conv2D(2, 3)(smoothed))
        expected = model.predict(list(pair), verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(loaded.predict(list(pair), verbose=0), expected, atol=1e-6)

    def test_with_images_of_any_size(self, pair):
        z, guide = (keras.Input((None, None, 3)) for _ in range(2))
        model = keras.Model([z, guide], sa.GuidedSmoothing(0.95, 3.0)([z, guide]))
        expected = sa.Smoothing(0.95, 3.0).guided_by(pair[1])(pair[0])
        np.testing.assert_allclose(model.predict(list(pair), verbose=0), expected, atol=1e-6)

    def test_trains_through(self, pair):
        z, guide = (keras.Input((8, 9, 3)) for _ in range(2))
        convolved = keras.layers.Conv2D(3, 3, padding="same")(z)
        model = keras.Model([z, guide], sa.GuidedSmoothing(0.95, 3.0)([convolved, guide]))
        model.compile(optimizer="sgd", loss="mse")
        before = model.get_weights()[0].copy()
        model.fit(list(pair), pair[0], verbose=0)
        assert np.any(model.get_weights()[0] != before)
        assert np.all(np.isfinite(model.get_weights()[0]))

    def test_in_a_data_pipeline(self, pair):
        layer = sa.GuidedSmoothing(0.95, 3.0)
        dataset = tf.data.Dataset.from_tensor_slices(pair).batch(3).map(lambda z, guide: layer([z, guide]))
        found = np.concatenate([batch.numpy() for batch in dataset])
        np.testing.assert_allclose(found, sa.Smoothing(0.95, 3.0).guided_by(pair[1])(pair[0]), atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_returns_the_signals_dtype(self, pair, dtype):
        z = tf.cast(pair[0], dtype)
        smoothed = sa.GuidedSmoothing(0.95, 3.0)([z, pair[1]])
        assert smoothed.dtype == dtype
        expected = sa.Smoothing(0.95, 3.0).guided_by(pair[1])(pair[0])
        np.testing.assert_allclose(tf.cast(smoothed, tf.float32), expected, atol=0.02)

    def test_wants_a_signal_and_a_guide(self, pair):
        with pytest.raises(ValueError, match=r"takes a list \[signal, guide\]"):
            sa.GuidedSmoothing()(tf.constant(pair[0]))


@pytest.mark.parametrize("solver", ["chebyshev", "cg", "dense"])
@pytest.mark.parametrize("color", ["joint", pytest.param("per_channel", marks=pytest.mark.slow)])
def test_take_smooths_some_of_the_images(solver, color, rng):
    images, z = rng.random((2, 4, 6, 7, 3))
    spec = sa.Smoothing(0.9, 3.0, solver=solver, color=color)
    indices = tf.constant([3, 0, 3])
    taken = spec.guided_by(images).take(indices)
    some = spec.guided_by(images[[3, 0, 3]])
    signal = tf.gather(z, indices)
    np.testing.assert_allclose(taken(signal), some(signal), atol=1e-12)
    np.testing.assert_allclose(taken.adjoint(signal), some.adjoint(signal), atol=1e-12)
    np.testing.assert_allclose(taken.energy(signal), some.energy(signal), atol=1e-12)
    np.testing.assert_allclose(taken.operator.to_dense(), some.operator.to_dense(), atol=1e-12)


def test_defaults_of_the_layer_are_those_of_the_spec():
    assert sa.GuidedSmoothing().smoothing == sa.Smoothing()
    assert set(sa.Smoothing().get_config()) <= set(sa.GuidedSmoothing().get_config())
