"""Batch normalisations folded into the layers before them: the same logits and gradients, of today's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_smoothadv as sa
from models import loading
from tests.conftest import needs_shared
from tf_smoothadv import folding
from tf_smoothadv.attacks import FMN, PGD2
from tf_smoothadv.classifier import _OWNER

KERAS2 = keras.__version__.startswith("2.")
IMAGES = np.random.default_rng(0).uniform(size=(3, 10, 10, 3)).astype(np.float32)
CLOSE = 1e-5  # relative to the largest

pytestmark = pytest.mark.skipif(KERAS2, reason="networks of Keras 2 stay as they are")


def trained(model: Any) -> Any:
    """The model with weights as training leaves them: no scale is 1, no shift is 0."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        low, high = (-0.5, 0.5) if variable.name in ("bias", "beta", "moving_mean") else (0.5, 1.5)
        if "kernel" in variable.name:
            low, high = (-0.3, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape))
    return model


def sequential(*middle: Any) -> keras.Model:
    top = [layers.GlobalAveragePooling2D(), layers.Dense(4)]
    return trained(keras.Sequential([keras.Input(IMAGES.shape[1:]), *middle, *top]))


def functional(middle: Callable[[Any], Any]) -> keras.Model:
    images = keras.Input(IMAGES.shape[1:])
    return trained(keras.Model(images, layers.Dense(4)(layers.GlobalAveragePooling2D()(middle(images)))))


def pair(**settings: Any) -> list[Any]:
    """A convolution of three channels, and its normalisation."""
    return [layers.Conv2D(3, 3, padding="same", **settings), layers.BatchNormalization()]


def through(x: Any, *stack: Any) -> Any:
    for layer in stack:
        x = layer(x)
    return x


def normalizations(function: Callable[[tf.Tensor], Any]) -> int:
    """How many batch normalisations a graph has outside of kernels: products of its activations with scales."""
    graph = tf.function(function).get_concrete_function(tf.TensorSpec(IMAGES.shape)).graph
    depends = {graph.inputs[0].name}
    found = 0
    for operation in graph.get_operations():
        if any(tensor.name in depends for tensor in operation.inputs):
            depends.update(tensor.name for tensor in operation.outputs)
            scales = [tensor.op for tensor in operation.inputs if tensor.name not in depends]
            found += operation.type == "Mul" and any(below(scale, "Rsqrt") for scale in scales)
    return found


def below(operation: Any, kind: str) -> bool:
    return operation.type == kind or any(below(tensor.op, kind) for tensor in operation.inputs)


def gradient(model: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images)
        loss = tf.reduce_sum(logits**2)
    return tape.gradient(loss, images)


def assert_close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=CLOSE * np.max(np.abs(other)))


def assert_same(model: Any) -> None:
    """Logits and gradients are those of the model."""
    faster = folding.folded(model)
    assert_close(faster(IMAGES, training=False), model(IMAGES, training=False))
    assert_close(gradient(lambda x: faster(x, training=False)), gradient(lambda x: model(x, training=False)))


def residual(images: Any) -> Any:
    inside = through(images, *pair(), layers.ReLU(), *pair(use_bias=False))
    return layers.ReLU()(layers.Add()([inside, images]))


def nested(images: Any) -> Any:
    """Twice the same network."""
    inner = keras.Sequential([keras.Input(IMAGES.shape[1:]), *pair(), layers.ReLU()])
    return inner(keras.Model(inner.inputs, inner(inner.inputs[0]))(images))


