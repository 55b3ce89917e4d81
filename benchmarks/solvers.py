"""Solvers of L_alpha x = z: milliseconds an image, and the error against a direct solve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import images, timing

ALPHA = 0.997
GAMMA = 10.0
CG_ITERATIONS = 50
SWEEPS = 25  # chebyshev's error is then that of CG_ITERATIONS of CG, or less


def run(
    folder: str | None, sides: list[int], batches: list[int], rounds: int, limit: float
) -> Iterator[dict[str, Any]]:
    """One row a side, batch and solver.

    A solver is left out where its last, smaller measurement says that one call would take more than `limit` seconds.
    SuperLU takes one image at a time, and is timed on the first of the batch.
    """
    speed: dict[str, float] = {}  # seconds per pixel, as last measured
    for side in sides:
        for batch in batches:
            guides = images.photographs(folder, batch, side)
            z = np.random.default_rng(0).normal(size=guides.shape).astype(np.float32)
            pixels = batch * side * side
            solves = {name: make(guides, z) for name, make in BATCHED.items() if speed.get(name, 0.0) * pixels <= limit}
            solves["SuperLU"] = direct(guides[0], z[0])
            exact = solves["SuperLU"]()
            times = timing.interleaved(solves, rounds)
            per_image = {name: timing.Times(taken.rounds / batch) for name, taken in times.items()}
            per_image["SuperLU"] = times["SuperLU"]
            for name, solve in solves.items():
                speed[name] = times[name].median / pixels
                solution = solve() if name == "SuperLU" else solve()[0]
                yield {
                    "side": side,
                    "batch": batch,
                    "solver": name,
                    "ms_per_image": 1000 * per_image[name].median,
                    "over_chebyshev": per_image[name].over(per_image["chebyshev"])._asdict(),
                    "relative_error": float(np.linalg.norm(solution - exact) / np.linalg.norm(exact)),
                }


def smoother_of(solver: str, iterations: int) -> Callable[[np.ndarray, np.ndarray], Callable[[], np.ndarray]]:
    """One of the library's own solvers."""

    def make(guides: np.ndarray, z: np.ndarray) -> Callable[[], np.ndarray]:
        smoother = sa.Smoothing(ALPHA, GAMMA, solver=solver, iterations=iterations).guided_by(guides)
        solve, signal = tf.function(smoother.solve), tf.constant(z)
        return lambda: solve(signal).numpy()

    return make


def compiled_cg(guides: np.ndarray, z: np.ndarray) -> Callable[[], np.ndarray]:
    """The library's CG, compiled by XLA."""
    smoother = sa.Smoothing(ALPHA, GAMMA, solver="cg", iterations=CG_ITERATIONS).guided_by(guides)
    solve, signal = tf.function(smoother.solve, jit_compile=True), tf.constant(z)
    return lambda: solve(signal).numpy()


def tensorflow_cg(guides: np.ndarray, z: np.ndarray) -> Callable[[], np.ndarray]:
    """TensorFlow's CG on the library's operator; it takes one right-hand side a matrix."""
    count, side, _, channels = guides.shape
    smoother = sa.Smoothing(ALPHA, GAMMA).guided_by(np.repeat(guides, channels, axis=0))
    rhs = tf.reshape(tf.transpose(tf.constant(z), [0, 3, 1, 2]), [count * channels, side * side])

    @tf.function
    def solve() -> tf.Tensor:
        x = tf.linalg.experimental.conjugate_gradient(smoother.operator, rhs, tol=0.0, max_iter=CG_ITERATIONS).x
        return tf.transpose(tf.reshape(x, [count, channels, side, side]), [0, 2, 3, 1])

    return lambda: solve().numpy()


def direct(guide: np.ndarray, z: np.ndarray) -> Callable[[], np.ndarray]:
    """SuperLU in float64 on one image [H, W, C], the factor made beforehand."""
    factor = scipy.sparse.linalg.splu(matrix(guide))
    rhs = z.astype(np.float64).reshape(-1, z.shape[-1])
    return lambda: factor.solve(rhs).reshape(z.shape)


def matrix(guide: np.ndarray) -> scipy.sparse.csc_matrix:
    """L_alpha of one image [H, W, C] as SciPy's sparse matrix."""
    height, width, _ = guide.shape
    guide = guide.astype(np.float64)
    number = np.arange(height * width).reshape(height, width)
    pairs = [(number[:, 1:], number[:, :-1]), (number[1:], number[:-1])]
    steps = [guide[:, 1:] - guide[:, :-1], guide[1:] - guide[:-1]]
    rows = np.concatenate([one.ravel() for one, _ in pairs])
    columns = np.concatenate([other.ravel() for _, other in pairs])
    weights = np.concatenate([np.exp(-GAMMA * np.linalg.norm(step, axis=2)).ravel() for step in steps])
    adjacency = scipy.sparse.coo_matrix((weights, (rows, columns)), shape=2 * (height * width,))
    adjacency = (adjacency + adjacency.T).tocsc()
    scale = scipy.sparse.diags(1 / np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel()))
    identity = scipy.sparse.identity(height * width, format="csc")
    return ((identity - ALPHA * scale @ adjacency @ scale) / (1 - ALPHA)).tocsc()


BATCHED = {
    "chebyshev": smoother_of("chebyshev", SWEEPS),
    "cg": smoother_of("cg", CG_ITERATIONS),
    "cg, XLA": compiled_cg,
    "tf.linalg cg": tensorflow_cg,
}
