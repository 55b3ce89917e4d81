"""Smoothing guided by an image: the specification, the operator it gives for a batch of images, the Keras layer."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tf_smoothadv import checks, graph, solvers

__all__ = ["GuidedSmoothing", "Smoother", "Smoothing"]

SOLVERS = ("auto", "chebyshev", "cg", "dense")
GRADIENTS = ("implicit", "unrolled")
CG_ITERATIONS = 50
CG_LIMIT = 10_000
CHEBYSHEV_TOL = 1e-3
ROUNDING_SWEEPS = 3
LARGEST_ALPHA = 0.999999


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """How to smooth a signal like an image (section 3 of the paper).

    Attributes:
        alpha: bandwidth of (6), from 0, which passes everything, to 0.999999; towards 1 only what is smooth like the
            image passes.
        gamma: of the feature kernel in (5), at least 0; the larger, the more an edge of the image separates.
        kernel: "laplacian", exp(-gamma ||x_i - x_j||), or "gaussian", exp(-gamma ||x_i - x_j||^2).
        color: "joint", one graph from all channels, as in (5); "per_channel", one graph each, as in the authors' code.
        solver: "chebyshev", fast and exactly symmetric; "cg", the paper's for large images; "dense", the paper's for
            small ones, at most 64 x 64; "auto" is "chebyshev".
        iterations: of "cg" (default 50, the paper's; with `tol` the most it may take) or sweeps of "chebyshev".
        tol: of "cg", the relative residual to stop at; of "chebyshev", the error relative to the input's norm
            (default 1e-3), from which the number of sweeps follows before the first one.
        gradient: "implicit", one more solve, which keeps no iterate; "unrolled", by automatic differentiation through
            the iterations, the paper's choice.

    Raises:
        ValueError: a value outside these.

    Source: Zhang, Avrithis, Furon, Amsaleg, "Smooth Adversarial Examples", 2019.

    >>> spec = Smoothing(alpha=0.95, gamma=3.0)
    >>> spec == Smoothing.from_config(spec.get_config())
    True
    >>> spec.guided_by(tf.ones([1, 8, 8, 3])).operator.shape
    TensorShape([1, 64, 64])
    """

    alpha: float = 0.997
    gamma: float = 10.0
    kernel: str = "laplacian"
    color: str = "joint"
    solver: str = "auto"
    iterations: int | None = None
    tol: float | None = None
    gradient: str = "implicit"

    def __post_init__(self) -> None:
        checks.in_range("alpha", self.alpha, 0, 1)
        if self.alpha > LARGEST_ALPHA:
            raise ValueError(
                f"alpha must be at most {LARGEST_ALPHA}, beyond which float32 loses 1 - alpha; received {self.alpha!r}"
            )
        checks.in_range("gamma", self.gamma, 0)
        checks.one_of("kernel", self.kernel, graph.KERNELS)
        checks.one_of("color", self.color, graph.COLORS)
        checks.one_of("solver", self.solver, SOLVERS)
        checks.one_of("gradient", self.gradient, GRADIENTS)
        if self.iterations is not None:
            checks.count("iterations", self.iterations)
        if self.tol is not None:
            checks.in_range("tol", self.tol, 0, 1, open_low=True)
        if self.solver == "dense" and (self.iterations is not None or self.tol is not None):
            raise ValueError("solver 'dense' is direct: it takes neither iterations nor tol")
        if self.solver in ("auto", "chebyshev") and self.iterations is not None and self.tol is not None:
            raise ValueError(
                "solver 'chebyshev' takes iterations or tol, not both: "
                f"received iterations={self.iterations} and tol={self.tol}"
            )

    def get_config(self) -> dict[str, Any]:
        """The attributes as a dictionary of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Smoothing:
        """The inverse of `get_config`.

        Raises:
            ValueError: a value that `Smoothing` refuses.
        """
        return cls(**config)

    def guided_by(self, images: Any) -> Smoother:
        """The smoothing operator guided by these images.

        Args:
            images: [B, H, W, C] in [0, 1], float32 or float64. In eager code NaN and values outside are refused; in a
                `tf.function` they are the caller's affair.

        Raises:
            ValueError: another rank or dtype, or values outside [0, 1].
        """
        return Smoother(self, checks.as_images(images, "guide images"))


class Smoother:
    """The smoothing operator of a batch of images; what depends on the images alone is computed here, once.

    Made by `Smoothing.guided_by`. Signals z have the images' shape [B, H, W, C] and dtype, any other is refused with a
    ValueError. Gradients flow to the signal, not to the images; nothing mixes images or channels.

    Attributes:
        spec: the `Smoothing` that it was made by.

    Source: section 3 of the paper.

    Constants stay as they are; noise becomes smooth like the image:

    >>> images = tf.random.stateless_uniform([1, 8, 8, 3], seed=[0, 0])
    >>> smoother = Smoothing(alpha=0.9).guided_by(images)
    >>> bool(tf.reduce_all(tf.abs(smoother(tf.ones_like(images)) - 1) < 1e-6))
    True
    >>> noise = tf.random.stateless_normal(images.shape, seed=[1, 0])
    >>> bool(smoother.energy(smoother(noise)) < 0.5 * smoother.energy(noise))
    True
    """

    def __init__(self, spec: Smoothing, images: tf.Tensor) -> None:
        images = tf.stop_gradient(images)
        self.spec = spec
        self._shape = images.shape
        edges = graph.similarity_edges(images, spec.gamma, spec.kernel, spec.color)
        self._adjacency = graph.normalized(edges)
        self._solver = _solver(spec, self._adjacency, graph.stationary(edges))
        ones = tf.ones_like(images if spec.color == "per_channel" else images[..., :1])
        self._inverse_gain = 1 / self._solver(ones).values  # diag(s(1))^-1 of (9)

    def take(self, indices: tf.Tensor) -> Smoother:
        """The smoothing of some of the images, in the order of `indices`; nothing is computed again.

        Args:
            indices: [M] integers below B.
        """
        taken = copy.copy(self)
        taken._shape = tf.TensorShape([None]).concatenate(self._shape[1:])
        taken._adjacency = graph.Edges(*(tf.gather(weight, indices) for weight in self._adjacency))
        taken._solver = self._solver.take(indices)
        taken._inverse_gain = tf.gather(self._inverse_gain, indices)
        return taken

    @property
    def operator(self) -> graph.GridOperator:
        """L_alpha as a `tf.linalg.LinearOperator` on the pixels, row by row: [B, HW, HW], or [B, C, HW, HW] if
        `color="per_channel"`.
        """
        return solvers.laplacian(self._squeezed(), self.spec.alpha)

    @property
    def adjacency(self) -> graph.GridOperator:
        """W of section 3, the normalised adjacency, as a `tf.linalg.LinearOperator` of the same shape."""
        return graph.GridOperator(self._squeezed(), diagonal=0.0, name="NormalizedAdjacency")

    def __call__(self, z: Any) -> tf.Tensor:
        """Normalised smoothing (9): s(z) / s(1), which keeps constants as they are.

        A pixel without edges (its weights underflow) is returned as it is.

        Args:
            z: [B, H, W, C], of the images' shape and dtype.

        Returns:
            The shape and dtype of z.

        Raises:
            ValueError: another shape or dtype.
        """
        return self.solve(z) * self._inverse_gain

    def apply(self, z: Any) -> tf.Tensor:
        """What calling it returns, without a gradient.

        In a graph that is made for each model this is the one to take: TensorFlow never frees a graph that has a custom
        gradient in it, as `__call__` has. Of a graph that calls what XLA has compiled, as "chebyshev" does, it keeps
        about 2 MB for each such call after the graph is gone; with "cg" nothing stays.
        """
        return self._solver(tf.stop_gradient(self._signal(z))).values * self._inverse_gain

    def adjoint(self, z: Any) -> tf.Tensor:
        """The adjoint of (9), s(z / s(1)): what the gradient of a loss takes from r back to z, as in (19).

        z and the result are [B, H, W, C]. No gradient flows through it.
        """
        return self._solver(tf.stop_gradient(self._signal(z)) * self._inverse_gain).values

    def pull_back(self, z: Any, gradient: Any) -> tf.Tensor:
        """The gradient of a loss at z, from its `gradient` at r = s(z) / s(1), as `Smoothing.gradient` says; (19).

        All are [B, H, W, C].
        """
        if self.spec.gradient == "implicit":
            return self.adjoint(gradient)
        z = self._signal(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            r = self(z)
        return tape.gradient(r, z, gradient)

    def solve(self, z: Any) -> tf.Tensor:
        """Smoothing (8), s(z) = L_alpha^-1 z; z and the result [B, H, W, C]."""
        return self.solution(z).values

    def solution(self, z: Any) -> solvers.Solution:
        """(8) with the count of iterations: `values` [B, H, W, C] and `iterations` [B]."""
        z = self._signal(z)
        if self.spec.gradient == "unrolled":
            return self._solver(z)

        @tf.custom_gradient
        def solve(rhs: tf.Tensor) -> Any:
            solution = self._solver(tf.stop_gradient(rhs))
            # s is symmetric: its own adjoint.
            return tuple(solution), lambda g, _: self.solve(g)

        return solvers.Solution(*solve(z))

    def penalty(self, r: Any) -> tf.Tensor:
        """The pairwise term of (14), sum_ij w_ij ||r_i / sqrt(d_i) - r_j / sqrt(d_j)||^2 = 2 r'(I - W)r.

        r is [B, H, W, C], the result [B], in the square of r's units. Pixels without edges count as r_i^2, twice, as in
        the quadratic form.
        """
        r = solvers.channels_first(self._signal(r))
        return 2 * tf.reduce_sum(r * (r - graph.neighbour_sum(self._adjacency, r)), axis=[1, 2, 3])

    def energy(self, r: Any) -> tf.Tensor:
        """Smoothness energy r'(I - W)r / r'r of each image, [B]: 0 if perfectly smooth like the image, at most 2.

        Scale-free; 0 for r = 0.

        Args:
            r: [B, H, W, C].
        """
        squared = tf.reduce_sum(tf.square(self._signal(r)), axis=[1, 2, 3])
        return tf.math.divide_no_nan(self.penalty(r) / 2, squared)

    def rounded(self, x: Any) -> tf.Tensor:
        """Integers near x in the norm of L_alpha, so that what is smooth like the image stays so.

        They lower the error e = q - x in e'(I - alpha W)e, where nearest rounding has the smallest e'e: an error shared
        by like neighbours counts little. From the nearest integers on, every pixel in turn takes the best one given its
        neighbours, q_i = round(x_i + alpha sum_j w_ij e_j), all red ones of the checkerboard at once, then all black
        ones, so that the norm never rises. After `ROUNDING_SWEEPS` of these hardly a pixel changes.

        Args:
            x: [B, H, W, C], in units of a level.

        Returns:
            The shape and dtype of x. No gradient flows through it.
        """
        x = solvers.channels_first(self._signal(x))
        row, column = tf.range(tf.shape(x)[2])[:, tf.newaxis], tf.range(tf.shape(x)[3])
        red = (row + column) % 2 == 0
        q = tf.round(x)
        for color in (red, ~red) * ROUNDING_SWEEPS:
            best = tf.round(x + self.spec.alpha * graph.neighbour_sum(self._adjacency, q - x))
            q = tf.where(color, best, q)
        return solvers.channels_last(q)

    def _signal(self, z: Any) -> tf.Tensor:
        z = checks.as_floats(z, "signal")
        if not z.shape.is_compatible_with(self._shape):
            raise ValueError(f"signal must have the guide's shape {self._shape}; received {z.shape}")
        if z.dtype != self._inverse_gain.dtype:
            raise ValueError(
                f"signal must have the guide's dtype {self._inverse_gain.dtype.name}; received {z.dtype.name}"
            )
        return z

    def _squeezed(self) -> graph.Edges:
        joint = self.spec.color == "joint"
        return graph.Edges(*(weight[:, 0] if joint else weight for weight in self._adjacency))


def _solver(spec: Smoothing, edges: graph.Edges, stationary: tf.Tensor) -> solvers.Solver:
    if spec.solver == "dense":
        return solvers.dense(edges, spec.alpha)
    if spec.solver == "cg":
        limit = spec.iterations or (CG_ITERATIONS if spec.tol is None else CG_LIMIT)
        return solvers.conjugate_gradient(edges, spec.alpha, limit, spec.tol or 0.0)
    sweeps = spec.iterations or solvers.chebyshev_sweeps(spec.alpha, spec.tol or CHEBYSHEV_TOL)
    return solvers.chebyshev(edges, stationary, spec.alpha, sweeps, compiled=spec.gradient == "implicit")


@keras.saving.register_keras_serializable(package="tf_smoothadv")
class GuidedSmoothing(keras.layers.Layer):
    """Keras layer of the normalised smoothing (9): `layer([z, guide])` smooths z like the guide.

    Args:
        alpha, gamma, kernel, color, solver, iterations, tol, gradient: see `Smoothing`.

    Call arguments:
        inputs: a list of two tensors [B, H, W, C], the signal and the guide, the guide in [0, 1]. Computed in float32,
            or float64 if the signal is; returned in the signal's dtype. Gradients flow to the signal alone.

    Raises:
        ValueError: settings that `Smoothing` refuses, inputs that are not two tensors of one shape, or a guide outside
            [0, 1] (in eager code).

    Runs eagerly, in a `tf.function`, in `tf.data.Dataset.map` and in a functional model; saves and loads with it.

    Source: section 3 of the paper.

    On a constant guide it smooths everything; across an edge of the guide, hardly anything:

    >>> left = tf.concat([tf.ones([1, 8, 4, 3]), tf.zeros([1, 8, 4, 3])], axis=2)  # 1 on the left, 0 on the right
    >>> layer = GuidedSmoothing(alpha=0.95, gamma=10.0)
    >>> [bool(layer([left, guide])[0, 0, 7, 0] > 0.1) for guide in (tf.ones_like(left), left)]
    [True, False]
    """

    def __init__(
        self,
        alpha: float = 0.997,
        gamma: float = 10.0,
        kernel: str = "laplacian",
        color: str = "joint",
        solver: str = "auto",
        iterations: int | None = None,
        tol: float | None = None,
        gradient: str = "implicit",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.smoothing = Smoothing(alpha, gamma, kernel, color, solver, iterations, tol, gradient)

    def call(self, inputs: Any) -> tf.Tensor:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError(f"GuidedSmoothing takes a list [signal, guide]; received {type(inputs).__name__}")
        z, guide = map(tf.convert_to_tensor, inputs)
        dtype = tf.float64 if z.dtype == tf.float64 else tf.float32
        smoother = self.smoothing.guided_by(tf.cast(guide, dtype))
        return tf.cast(smoother(tf.cast(z, dtype)), z.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.smoothing.get_config()}
