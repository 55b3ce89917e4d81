from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests import reference
from tf_smoothadv import graph


@pytest.fixture
def guided(rng) -> tuple[np.ndarray, sa.Smoothing, sa.Smoother]:
    images = rng.random((2, 4, 5, 3))
    spec = sa.Smoothing(0.9, 3.0)
    return images, spec, spec.guided_by(images)


def test_weights_of_a_row_by_hand():
    images = np.array([0.0, 0.5, 0.5, 1.0]).reshape(1, 1, 4, 1)
    laplacian = graph.similarity_edges(tf.constant(images), 2.0, "laplacian", "joint")
    gaussian = graph.similarity_edges(tf.constant(images), 2.0, "gaussian", "joint")
    np.testing.assert_allclose(laplacian.right.numpy().ravel(), np.exp([-1.0, 0.0, -1.0]))
    np.testing.assert_allclose(gaussian.right.numpy().ravel(), np.exp([-0.5, 0.0, -0.5]))


def test_operator_is_the_regularised_laplacian(guided):
    images, spec, smoother = guided
    dense = smoother.operator.to_dense().numpy()
    for image, matrix in zip(images, dense):
        np.testing.assert_allclose(matrix, reference.laplacian(image, spec).toarray(), atol=1e-12)


def test_operator_of_one_graph_per_channel(rng):
    images = rng.random((2, 4, 5, 3))
    spec = sa.Smoothing(0.9, 3.0, "gaussian", "per_channel")
    dense = spec.guided_by(images).operator.to_dense().numpy()
    assert dense.shape == (2, 3, 20, 20)
    np.testing.assert_allclose(dense[1, 2], reference.laplacian(images[1, ..., 2:], spec).toarray(), atol=1e-12)


def test_operator_in_the_functions_of_tf_linalg(guided, rng):
    operator = guided[2].operator
    dense = operator.to_dense()
    x = tf.constant(rng.normal(size=(2, 20, 3)))
    assert isinstance(operator, tf.linalg.LinearOperator)
    assert operator.shape == (2, 20, 20)
    assert operator.shape_tensor().numpy().tolist() == [2, 20, 20]
    assert operator.is_self_adjoint
    assert operator.is_positive_definite
    operator.assert_self_adjoint()
    pairs = {
        "matmul": (tf.linalg.matmul(operator, x), dense @ x),
        "adjoint": (operator.matmul(x, adjoint=True), dense @ x),
        "adjoint_arg": (operator.matmul(tf.linalg.adjoint(x), adjoint_arg=True), dense @ x),
        "matvec": (tf.linalg.matvec(operator, x[..., 0]), tf.linalg.matvec(dense, x[..., 0])),
        "diag_part": (tf.linalg.diag_part(operator), tf.linalg.diag_part(dense)),
        "trace": (tf.linalg.trace(operator), tf.linalg.trace(dense)),
        "logdet": (tf.linalg.logdet(operator), tf.linalg.logdet(dense)),
        "solve": (tf.linalg.solve(operator, x), tf.linalg.solve(dense, x)),
        "cholesky": (tf.linalg.cholesky(operator).to_dense(), tf.linalg.cholesky(dense)),
        "conjugate_gradient": (
            tf.linalg.experimental.conjugate_gradient(operator, x[..., 0], max_iter=100, tol=1e-12).x,
            tf.linalg.solve(dense, x[..., :1])[..., 0],
        ),
    }
    for name, (found, expected) in pairs.items():
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_operator_in_a_function_of_unknown_batch_size(guided, rng):
    images, spec, smoother = guided
    x = rng.normal(size=(2, 20))

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 5, 3], tf.float64), tf.TensorSpec([None, 20], tf.float64)])
    def product(images, x):
        operator = spec.guided_by(images).operator
        assert operator.shape.as_list() == [None, 20, 20]
        return operator.matvec(x)

    np.testing.assert_allclose(product(images, x), smoother.operator.matvec(x))


def test_spectrum_of_the_adjacency_is_symmetric_in_minus_one_to_one(guided):
    eigenvalues = np.linalg.eigvalsh(guided[2].adjacency.to_dense().numpy()[0])
    np.testing.assert_allclose(eigenvalues, -eigenvalues[::-1], atol=1e-12)
    np.testing.assert_allclose(eigenvalues[-1], 1, atol=1e-12)


def test_no_gradient_flows_to_the_guide(rng):
    images = tf.constant(rng.random((1, 4, 4, 1)))
    with tf.GradientTape() as tape:
        tape.watch(images)
        smoothed = sa.Smoothing(0.9).guided_by(images)(tf.ones_like(images))
    assert tape.gradient(smoothed, images) is None
