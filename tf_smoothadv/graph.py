"""The image as a weighted graph of its pixels, and that graph's operators.

Inside the library signals are laid out [B, C, H, W] and edge weights [B, G, H, W], where G is 1 for a graph drawn from
all channels together and C for one graph per channel: one set of weights then broadcasts over contiguous rows.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

__all__ = [
    "COLORS",
    "KERNELS",
    "Edges",
    "GridOperator",
    "degrees",
    "neighbour_sum",
    "normalized",
    "similarity_edges",
    "stationary",
    "to_bottom",
    "to_left",
    "to_right",
    "to_top",
]

KERNELS = ("laplacian", "gaussian")
COLORS = ("joint", "per_channel")


class Edges(NamedTuple):
    """Weights of the edges between the 4 nearest neighbours of a pixel grid.

    Attributes:
        right: [..., H, W - 1], between (i, j) and (i, j + 1).
        down: [..., H - 1, W], between (i, j) and (i + 1, j).
    """

    right: tf.Tensor
    down: tf.Tensor


def similarity_edges(images: tf.Tensor, gamma: float, kernel: str, color: str) -> Edges:
    """Weights w_ij of (5): how alike neighbouring pixels are.

    The feature kernel is exp(-gamma ||x_i - x_j||) ("laplacian") or exp(-gamma ||x_i - x_j||^2) ("gaussian"), the norm
    taken over the channels ("joint") or in each channel alone ("per_channel"). The spatial kernel is 1 for the 4
    nearest neighbours, 0 elsewhere; no constant there would survive the normalisation.

    Args:
        images: [B, H, W, C] in [0, 1].

    Returns:
        Edges [B, G, ...], G = 1 or C.
    """
    x = tf.transpose(images, [0, 3, 1, 2])

    def weight(difference: tf.Tensor) -> tf.Tensor:
        if color == "joint":
            squared = tf.reduce_sum(tf.square(difference), axis=1, keepdims=True)
        else:
            squared = tf.square(difference)
        return tf.exp(-gamma * (tf.sqrt(squared) if kernel == "laplacian" else squared))

    return Edges(weight(x[..., :, 1:] - x[..., :, :-1]), weight(x[..., 1:, :] - x[..., :-1, :]))


def to_right(x: tf.Tensor) -> tf.Tensor:
    """[..., W - 1] put into the columns 1 to W - 1 of W, zeros in column 0."""
    return tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[1, 0]])


def to_left(x: tf.Tensor) -> tf.Tensor:
    """[..., W - 1] put into the columns 0 to W - 2 of W, zeros in the last."""
    return tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, 1]])


def to_bottom(x: tf.Tensor) -> tf.Tensor:
    """[..., H - 1, W] put into the rows 1 to H - 1 of H, zeros in row 0."""
    return tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + [[1, 0], [0, 0]])


def to_top(x: tf.Tensor) -> tf.Tensor:
    """[..., H - 1, W] put into the rows 0 to H - 2 of H, zeros in the last."""
    return tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + [[0, 1], [0, 0]])


def degrees(edges: Edges) -> tf.Tensor:
    """d_i = sum_j w_ij, the diagonal of D; [..., H, W]."""
    right, down = edges
    return to_left(right) + to_right(right) + to_top(down) + to_bottom(down)


def normalized(edges: Edges) -> Edges:
    """Edges of the normalised adjacency D^{-1/2} W D^{-1/2}.

    A pixel whose weights all underflow has degree 0; it keeps no edge, so that every operator made from the result
    leaves it alone.
    """
    degree = degrees(edges)
    connected = degree > 0
    scale = tf.where(connected, tf.math.rsqrt(tf.where(connected, degree, tf.ones_like(degree))), 0)
    right, down = edges
    return Edges(right * scale[..., :-1] * scale[..., 1:], down * scale[..., :-1, :] * scale[..., 1:, :])


def stationary(edges: Edges) -> tf.Tensor:
    """sqrt(d) / ||sqrt(d)||, [..., H, W]: the signal of norm 1 that the normalised adjacency returns as it is.

    0 for a graph without an edge.
    """
    degree = degrees(edges)
    return tf.sqrt(tf.math.divide_no_nan(degree, tf.reduce_sum(degree, axis=[-2, -1], keepdims=True)))


def neighbour_sum(edges: Edges, x: tf.Tensor) -> tf.Tensor:
    """sum_j w_ij x_j for every pixel i: the adjacency matrix times x.

    Args:
        edges: weights that broadcast against x: [..., H, W - 1] and [..., H - 1, W].
        x: [..., H, W].
    """
    right, down = edges
    return (
        to_left(right * x[..., :, 1:])
        + to_right(right * x[..., :, :-1])
        + to_top(down * x[..., 1:, :])
        + to_bottom(down * x[..., :-1, :])
    )


class GridOperator(tf.linalg.LinearOperator):
    """A = diagonal I + W on the pixels of a grid, W the symmetric adjacency matrix of `edges`.

    The normalised adjacency (`diagonal=0`) and the regularised Laplacian of section 3 are both of this form. Products
    cost O(HW) and nothing N x N is stored; pixels are numbered row by row, N = HW. Functions of `tf.linalg` that have
    no matrix-free form (`solve`, `cholesky`, `logdet`, ...) make the operator dense first: N^2 numbers an image.

    Args:
        edges: weights [*batch, H, W - 1] and [*batch, H - 1, W].
        diagonal: a number.
        is_positive_definite: a promise about A, or None.

    Shape: [*batch, N, N]; [B, N, N] for a joint graph, [B, C, N, N] for one graph per channel.
    """

    def __init__(
        self,
        edges: Edges,
        diagonal: float,
        is_positive_definite: bool | None = None,
        name: str = "GridOperator",
    ) -> None:
        parameters = {
            "edges": edges,
            "diagonal": diagonal,
            "is_positive_definite": is_positive_definite,
            "name": name,
        }
        with tf.name_scope(name):
            self._edges = Edges(*map(tf.convert_to_tensor, edges))
            self._diagonal = diagonal
        super().__init__(
            dtype=self._edges.right.dtype,
            is_self_adjoint=True,
            is_positive_definite=is_positive_definite,
            is_square=True,
            parameters=parameters,
            name=name,
        )

    def _grid_shape(self) -> tf.Tensor:
        """[*batch, H, W]; each size is read from the edges that have it whole."""
        right, down = map(tf.shape, self._edges)
        return tf.concat([right[:-1], down[-1:]], 0)

    def _shape(self) -> tf.TensorShape:
        right, down = self._edges.right.shape, self._edges.down.shape
        height, width = right[-2], down[-1]
        pixels = None if height is None or width is None else height * width
        return right[:-2].concatenate([pixels, pixels])

    def _shape_tensor(self) -> tf.Tensor:
        grid = self._grid_shape()
        pixels = grid[-2] * grid[-1]
        return tf.concat([grid[:-2], [pixels, pixels]], 0)

    def _matmul(self, x: tf.Tensor, adjoint: bool = False, adjoint_arg: bool = False) -> tf.Tensor:
        x = tf.linalg.adjoint(x) if adjoint_arg else x  # [*batch, N, K]
        grid = self._grid_shape()
        columns = tf.linalg.matrix_transpose(x)  # [*batch, K, N]
        signals = tf.reshape(columns, tf.concat([tf.shape(columns)[:-1], grid[-2:]], 0))
        edges = Edges(*(tf.expand_dims(weight, -3) for weight in self._edges))
        product = self._diagonal * signals + neighbour_sum(edges, signals)
        flat = tf.reshape(product, tf.concat([tf.shape(product)[:-2], grid[-2:-1] * grid[-1:]], 0))
        return tf.linalg.matrix_transpose(flat)

    def _diag_part(self) -> tf.Tensor:
        return tf.fill(self.shape_tensor()[:-1], tf.cast(self._diagonal, self.dtype))
