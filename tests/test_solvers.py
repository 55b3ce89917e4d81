from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.conftest import photograph
from tests.reference import smoothed
from tf_smoothadv import graph, solvers

EXACT = {
    "dense": {},
    "cg": {"iterations": 2000, "tol": 1e-12},
    "chebyshev": {"tol": 1e-12},
}


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(
    "alpha", [0.0, pytest.param(0.5, marks=pytest.mark.slow), 0.95, pytest.param(0.997, marks=pytest.mark.slow), 0.999]
)
@pytest.mark.parametrize("shape", [(6, 8, 1), (7, 9, 3), (5, 4, 3), (1, 6, 1), (9, 1, 3)])
def test_every_solver_gives_the_direct_solution(solver, alpha, shape, rng):
    images, z = rng.random((2, *shape)), rng.normal(size=(2, *shape))
    spec = sa.Smoothing(alpha, gamma=4.0, solver=solver, **EXACT[solver])
    solution = spec.guided_by(images).solve(z)
    for image, signal, found in zip(images, z, solution.numpy()):
        np.testing.assert_allclose(found, smoothed(image, signal, spec), atol=1e-9)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(
    ("color", "kernel"),
    [
        ("joint", "laplacian"),
        ("per_channel", "gaussian"),
        pytest.param("joint", "gaussian", marks=pytest.mark.slow),
        pytest.param("per_channel", "laplacian", marks=pytest.mark.slow),
    ],
)
def test_every_solver_on_real_images(solver, kernel, color, digits, rng):
    images = [digits[0][:2].astype(np.float64)]
    if (photo := _photograph_or_none()) is not None:
        images.append(photo)
    for image in images:
        z = rng.normal(size=image.shape)
        spec = sa.Smoothing(0.95, 10.0, kernel, color, solver, **EXACT[solver])
        solution = spec.guided_by(image).solve(z)
        np.testing.assert_allclose(solution[0], smoothed(image[0], z[0], spec), atol=1e-9)


def _photograph_or_none() -> np.ndarray | None:
    try:
        return photograph(32)
    except pytest.skip.Exception:
        return None


@pytest.mark.parametrize(("alpha", "sweeps"), [(0.5, 1), (0.5, 5), (0.95, 2), (0.95, 10), (0.997, 1), (0.997, 25)])
def test_chebyshev_error_is_a_bound_and_not_a_loose_one(alpha, sweeps):
    side = 16
    pixels = side * side
    guide = np.zeros((1, side, side, pixels))
    guide[:, :, side // 2 :] = 1  # halves of which each keeps its own constant: one more that the sweeps must find
    identity = np.eye(pixels).reshape(1, pixels, side, side).transpose(0, 2, 3, 1)  # one channel a unit vector
    exact = sa.Smoothing(alpha, solver="dense").guided_by(guide).solve(identity)
    found = sa.Smoothing(alpha, solver="chebyshev", iterations=sweeps).guided_by(guide).solve(identity)
    error = np.linalg.norm((found - exact).numpy().reshape(pixels, pixels), 2)
    bound = solvers.chebyshev_error(alpha, sweeps)
    assert 0.3 * bound < error <= bound * (1 + 1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.95, 0.997, 0.999])
@pytest.mark.parametrize("tol", [0.5, 1e-2, 1e-6])
def test_chebyshev_takes_the_fewest_sweeps_for_its_tolerance(alpha, tol):
    sweeps = solvers.chebyshev_sweeps(alpha, tol)
    assert solvers.chebyshev_error(alpha, sweeps) <= tol * (1 + 1e-9)
    assert sweeps == 1 or solvers.chebyshev_error(alpha, sweeps - 1) > tol


def test_chebyshev_weights_are_those_of_golub_and_varga(rng):
    """Two sweeps on a strip of two pixels, written out: w_1 = 1, w_2 = 2 / (2 - alpha^2), w_3, then a plain update.

    The constant of the strip stays as it is; the sweeps see the rest, and leave no constant behind.
    """
    alpha = 0.9
    z = rng.normal(size=(1, 1, 2, 1))
    constant = np.mean(z)
    red, black = (1 - alpha) * (z[0, 0, :, 0] - constant)  # the two pixels' normalised weight is 1
    x_red, x_black = 0.0, black
    w2 = 2 / (2 - alpha**2)
    w3 = 1 / (1 - alpha**2 * w2 / 4)
    x_red += 1.0 * (alpha * x_black + red - x_red)
    x_black += w2 * (alpha * x_red + black - x_black)
    x_red += w3 * (alpha * x_black + red - x_red)
    x_black = alpha * x_red + black
    found = sa.Smoothing(alpha, solver="chebyshev", iterations=2).guided_by(np.zeros((1, 1, 2, 1))).solve(z)
    half = (x_red - x_black) / 2
    np.testing.assert_allclose(found[0, 0, :, 0], [constant + half, constant - half], rtol=1e-12)


