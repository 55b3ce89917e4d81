"""Solvers of L_alpha x = z: milliseconds an image, and the errors of s(z) and of s(z) / s(1) against a direct solve."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import images, timing

Solve = Callable[[tf.Tensor], np.ndarray]  # from z [B, H, W, C] to x

ALPHA = 0.997
GAMMA = 10.0
CG_ITERATIONS = 50
SWEEPS = 25  # of the attacks on photographs; chebyshev's errors are then those of CG_ITERATIONS of CG


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
            z = tf.constant(np.random.default_rng(0).normal(size=guides.shape), tf.float32)
            pixels = batch * side * side
            solves = {name: make(guides) for name, make in BATCHED.items() if speed.get(name, 0.0) * pixels <= limit}
            solves["SuperLU"] = direct(guides[0])
            ones = tf.ones_like(z)
            exact, gain = solves["SuperLU"](z)[0], solves["SuperLU"](ones)[0]
            times = timing.interleaved({name: functools.partial(solve, z) for name, solve in solves.items()}, rounds)
            per_image = {name: timing.Times(taken.rounds / batch) for name, taken in times.items()}
            per_image["SuperLU"] = times["SuperLU"]
            for name, solve in solves.items():
                speed[name] = times[name].median / pixels
                solution = solve(z)[0]
                yield {
                    "side": side,
                    "batch": batch,
                    "solver": name,
                    "ms_per_image": 1000 * per_image[name].median,
                    "over_chebyshev": per_image[name].over(per_image["chebyshev"])._asdict(),
                    "relative_error": relative_error(solution, exact),
                    "relative_error_9": relative_error(solution / solve(ones)[0], exact / gain),
                }


def relative_error(solution: np.ndarray, exact: np.ndarray) -> float:
    """||solution - exact|| / ||exact||."""
    return float(np.linalg.norm(solution - exact) / np.linalg.norm(exact))


def smoother_of(solver: str, iterations: int | None, xla: bool = False) -> Callable[[np.ndarray], Solve]:
    """One of the library's own solvers, as it is or compiled by XLA."""

    def make(guides: np.ndarray) -> Solve:
        smoother = sa.Smoothing(ALPHA, GAMMA, solver=solver, iterations=iterations).guided_by(guides)
        solve = tf.function(smoother.solve, jit_compile=xla or None)
        return lambda z: solve(z).numpy()

    return make


def tensorflow_cg(guides: np.ndarray) -> Solve:
    """TensorFlow's CG on the library's operator; it takes one right-hand side a matrix."""
    count, side, _, channels = guides.shape
    smoother = sa.Smoothing(ALPHA, GAMMA).guided_by(np.repeat(guides, channels, axis=0))

    @tf.function
    def solve(z: tf.Tensor) -> tf.Tensor:
        rhs = tf.reshape(tf.transpose(z, [0, 3, 1, 2]), [count * channels, side * side])
        x = tf.linalg.experimental.conjugate_gradient(smoother.operator, rhs, tol=0.0, max_iter=CG_ITERATIONS).x
        return tf.transpose(tf.reshape(x, [count, channels, side, side]), [0, 2, 3, 1])

    return lambda z: solve(z).numpy()


def direct(guide: np.ndarray) -> Solve:
    """SuperLU in float64 on one image [H, W, C], the first of those that it is given, the factor made beforehand."""
    factor = scipy.sparse.linalg.splu(matrix(guide))

    def solve(z: tf.Tensor) -> np.ndarray:
        rhs = z[0].numpy().astype(np.float64)
        solution: np.ndarray = factor.solve(rhs.reshape(-1, rhs.shape[-1])).reshape(1, *rhs.shape)
        return solution

    return solve


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
    "chebyshev, default": smoother_of("chebyshev", None),
    "cg": smoother_of("cg", CG_ITERATIONS),
    "cg, XLA": smoother_of("cg", CG_ITERATIONS, xla=True),
    "tf.linalg cg": tensorflow_cg,
}