FOLDED = {
    "a convolution": lambda: sequential(*pair()),
    "without a bias": lambda: sequential(*pair(use_bias=False)),
    "strides": lambda: sequential(layers.Conv2D(6, 3, 2, "valid"), layers.BatchNormalization(), layers.ReLU()),
    "dilation": lambda: sequential(layers.Conv2D(6, 3, dilation_rate=2), layers.BatchNormalization()),
    "groups": lambda: sequential(layers.Conv2D(6, 3, groups=3), layers.BatchNormalization()),
    "behind zeros": lambda: sequential(layers.ZeroPadding2D(1), *pair(strides=2)),
    "depthwise": lambda: sequential(
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), layers.BatchNormalization(axis=3)
    ),
    "separable": lambda: sequential(
        layers.SeparableConv2D(6, 3, depth_multiplier=2, use_bias=False), layers.BatchNormalization()
    ),
    "dense": lambda: sequential(layers.Dense(5), layers.BatchNormalization()),
    "without a scale": lambda: sequential(layers.Conv2D(6, 3), layers.BatchNormalization(scale=False)),
    "without a shift": lambda: sequential(
        layers.Conv2D(6, 3, use_bias=False), layers.BatchNormalization(center=False, epsilon=0.1)
    ),
    "several": lambda: sequential(*pair(), layers.ReLU(), *pair()),
    "a residual": lambda: functional(residual),
    "nested": lambda: functional(nested),
    "a network in a sequence": lambda: trained(
        keras.Sequential([layers.Rescaling(2.0), sequential(*pair()), layers.Dense(3)])
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_logits_and_gradients_stay_and_normalizations_go(name):
    model = FOLDED[name]()
    model(IMAGES)
    assert_same(model)
    assert normalizations(lambda x: model(x, training=False)) >= 1
    assert normalizations(lambda x: folding.folded(model)(x, training=False)) == 0


class Convolution(layers.Conv2D):
    pass


class Doubled(layers.BatchNormalization):
    def call(self, inputs: Any, **settings: Any) -> Any:
        return 2 * super().call(inputs, **settings)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [*pair(), layers.Flatten(), layers.Dense(4)]

    def call(self, images: Any, training: bool = False) -> Any:
        return through(images, *self.stack)


def shared_layer(images: Any) -> Any:
    convolution = layers.Conv2D(3, 3, padding="same")
    return layers.BatchNormalization()(convolution(convolution(images)))


def shared_normalization(images: Any) -> Any:
    normalization = layers.BatchNormalization()
    return normalization(layers.Conv2D(3, 3)(normalization(layers.Conv2D(3, 3)(images))))


def second_consumer(images: Any) -> Any:
    inside = layers.Conv2D(3, 3)(images)
    return layers.Add()([inside, layers.BatchNormalization()(inside)])


def second_output() -> keras.Model:
    images = keras.Input(IMAGES.shape[1:])
    inside = layers.Conv2D(3, 3)(images)
    averages = [layers.GlobalAveragePooling2D()(x) for x in (inside, layers.BatchNormalization()(inside))]
    return trained(keras.Model(images, [layers.Concatenate()(averages), inside]))


def own_method() -> keras.Model:
    model = sequential(*pair())
    convolution = model.layers[0]
    convolution.call = lambda inputs: 2 * type(convolution).call(convolution, inputs)
    return model


def adapted() -> keras.Model:
    model = sequential(*pair())
    model.layers[0].enable_lora(2)
    return trained(model)


KEPT = {
    "a shared layer": lambda: functional(shared_layer),
    "a shared normalisation": lambda: functional(shared_normalization),
    "a second consumer": lambda: functional(second_consumer),
    "an output of its own": second_output,
    "an activation between": lambda: sequential(*pair(activation="relu")),
    "a layer between": lambda: sequential(layers.Conv2D(6, 3), layers.ReLU(), layers.BatchNormalization()),
    "a normalisation first": lambda: sequential(layers.BatchNormalization(), layers.Conv2D(6, 3)),
    "a layer's subclass": lambda: sequential(Convolution(6, 3), layers.BatchNormalization()),
    "a normalisation's subclass": lambda: sequential(layers.Conv2D(6, 3), Doubled()),
    "another axis": lambda: sequential(layers.Conv2D(6, 3), layers.BatchNormalization(axis=1)),
    "mixed precision": lambda: sequential(
        *[kind(dtype="mixed_bfloat16", **settings) for kind, settings in MIXED], layers.Activation("linear")
    ),
    "a method of its own": own_method,
    "LoRA": adapted,
    "a subclassed network": lambda: trained(built(Subclassed())),
    "a network without an input": lambda: keras.Sequential([*pair(), layers.Flatten()]),
    "nothing to fold": lambda: sequential(layers.Conv2D(6, 3)),
}
MIXED = [(layers.Conv2D, {"filters": 6, "kernel_size": 3}), (layers.BatchNormalization, {})]


def built(model: Any) -> Any:
    model(IMAGES)
    return model


@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_folded_stays(name):
    model = KEPT[name]()
    assert folding.folded(model) is model


@pytest.mark.parametrize("model", [tf.negative, tf.Module(), None], ids=["a function", "a module", "none"])
def test_what_is_no_network_stays(model):
    assert folding.folded(model) is model


def test_what_can_be_folded_is_folded_beside_what_cannot():
    model = functional(lambda x: through(second_consumer(x), *pair(), layers.ReLU(), *pair(activation="relu")))
    assert_same(model)
    assert normalizations(lambda x: model(x, training=False)) == 3
    assert normalizations(lambda x: folding.folded(model)(x, training=False)) == 2


def test_the_network_itself_stays_as_it_is():
    model = functional(nested)
    before, weights = vars(model).copy(), model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    folding.folded(model)(IMAGES, training=False)
    assert vars(model) == before
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def labels_of(model: Any) -> np.ndarray:
    return np.argmax(sa.Classifier.of(model)(IMAGES), axis=1)


def loops_of(model: Any) -> list[Any]:
    """The graphs of attacks that are compiled for a model."""
    graphs = [function.graph for function in _OWNER.functions_of(model).compiled.values()]
    return [graph.as_graph_def() for graph in graphs if any("While" in op.type for op in graph.get_operations())]


def rsqrts(nodes: Any) -> int:
    return sum(node.op == "Rsqrt" for node in nodes)


class TestAttacks:
    @pytest.mark.parametrize("attack", [FMN(5), PGD2(1.0, 0.3, 5)], ids=repr)
    def test_kernels_are_made_before_the_steps(self, attack):
        model = sequential(*pair(), layers.ReLU(), *pair())
        attack(model, IMAGES, labels_of(model))
        (loop,) = loops_of(model)
        bodies = [function.node_def for function in loop.library.function]
        assert rsqrts(loop.node) == 2
        convolved = [nodes for nodes in bodies if any(node.op == "Conv2D" for node in nodes)]
        assert convolved
        assert sum(map(rsqrts, convolved)) == 0

    def test_other_weights_are_seen_without_compiling_again(self):
        model, fresh = (sequential(*pair(), layers.ReLU(), *pair()) for _ in range(2))
        FMN(5)(model, IMAGES, labels_of(model))
        compiled = dict(_OWNER.functions_of(model).compiled)
        for one in (model, fresh):
            for layer in one.layers[:2]:
                for variable in layer.variables:
                    variable.assign(1.3 * variable + 0.1)
        FMN(3)(model, IMAGES[:2], labels_of(model)[:2])
        result, expected = (FMN(5)(one, IMAGES, labels_of(one)) for one in (model, fresh))
        np.testing.assert_array_equal(result.adversarial, expected.adversarial)
        assert _OWNER.functions_of(model).compiled == compiled

    @pytest.mark.parametrize(
        "wrap",
        [
            pytest.param(lambda model: model, marks=pytest.mark.slow),
            pytest.param(lambda model: sa.Ensemble([model, sequential(*pair())]), marks=pytest.mark.slow),
            pytest.param(lambda model: sa.Classifier(sa.Resized(model, 10)), marks=pytest.mark.slow),
            lambda model: sa.Ensemble([sa.Resized(model, 12), sa.Resized(sequential(*pair()), 10)]),
            lambda model: loading.with_defense(tf.identity, sa.Classifier(model, input_range=(-1, 1))),
        ],
        ids=["alone", "in an ensemble", "resized", "resized in an ensemble", "behind a defence"],
    )
    def test_every_kind_of_classifier_is_folded_through(self, wrap):
        classifier = sa.Classifier.of(wrap(sequential(*pair(), layers.ReLU())))
        assert normalizations(classifier) >= 1
        assert normalizations(lambda x: classifier.folded()(x)) == 0
        images = tf.constant(IMAGES)
        assert_close(classifier.folded().draws(images), classifier.draws(images))
        attack = FMN(20)
        attack(classifier, images, labels_of(classifier))
        (loop,) = loops_of(classifier.model)
        assert rsqrts(loop.node) >= 1
        assert not any(rsqrts(function.node_def) for function in loop.library.function)

    def test_the_tolerance_is_wider_than_what_folding_changes(self):
        classifier = sa.Classifier(sequential(*[layer for _ in range(12) for layer in (*pair(), layers.ReLU())]))
        images = tf.constant(IMAGES)
        logits, faster = classifier(images), classifier.folded()(images)
        changed = tf.reduce_max(tf.abs(faster - logits), axis=1) / tf.reduce_max(tf.abs(logits), axis=1)
        assert np.all(changed < classifier.check(images).tolerance)
        assert np.all(changed < classifier.folded_within(images).tolerance)

    def test_inside_a_function(self):
        model = sequential(*pair(), layers.ReLU(), *pair())
        labels = labels_of(model)
        attacked = tf.function(lambda images: FMN(20)(model, images, labels))
        result, expected = attacked(IMAGES), FMN(20)(model, IMAGES, labels)
        np.testing.assert_array_equal(result.success, expected.success)
        np.testing.assert_allclose(result.distortion, expected.distortion, rtol=1e-3)

    def test_batches_of_one_size(self):
        model = keras.Sequential([keras.Input(IMAGES.shape[1:], batch_size=2), *pair(), layers.Flatten()])
        classifier = sa.Classifier(trained(model))
        assert_close(classifier.folded()(tf.constant(IMAGES)), classifier(IMAGES))
        assert FMN(5)(classifier, IMAGES, labels_of(classifier)).gradients.numpy().tolist() == [5] * 3

    @pytest.mark.parametrize(
        "classifier",
        [
            sa.Classifier(tf.negative),
            sa.Ensemble([tf.negative, tf.abs]),
            sa.Classifier(sa.Resized(tf.negative, 4)),
        ],
        ids=["alone", "in an ensemble", "resized"],
    )
    def test_a_classifier_with_nothing_to_fold_is_itself(self, classifier):
        assert classifier.folded() is classifier
        assert classifier.folded_within(tf.constant(IMAGES)) is classifier


def test_efficientnet_lite0():
    path = needs_shared("models/efficientnet_lite0.keras")
    model = keras.models.load_model(str(path), compile=False)
    images = tf.image.resize(IMAGES, [64, 64])
    assert_close(folding.folded(model)(images, training=False), model(images, training=False))
    assert normalizations(lambda x: model(x, training=False)) == 49
    assert normalizations(lambda x: folding.folded(model)(x, training=False)) == 0
