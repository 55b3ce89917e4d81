"""TF-Slim's own networks, where it is installed: our import of their checkpoints computes what they compute."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import slim
from tests.test_slim import V1, V2, assert_close

v1 = tf.compat.v1


@functools.cache
def networks() -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    """TF-Slim's networks and their argument scopes; skips the test without TF-Slim."""
    nets = pytest.importorskip("tf_slim.nets")
    # TensorFlow 2.15 looks for TF-Slim's batch normalisation in the package that Keras 2 was called later.
    normalization = pytest.importorskip("keras.src.legacy_tf_layers.normalization")
    sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization
    inception, resnet = nets.inception, nets.resnet_v2
    return {
        "inception_v3": (inception.inception_v3, inception.inception_v3_arg_scope),
        "resnet_v2_50": (resnet.resnet_v2_50, resnet.resnet_arg_scope),
    }


def random_value(rng: np.random.Generator, variable: Any) -> np.ndarray:
    """Any value that a trained network may hold; weights so large that activations keep their scale."""
    shape = variable.shape.as_list()
    kind = variable.op.name.rsplit("/", 1)[-1]
    if kind == "weights":
        return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    if kind in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 0.1, shape)


@pytest.mark.filterwarnings("ignore:`layer.apply` is deprecated:UserWarning")
@pytest.mark.parametrize("network", ["inception_v3", "resnet_v2_50"])
def test_the_import_computes_what_tf_slim_computes(network, tmp_path, rng):
    build, arg_scope = networks()[network]
    from tf_slim import arg_scope as scope

    image = rng.random((1, 299, 299, 3)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, image.shape)
        with scope(arg_scope()):
            logits, _ = build(2 * images - 1, num_classes=1001, is_training=False)
        variables = v1.global_variables()
        assert {"beta", "moving_mean", "moving_variance"} <= {one.op.name.rsplit("/", 1)[-1] for one in variables}
        for variable in variables:
            variable.load(random_value(rng, variable), session)
        expected = session.run(logits, {images: image}).reshape(1, -1)
        checkpoints = [
            v1.train.Saver(write_version=version).save(session, str(tmp_path / f"v{version}"), write_meta_graph=False)
            for version in (V1, V2)
        ]
    for checkpoint in checkpoints:
        assert_close(slim.load(network, checkpoint)(image, training=False).numpy(), expected)
