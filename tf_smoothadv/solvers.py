"""Batched solvers of L_alpha x = z, L_alpha = (I - alpha W) / (1 - alpha), W a graph's normalised adjacency.

A solver is made once from a graph and then maps z [B, H, W, C] to a `Solution` as often as wanted. L_alpha is symmetric
and its eigenvalues lie in [1, (1 + alpha) / (1 - alpha)], because those of W lie in [-1, 1].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_smoothadv import graph

__all__ = [
    "Solution",
    "Solver",
    "Taps",
    "channels_first",
    "channels_last",
    "chebyshev",
    "chebyshev_error",
    "chebyshev_sweeps",
    "conjugate_gradient",
    "dense",
    "laplacian",
]

CACHED_NUMBERS = 2 * 299 * 299 * 3  # of the signal: with what belongs to them they take 7 MiB in float32
DENSE_PIXELS = 64 * 64  # the inverse of so many pixels takes 64 MiB an image in float32


class Solution(NamedTuple):
    """What a solver returns.

    Attributes:
        values: x, [B, H, W, C].
        iterations: [B] int32, the iterations that each image took (its slowest channel's); 0 for a direct solver.
    """

    values: tf.Tensor
    iterations: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Solver:
    """Maps z [B, H, W, C] to the solution of L_alpha x = z, for a batch of graphs.

    Attributes:
        prepared: a structure of tensors [B, ...], all that depends on the graphs alone.
        solve: from `prepared` and z to a `Solution`.
    """

    prepared: Any
    solve: Callable[[Any, tf.Tensor], Solution]

    def __call__(self, z: tf.Tensor) -> Solution:
        return self.solve(self.prepared, z)

    def take(self, indices: tf.Tensor) -> Solver:
        """The solver of some of the graphs, in the order of `indices`."""
        taken = tf.nest.map_structure(lambda tensor: tf.gather(tensor, indices), self.prepared)
        return Solver(taken, self.solve)


def channels_first(x: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] to [B, C, H, W]."""
    return tf.transpose(x, [0, 3, 1, 2])


def channels_last(x: tf.Tensor) -> tf.Tensor:
    """[B, C, H, W] to [B, H, W, C]."""
    return tf.transpose(x, [0, 2, 3, 1])


def laplacian(edges: graph.Edges, alpha: float) -> graph.GridOperator:
    """L_alpha = (I - alpha W) / (1 - alpha) as an operator on the pixels, W with these `edges`."""
    return graph.GridOperator(
        graph.Edges(*(weight * (-alpha / (1 - alpha)) for weight in edges)),
        diagonal=1 / (1 - alpha),
        is_positive_definite=True,
        name="RegularizedLaplacian",
    )


def dense(edges: graph.Edges, alpha: float) -> Solver:
    """The inverse of L_alpha, computed once: for small images (section 4.2, "it can be inverted").

    Raises:
        ValueError: more than 4096 pixels; the inverse has their square.
    """
    height, width = edges.right.shape[-2], edges.down.shape[-1]
    if height is not None and width is not None and height * width > DENSE_PIXELS:
        raise ValueError(
            f"solver 'dense' stores the square of the number of pixels and takes at most {DENSE_PIXELS}; "
            f"received {height} x {width}; use 'chebyshev' or 'cg'"
        )
    inverse = tf.linalg.inv(laplacian(edges, alpha).to_dense())  # [B, G, N, N]

    def solve(inverse: tf.Tensor, z: tf.Tensor) -> Solution:
        signals = channels_first(z)
        rows = tf.reshape(signals, [tf.shape(z)[0], tf.shape(inverse)[1], -1, tf.shape(inverse)[-1]])  # [B, G, C/G, N]
        products = tf.reshape(tf.matmul(rows, inverse), tf.shape(signals))  # the inverse is symmetric
        return Solution(channels_last(products), tf.zeros(tf.shape(z)[:1], tf.int32))

    return Solver(inverse, solve)


def conjugate_gradient(edges: graph.Edges, alpha: float, iterations: int, tol: float = 0.0) -> Solver:
    """Conjugate gradient (Nocedal & Wright 2006, algorithm 5.2), each channel of each image a system.

    It starts from x = (1 - alpha) z, the diagonal's solution, which a pixel without edges keeps. A system stops when
    ||z - L_alpha x|| <= tol ||z|| and is frozen while others go on; so is one whose right-hand side is zero, from the
    start. What an image gets does not depend on the others of its batch.

    Args:
        iterations: at most so many.
        tol: relative residual; 0 runs all the iterations.
    """

    def dot(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x * y, axis=[-2, -1], keepdims=True)  # [B, C, 1, 1]

    def ratio(active: tf.Tensor, numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
        """The quotient where active, 0 elsewhere, with finite derivatives in both places."""
        return tf.where(active, numerator, 0) / tf.where(active, denominator, 1)

    def solve(edges: graph.Edges, z: tf.Tensor) -> Solution:
        def product(x: tf.Tensor) -> tf.Tensor:
            return (x - alpha * graph.neighbour_sum(edges, x)) / (1 - alpha)

        rhs = channels_first(z)
        start = (1 - alpha) * rhs
        remainder = alpha * graph.neighbour_sum(edges, rhs)  # z - L_alpha (1 - alpha) z
        rho = dot(remainder, remainder)
        goal = tol**2 * dot(rhs, rhs)

        def unfinished(x, residual, direction, rho, used):  # type: ignore[no-untyped-def]
            return tf.reduce_any(rho > goal)

        def step(x, residual, direction, rho, used):  # type: ignore[no-untyped-def]
            active = rho > goal
            image = product(direction)
            length = ratio(active, rho, dot(direction, image))
            x += length * direction
            residual -= length * image
            next_rho = tf.where(active, dot(residual, residual), rho)
            direction = residual + ratio(active, next_rho, rho) * direction
            return x, residual, direction, next_rho, used + tf.cast(active, tf.int32)

        state = (start, remainder, remainder, rho, tf.zeros_like(rho, tf.int32))
        x, _, _, _, used = tf.while_loop(unfinished, step, state, maximum_iterations=iterations)
        return Solution(channels_last(x), tf.reduce_max(used, axis=[1, 2, 3]))

    return Solver(edges, solve)


def chebyshev_error(alpha: float, sweeps: int) -> float:
    """Bound on ||x - s(z)|| / ||z|| after k = `sweeps` of `chebyshev`: alpha sqrt(1 + alpha^2) / T_{2k-1}(1 / alpha).

    T is the Chebyshev polynomial. The start misses the solution by at most alpha ||z||; the red pixels' error is that
    times a polynomial of W which is at most 1 / T_{2k-1}(1 / alpha), and the last half-sweep hands the black ones at
    most alpha times the red ones' error.
    """
    if alpha == 0:
        return 0.0
    return alpha * math.sqrt(1 + alpha**2) / math.cosh((2 * sweeps - 1) * math.acosh(1 / alpha))


def chebyshev_sweeps(alpha: float, tol: float) -> int:
    """The fewest sweeps whose `chebyshev_error` is at most `tol`."""
    if alpha == 0:
        return 1
    degree = math.acosh(max(1.0, alpha * math.sqrt(1 + alpha**2) / tol)) / math.acosh(1 / alpha)
    return max(1, math.ceil((degree + 1) / 2))


class Taps(NamedTuple):
    """alpha W as the pixels of one colour see it, packed [B, G, H * ceil(W / 2)].

    Attributes:
        above, below: the neighbours in the rows above and below, at the same packed column.
        near: the horizontal neighbour at the same packed column.
        far: the other one, a packed column to the left or to the right, alternating with the row.
    """

    above: tf.Tensor
    below: tf.Tensor
    near: tf.Tensor
    far: tf.Tensor


def chebyshev(edges: graph.Edges, stationary: tf.Tensor, alpha: float, sweeps: int, compiled: bool = True) -> Solver:
    """Cyclic Chebyshev semi-iterative method (Golub & Varga 1961, Numerische Mathematik 3, 147-168).

    The grid is bipartite: red pixels (row + column even) are updated from black ones and black from red, each time
    over-relaxed by w_1 = 1, w_2 = 2 / (2 - alpha^2), w_{k+1} = 1 / (1 - alpha^2 w_k / 4). Started from the black half
    of (1 - alpha) z and ended by a plain half-sweep, z -> x is linear and symmetric whatever the number of sweeps,
    within `chebyshev_error` of the solution. No inner product of iterates is taken: an image's result is its own.

    What `stationary` spans, which L_alpha returns as it is, is exact, and the sweeps see the rest. There they are
    slowest, and there lies s(1) but for borders and edges: without it (9) has twice the error of (8).

    Args:
        stationary: [B, G, H, W], of `graph.stationary`.
        compiled: by XLA. False leaves the iterations open to automatic differentiation.
    """
    sweep = _compiled_sweeps if compiled else _sweeps

    def solve(prepared: tuple[tf.Tensor, Taps, Taps], z: tf.Tensor) -> Solution:
        values = sweep(z, *prepared, tf.constant(alpha, z.dtype), tf.constant(sweeps))
        return Solution(tf.ensure_shape(values, z.shape), tf.fill(tf.shape(z)[:1], sweeps))

    return Solver((stationary, *_packed_taps(graph.Edges(*(alpha * weight for weight in edges)))), solve)


def _sweeps(
    z: tf.Tensor, stationary: tf.Tensor, red_taps: Taps, black_taps: Taps, alpha: tf.Tensor, sweeps: tf.Tensor
) -> tf.Tensor:
    """`sweeps` of the cyclic Chebyshev method; z and the result [B, H, W, C]."""

    def kept(x: tf.Tensor) -> tf.Tensor:
        return stationary * tf.reduce_sum(stationary * x, axis=[2, 3], keepdims=True)

    signals = channels_first(z)
    known = kept(signals)
    shape = tf.shape(signals)
    red_rhs, black_rhs = map(_flat, _pack((1 - alpha) * (signals - known)))
    packed_width = (shape[3] + 1) // 2
    even_row = tf.repeat(tf.range(shape[2]) % 2 == 0, packed_width)
    quarter = tf.square(alpha) / 4

    def neighbours(taps: Taps, x: tf.Tensor, far_is_left: tf.Tensor) -> tf.Tensor:
        # A plane is one ring of numbers: the taps that would reach over its borders are zero.
        far = tf.where(far_is_left, tf.roll(x, 1, axis=2), tf.roll(x, -1, axis=2))
        vertical = taps.above * tf.roll(x, packed_width, axis=2) + taps.below * tf.roll(x, -packed_width, axis=2)
        return vertical + taps.near * x + taps.far * far

    def sweep(k, red, black, w):  # type: ignore[no-untyped-def]
        red += w * (neighbours(red_taps, black, even_row) + red_rhs - red)
        # w_2 has a form of its own: w_1 = 1 stands for 2 in the recurrence.
        w = 1 / (1 - quarter * tf.where(k == 0, tf.constant(2, w.dtype), w))
        relax = tf.where(k == sweeps - 1, tf.constant(1, w.dtype), w)
        black += relax * (neighbours(black_taps, red, ~even_row) + black_rhs - black)
        return k + 1, red, black, 1 / (1 - quarter * w)

    state = (tf.constant(0), tf.zeros_like(red_rhs), black_rhs, tf.ones_like(alpha))
    _, red, black, _ = tf.while_loop(lambda k, *_: k < sweeps, sweep, state)
    packed = tf.stack([shape[0], shape[1], shape[2], packed_width])
    x = _unpack(tf.reshape(red, packed), tf.reshape(black, packed))[..., : shape[3]]
    return channels_last(known + x - kept(x))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _compiled_sweeps(
    z: tf.Tensor, stationary: tf.Tensor, red_taps: Taps, black_taps: Taps, alpha: tf.Tensor, sweeps: tf.Tensor
) -> tf.Tensor:
    """`_sweeps`, all of them for a few images before the next ones, so that these stay in the processor's cache."""
    batch = tf.shape(z)[0]
    groups = tf.minimum((tf.size(z) + CACHED_NUMBERS - 1) // CACHED_NUMBERS, batch)
    size = (batch + groups - 1) // groups

    def grouped(x: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(x, [[0, groups * size - batch]] + [[0, 0]] * (x.shape.rank - 1))
        return tf.reshape(padded, tf.concat([[groups, size], tf.shape(x)[1:]], 0))

    values = tf.map_fn(
        lambda group: _sweeps(group[0], group[1], group[2], group[3], alpha, sweeps),
        tf.nest.map_structure(grouped, (z, stationary, red_taps, black_taps)),
        fn_output_signature=z.dtype,
    )
    return tf.reshape(values, tf.concat([[groups * size], tf.shape(z)[1:]], 0))[:batch]


def _packed_taps(edges: graph.Edges) -> tuple[Taps, Taps]:
    """The taps of the red and of the black pixels, for weights [B, G, H, W - 1] and [B, G, H - 1, W]."""
    red_left, black_left = _pack(graph.to_right(edges.right))
    red_right, black_right = _pack(graph.to_left(edges.right))
    red_above, black_above = _pack(graph.to_bottom(edges.down))
    red_below, black_below = _pack(graph.to_top(edges.down))
    even_row = _even_rows(red_left)
    red = red_above, red_below, tf.where(even_row, red_right, red_left), tf.where(even_row, red_left, red_right)
    black_near, black_far = tf.where(even_row, black_left, black_right), tf.where(even_row, black_right, black_left)
    black = black_above, black_below, black_near, black_far
    return Taps(*map(_flat, red)), Taps(*map(_flat, black))


def _even_rows(x: tf.Tensor) -> tf.Tensor:
    return tf.range(tf.shape(x)[-2])[:, tf.newaxis] % 2 == 0


def _pack(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The red and the black pixels of [B, C, H, W], each [B, C, H, ceil(W / 2)]; an odd width is padded with zeros."""
    x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, tf.shape(x)[3] % 2]])
    even_columns, odd_columns = x[..., 0::2], x[..., 1::2]
    even_row = _even_rows(x)
    return tf.where(even_row, even_columns, odd_columns), tf.where(even_row, odd_columns, even_columns)


def _unpack(red: tf.Tensor, black: tf.Tensor) -> tf.Tensor:
    """The inverse of `_pack`, up to its padding."""
    even_row = _even_rows(red)
    columns = tf.stack([tf.where(even_row, red, black), tf.where(even_row, black, red)], axis=-1)
    return tf.reshape(columns, tf.concat([tf.shape(red)[:-1], [2 * tf.shape(red)[-1]]], 0))


def _flat(x: tf.Tensor) -> tf.Tensor:
    """[B, C, H, W] to [B, C, H * W]."""
    shape = tf.shape(x)
    return tf.reshape(x, [shape[0], shape[1], shape[2] * shape[3]])