@pytest.mark.parametrize("color", graph.COLORS)
def test_one_sweep_returns_what_the_operator_keeps(color, rng):
    """L_alpha sqrt(d) = sqrt(d) for any graph, here of an image with a pixel that has no edge."""
    images = rng.random((2, 7, 9, 3))
    images[0, 3, 4] = -1e6
    edges = graph.similarity_edges(tf.constant(images), 4.0, "laplacian", color)
    root = solvers.channels_last(tf.sqrt(graph.degrees(edges)) * np.ones((1, 3, 1, 1)))
    solver = solvers.chebyshev(graph.normalized(edges), graph.stationary(edges), 0.997, sweeps=1)
    np.testing.assert_allclose(solver(root).values, root, atol=1e-12)


def test_the_normalised_smoothing_errs_as_little_as_the_smoothing(digits, rng):
    """(9) divides by s(1), which lies near `stationary`; swept like the rest, it errs half as much again as (8)."""
    images = tf.cast(digits[0][:4], tf.float64)
    z = rng.normal(size=images.shape)
    exact, found = (
        sa.Smoothing(0.997, 10.0, **settings).guided_by(images)
        for settings in ({"solver": "dense"}, {"solver": "chebyshev", "iterations": 12})
    )
    errors = [
        np.linalg.norm(of(found) - of(exact)) / np.linalg.norm(of(exact))
        for of in (lambda s: s.solve(z), lambda s: s(z))
    ]
    assert errors[1] < 1.1 * errors[0]


def test_conjugate_gradient_stops_each_image_at_its_tolerance(rng):
    images = np.stack([np.full((12, 12, 1), 0.5), rng.random((12, 12, 1)), rng.random((12, 12, 1))])
    z = rng.normal(size=images.shape)
    z[2] = 0
    smoother = sa.Smoothing(0.99, 5.0, solver="cg", tol=1e-3).guided_by(images)
    solution = smoother.solution(z)
    used = solution.iterations.numpy()
    assert used[2] == 0
    assert not np.any(solution.values[2])
    assert used[0] != used[1]
    flat = tf.reshape(solution.values, [3, 144, 1])
    residual = np.linalg.norm(z.reshape(3, 144) - tf.matmul(smoother.operator, flat)[..., 0], axis=1)
    assert np.all(residual <= 1e-3 * np.linalg.norm(z.reshape(3, 144), axis=1) * (1 + 1e-9))
    for i in range(3):
        alone = smoother.spec.guided_by(images[i : i + 1]).solution(z[i : i + 1])
        assert alone.iterations[0] == used[i]
        np.testing.assert_allclose(alone.values[0], solution.values[i], atol=1e-14)


def test_conjugate_gradient_takes_the_papers_50_iterations_by_default(rng):
    images = rng.random((2, 16, 16, 3))
    solution = sa.Smoothing(0.997, solver="cg").guided_by(images).solution(rng.normal(size=images.shape))
    assert solution.iterations.numpy().tolist() == [50, 50]


def test_dense_refuses_large_images():
    with pytest.raises(ValueError, match="at most 4096; received 65 x 64"):
        sa.Smoothing(0.9, solver="dense").guided_by(np.zeros((1, 65, 64, 1)))


@pytest.mark.parametrize("solver", ["chebyshev", "cg"])
def test_float32_is_close_to_float64(solver, rng):
    images, z = rng.random((2, 30, 31, 3)), rng.normal(size=(2, 30, 31, 3))
    spec = sa.Smoothing(0.997, solver=solver, iterations=60)
    single = spec.guided_by(images.astype(np.float32))(z.astype(np.float32))
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, spec.guided_by(images)(z), atol=2e-5)
