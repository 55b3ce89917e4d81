"""Models as users have them: changed after an attack, held weakly, random, of any callable, output and range."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

import tf_smoothadv as sa
from tests.test_attacks import SPEC, Linear
from tf_smoothadv import protocol, tensors, transfer
from tf_smoothadv.attacks import ALMA, BP, DDN, FGSM, FMN, IFGSM, PGD2, CarliniWagner, NearestClasses, core

IMAGES = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(192, 3)).astype(np.float32) / 10


@dataclasses.dataclass(frozen=True)
class Step(core.Attack):
    """One step down the margin: enough to tell what model it was taken on, and soon compiled."""

    length: float = 2.0
    smoothing: sa.Smoothing | None = None

    def run(self, model, images, labels, targets):
        slope = core.slope(model, images, labels, targets, first=True)
        smooth = self.smoothing.guided_by(images).apply if self.smoothing else tf.identity
        x = tensors.clip(images - self.length * tensors.unit_l2(smooth(slope.gradient)))
        success = core.is_adversarial(model, x, labels, targets)
        return core.keep_best(core.start(images, model.samples), images, x, success, model.samples, slope.faulty)


STEP = Step()


def network(*layers: Any, activation: str | None = None) -> keras.Model:
    """Three classes of WEIGHTS, and what layers follow."""
    dense = keras.layers.Dense(3, activation=activation)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), dense, *layers])
    dense.kernel.assign(WEIGHTS)
    return model


def logits_of(images: tf.Tensor) -> tf.Tensor:
    return tf.reshape(images, [-1, 192]) @ WEIGHTS


def negative(images: tf.Tensor) -> tf.Tensor:
    return -logits_of(images)


def classes(model: Callable[..., Any], images: Any = IMAGES) -> np.ndarray:
    """What an eager call by hand says."""
    return np.argmax(tf.cast(model(tf.constant(images)), tf.float32), axis=1)


@pytest.fixture(scope="module")
def expected() -> dict[Callable[..., Any], core.AttackResult]:
    """Of models that were never anything else."""
    return {model: STEP(model, IMAGES, classes(model)) for model in (logits_of, negative)}


class Switched:
    """A callable with a defence that an attribute switches on."""

    def __init__(self) -> None:
        self.on = False
        self.function = logits_of

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return -self.function(images) if self.on else self.function(images)


class Headed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.head = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(WEIGHTS))
        self.other = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(-WEIGHTS))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        flat = self.flatten(images)
        return self.head(flat) + 0 * self.other(flat)


SIGN = 1.0


def of_a_global(images: tf.Tensor) -> tf.Tensor:
    return SIGN * logits_of(images)


def negate_global(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SIGN", -1.0)


def enable_lora(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = model.layers[-1]
    dense.enable_lora(3)
    assert np.array_equal(protocol.predict(model, IMAGES), classes(logits_of))  # it changes nothing yet
    STEP(model, IMAGES, classes(logits_of))
    dense.lora_kernel_a.assign(-2 * WEIGHTS)
    dense.lora_kernel_b.assign(np.eye(3))


def assign(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.layers[-1].kernel.assign(-WEIGHTS)


def freeze(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.trainable = False
    assert np.array_equal(protocol.predict(model, IMAGES), classes(logits_of))
    assign(model, monkeypatch)


Change = Callable[[Any, pytest.MonkeyPatch], Any]
SWITCH: tuple[Callable[[], Any], Change] = Switched, lambda model, _: setattr(model, "on", True)
CHANGES: dict[str, tuple[Callable[[], Any], Change]] = {
    "a layer added": (network, lambda model, _: model.add(keras.layers.Rescaling(-1.0))),
    "a layer popped": (
        lambda: network(keras.layers.Rescaling(-1.0), keras.layers.Rescaling(-1.0)),
        lambda model, _: model.pop(),
    ),
    "a layer replaced": (Headed, lambda model, _: setattr(model, "head", model.other)),
    "a layer's activation": (network, lambda model, _: setattr(model.layers[-1], "activation", tf.negative)),
    "a layer's method": (
        lambda: network(keras.layers.ReLU(max_value=None, negative_slope=1.0)),
        lambda model, _: setattr(model.layers[-1], "call", tf.negative),
    ),
    "LoRA": (network, enable_lora),
    "weights": (network, assign),
    "trainable": (network, freeze),
    "an attribute": SWITCH,
    "a function": (Switched, lambda model, _: setattr(model, "function", negative)),
    "a global": (lambda: of_a_global, negate_global),
}


def some(names: Iterable[str], *soon: str) -> list[Any]:
    """All the names, those but `soon` marked slow."""
    return [pytest.param(name, marks=[] if name in soon else [pytest.mark.slow]) for name in names]


class TestChangedInPlace:
    """After a change the attack is that on a model which was like this from the first: here the negative one."""

    def changed(self, attack: core.Attack, make: Callable[[], Any], change: Change, patch: pytest.MonkeyPatch) -> Any:
        """The result on a model after a first attack and the change."""
        model = make()
        assert np.array_equal(protocol.predict(model, IMAGES), classes(logits_of))
        assert np.any(attack(model, IMAGES, classes(logits_of)).success)
        change(model, patch)
        labels = classes(model)
        assert np.array_equal(labels, classes(negative))
        assert np.array_equal(protocol.predict(model, IMAGES), labels)
        result = attack(model, IMAGES, labels)
        assert np.array_equal(result.success, classes(model, result.adversarial) != labels)
        return result

    @pytest.mark.parametrize("name", some(CHANGES, "a layer added", "LoRA", "weights", "trainable", "a global"))
    def test_in_any_way(self, name, monkeypatch, expected):
        result = self.changed(STEP, *CHANGES[name], monkeypatch)
        np.testing.assert_allclose(result.adversarial, expected[negative].adversarial, atol=1e-5)
        assert np.array_equal(result.success, expected[negative].success)

    @pytest.mark.parametrize(
        "attack",
        [
            FGSM(0.2),
            CarliniWagner(20, 2, 0.5),
            *(
                pytest.param(attack, marks=pytest.mark.slow)
                for attack in (
                    FMN(8),
                    IFGSM(0.2, 0.05, 6),
                    PGD2(2.0, 0.4, 6),
                    PGD2(2.0, 0.5, 4, binary_search_steps=2),
                    CarliniWagner(20, 2, 0.5, smoothing=SPEC),
                    ALMA(12),
                    DDN(20),
                    BP(8),
                    NearestClasses(FMN(6), classes=2, candidates=2),
                )
            ),
        ],
        ids=repr,
    )
    def test_whatever_the_attack(self, attack, monkeypatch):
        """A step along the gradient of before would lead away from the boundary."""
        assert np.all(self.changed(attack, *SWITCH, monkeypatch).success)

    def test_a_layers_dtype(self):
        model = network()
        labels = classes(model)
        STEP(model, IMAGES, labels)
        model.layers[-1].dtype_policy = "mixed_bfloat16"
        result = STEP(model, IMAGES, labels)
        assert model(result.adversarial).dtype == tf.bfloat16
        assert np.array_equal(result.success, classes(model, result.adversarial) != labels)

    def test_a_softmax_taken_off_as_the_message_recommends(self, expected):
        model = network(activation="softmax")
        labels = classes(model)
        with pytest.raises(ValueError, match=r"take the softmax off its last layer"):
            STEP(model, IMAGES, labels)
        model.layers[-1].activation = keras.activations.linear
        result = STEP(model, IMAGES, labels)
        np.testing.assert_allclose(result.adversarial, expected[logits_of].adversarial, atol=1e-5)

    @pytest.mark.parametrize("broken", [tf.round, tf.stop_gradient, lambda x: tf.stop_gradient(x) + 0 * x])
    def test_a_gradient_put_in_as_the_message_recommends(self, broken, expected):
        """Which the logits do not show."""
        images = np.round(IMAGES)
        inside = [broken]

        def model(x):
            return logits_of(inside[0](x))

        labels = classes(model, images)
        with pytest.raises(ValueError, match=r"straight-through gradient: x \+ tf.stop_gradient\(f\(x\) - x\)"):
            STEP(model, images, labels)
        inside[0] = lambda x: x + tf.stop_gradient(broken(x) - x)
        direction = images - STEP(model, images, labels).adversarial
        assert np.all(np.any(direction != 0, axis=(1, 2, 3)))

    def test_where_the_first_images_do_not_show_it(self):
        """A defence that only what is bright meets: the last image of the batch."""

        class Bright(Switched):
            def __call__(self, images: tf.Tensor) -> tf.Tensor:
                bright = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True) > 0.6
                return tf.where((bright & self.on)[:, 0, 0], -logits_of(images), logits_of(images))

        images = IMAGES * np.float32(0.5)
        images[3] += 0.5
        model, new = Bright(), Bright()
        for one in (model, new):
            if one is model:
                STEP(model, images, classes(model, images))
                before = classes(model, images)
            one.on = True
        labels = classes(model, images)
        assert (labels != before).tolist() == [False, False, False, True]
        result, fresh = (STEP(one, images, labels) for one in (model, new))
        assert np.array_equal(result.success, classes(model, result.adversarial) != labels)
        np.testing.assert_allclose(result.adversarial, fresh.adversarial, atol=1e-5)
        assert result.distortion[3] > 0.1


class Weights(tf.Module):
    """What must not outlive a model."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.w = tf.Variable(sign * WEIGHTS)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images, [-1, 192]) @ self.w

    __call__ = call


class WithCall(tf.Module):
    """Called by a method of its own, which takes nothing but images."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = Weights()

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.weights(images)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.call(images)


class Compiled(Weights):
    @tf.function
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.call(images)


@dataclasses.dataclass
class Dataclass:  # without a hash, because it has an equality
    weights: Weights

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.weights(images)


class Equal(Dataclass):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1


class Slots:  # without weak references
    __slots__ = ("weights",)

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.weights(images)


class Methods(Dataclass):
    def logits(self, images: tf.Tensor, sign: float = 1.0) -> tf.Tensor:
        return sign * self.weights(images)

    def negative(self, images: tf.Tensor) -> tf.Tensor:
        return -self.weights(images)


class KerasLayer(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(192, 3), initializer=keras.initializers.Constant(WEIGHTS))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images, [-1, 192]) @ self.w


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.layer = KerasLayer()

    def call(self, images: tf.Tensor, training: bool = True) -> tf.Tensor:
        return -self.layer(images) if training else self.layer(images)


def functional() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, KerasLayer()(inputs))


def keras_2() -> Any:
    tf_keras = pytest.importorskip("tf_keras")
    layers = [tf_keras.Input((8, 8, 3)), tf_keras.layers.Flatten(), tf_keras.layers.Dense(3)]
    model = tf_keras.Sequential(layers)
    model.layers[-1].kernel.assign(WEIGHTS)
    return model


def around(make: Callable[[Weights], Any]) -> Callable[[], tuple[Any, Any]]:
    """The model that is made of the weights, and the weights."""

    def made() -> tuple[Any, Any]:
        weights = Weights()
        return make(weights), weights

    return made


def itself(make: Callable[[], Any]) -> Callable[[], tuple[Any, Any]]:
    def made() -> tuple[Any, Any]:
        model = make()
        return model, model

    return made


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "dataclass": around(Dataclass),
    "equality": around(Equal),
    "slots": around(Slots),
    "bound method": around(lambda weights: Methods(weights).logits),
    "partial": around(lambda weights: functools.partial(Methods(weights).logits, sign=1.0)),
    "lambda": around(lambda weights: lambda images: weights(images)),
    "function": around(lambda weights: tf.function(lambda images: weights(images))),
    "bound function": around(lambda weights: tf.function(weights.call)),
    "module": itself(Weights),
    "module with call": itself(WithCall),
    "compiled module": itself(Compiled),
    "compiled method": lambda: (lambda module: (module.__call__, module))(Compiled()),
    "layer": itself(KerasLayer),
    "subclassed": itself(Subclassed),
    "sequential": itself(network),
    "functional": itself(functional),
    "Keras 2": itself(keras_2),
}


@pytest.mark.parametrize(
    "name", some(MODELS, "equality", "slots", "bound method", "function", "compiled module", "subclassed", "Keras 2")
)
def test_any_callable_is_attacked_as_what_it_is_and_freed(name, expected):
    model, owned = MODELS[name]()
    labels = classes(logits_of)
    for _ in range(2):
        result = STEP(model, IMAGES, labels)
        np.testing.assert_allclose(result.adversarial, expected[logits_of].adversarial, atol=1e-5)
        assert np.array_equal(result.success, expected[logits_of].success)
    reference = weakref.ref(owned)
    del model, owned
    gc.collect()
    assert reference() is None


def used_by_all(model: Any) -> None:
    labels = classes(model)
    dataset = [(IMAGES, labels)]
    attacks = {"step": STEP}
    Step(smoothing=SPEC)(model, IMAGES, labels)
    protocol.evaluate(model, dataset, {"steps": [STEP, Step(0.5)]})
    clean = {"model": protocol.predict(model, IMAGES)}
    list(transfer.records({"model": model}, "model", dataset, attacks, clean))
    sa.front(model, IMAGES, labels, attacks)
    sa.Classifier(model, input_range=(-1, 1)).check(tf.constant(IMAGES))


@pytest.mark.parametrize("name", some(("lambda", "sequential", "compiled module"), "lambda"))
def test_freed_after_evaluation_transfer_and_front(name):
    model, owned = MODELS[name]()
    used_by_all(model)
    reference = weakref.ref(owned)
    del model, owned
    gc.collect()
    assert reference() is None


def assert_no_graph_stays(use: Callable[[keras.Model], Any]) -> None:
    """Of two models that are used, the second leaves no more graphs behind than the first."""
    left = []
    for _ in range(2):
        use(network())
        gc.collect()
        left.append(sum(isinstance(one, FuncGraph) for one in gc.get_objects()))
    assert left[1] <= left[0]


@pytest.mark.parametrize(
    "attack",
    [
        CarliniWagner(1, 1, smoothing=SPEC, smoothness_penalty=1.0),
        pytest.param(FMN(2, smoothing=SPEC, delivery=sa.Levels()), marks=pytest.mark.slow),
        pytest.param(
            CarliniWagner(1, 1, smoothing=dataclasses.replace(SPEC, solver="cg", iterations=2)), marks=pytest.mark.slow
        ),
    ],
    ids=repr,
)
def test_no_graph_stays_when_its_model_has_gone(attack):
    assert_no_graph_stays(lambda model: attack(model, IMAGES, classes(model)))


@pytest.mark.slow
def test_no_graph_stays_when_the_function_around_an_attack_has_gone():
    attack = Step(smoothing=SPEC)
    assert_no_graph_stays(lambda model: tf.function(lambda x: attack(model, x, [0] * 4).distortion)(IMAGES))


def test_equal_models_are_each_attacked_as_itself(expected):
    one, other = Equal(Weights()), Equal(Weights(-1.0))
    assert one == other
    for model, same in ((one, logits_of), (other, negative), (one, logits_of)):
        assert np.array_equal(protocol.predict(model, IMAGES), classes(same))
        result = STEP(model, IMAGES, classes(same))
        np.testing.assert_allclose(result.adversarial, expected[same].adversarial, atol=1e-5)


def test_methods_of_one_object_are_models_of_their_own(expected):
    models = Methods(Weights())
    for _ in range(2):
        for method, same in ((models.logits, logits_of), (models.negative, negative)):
            result = STEP(method, IMAGES, classes(same))
            np.testing.assert_allclose(result.adversarial, expected[same].adversarial, atol=1e-5)


class Traced:
    """A model, and how often it has been traced."""

    def __init__(self, model: Callable[..., Any]) -> None:
        self.model = model
        self.count = 0

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        self.count += tf.is_symbolic_tensor(images)
        return self.model(images)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_an_unchanged_model_is_compiled_once(dtype):
    layers = [keras.layers.Dense(30, activation="relu", dtype=dtype), keras.layers.Dense(3, dtype="float32")]
    model = Traced(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), *layers]))
    counts = []
    for batch in (4, 1, 3, 4):
        images, labels = IMAGES[:batch], classes(model, IMAGES[:batch])
        FMN(2)(model, images, labels)
        protocol.evaluate(model, [(images, labels)], {"fmn": FMN(3)})
        counts.append(model.count)
    assert counts == counts[:1] * 4


def test_no_warning_of_retracing_over_many_models_and_sizes(monkeypatch):
    told: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: told.append(record.getMessage()))
    logger = tf.get_logger()
    monkeypatch.setattr(logger, "level", logging.WARNING)
    logger.addHandler(handler)
    try:
        for seed in range(6):
            weights = np.random.default_rng(seed).normal(size=[3, 3]).astype(np.float32)

            def model(images, weights=weights):
                return tf.reduce_mean(images, axis=[1, 2]) @ weights

            for batch in (1, 3, 4):
                images = IMAGES[:batch]
                STEP(model, images, classes(model, images))
                protocol.predict(model, images)
            images = IMAGES[:, :, : 1 + seed % 6]
            SPEC.guided_by(images)(images)
    finally:
        logger.removeHandler(handler)
    assert [line for line in told if "retracing" in line] == []


@pytest.mark.parametrize(
    ("attack", "around"),
    [(FMN(3), lambda function: function), (Step(smoothing=SPEC), tf.function)],
    ids=["eager", "in a graph"],
)
def test_the_result_is_a_constant_where_somebody_differentiates(attack, around):
    """As adversarial training does: the gradient of the weights is that at the images which came out."""
    model = network()
    labels = classes(model)

    def loss(images):
        rows = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
        return tf.reduce_sum(rows)

    attacked = around(lambda images: attack(model, images, labels).adversarial)
    with tf.GradientTape() as tape:
        adversarial = attacked(tf.constant(IMAGES))
        value = loss(adversarial)
    found = tape.gradient(value, model.trainable_variables)
    with tf.GradientTape() as tape:
        value = loss(adversarial)
    for one, other in zip(found, tape.gradient(value, model.trainable_variables), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_an_attack_is_not_that_of_its_steps():
    attack = Step(0.5)
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        adversarial = attack(logits_of, images, classes(logits_of)).adversarial
    assert tape.gradient(adversarial, images) is None


TWO = WEIGHTS[:, 0] - WEIGHTS[:, 1]


def log_odds_of(images: tf.Tensor) -> tf.Tensor:
    """Of class 1 against class 0; [B]."""
    return tf.linalg.matvec(tf.reshape(images, [-1, 192]), TWO)


def binary(images: tf.Tensor) -> tf.Tensor:
    odds = log_odds_of(images)
    return tf.stack([tf.zeros_like(odds), odds], axis=1)


def named(*names: str) -> keras.Model:
    """A Keras model with outputs of these names, the last one that of WEIGHTS, as a list."""
    inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(inputs)
    outputs = [keras.layers.Dense(3, name=name)(flat) for name in names]
    model = keras.Model(inputs, outputs)
    model.get_layer(names[-1]).kernel.assign(WEIGHTS)
    return model


class TestClassifier:
    """A model of another range or output is attacked as the bare one of logits of images in [0, 1] would be."""

    def assert_same(self, classifier: Any, bare: Callable[..., Any]) -> None:
        labels = classes(bare)
        np.testing.assert_allclose(
            core.criteria.margin(sa.Classifier.of(classifier)(IMAGES), labels),
            core.criteria.margin(bare(IMAGES), labels),
            atol=1e-4,
        )
        one, other = (STEP(model, IMAGES, labels) for model in (classifier, bare))
        for field in ("adversarial", "distortion", "success", "gradients"):
            np.testing.assert_allclose(getattr(one, field), getattr(other, field), atol=1e-4)
        assert np.array_equal(protocol.predict(classifier, IMAGES), labels)

    @pytest.mark.parametrize(
        ("make", "settings", "bare"),
        [
            (lambda x: logits_of(x / 255), {"input_range": (0, 255)}, logits_of),
            pytest.param(lambda x: logits_of((x + 1) / 2), {"input_range": [-1, 1]}, logits_of, marks=pytest.mark.slow),
            pytest.param(
                lambda x: logits_of(x / 3),
                {"input_range": (np.float32(0), np.int64(3))},
                logits_of,
                marks=pytest.mark.slow,
            ),
            (lambda x: tf.nn.softmax(logits_of(x)), {"outputs": "probabilities"}, logits_of),
            (lambda x: tf.sigmoid(log_odds_of(x)), {"outputs": "probabilities"}, binary),
            (lambda x: tf.sigmoid(log_odds_of(x))[:, None], {"outputs": "probabilities"}, binary),
            (log_odds_of, {"outputs": "logit"}, binary),
            (lambda x: log_odds_of(x)[:, None], {"outputs": "logit"}, binary),
            (
                lambda x: {"a": -logits_of(x), "b": tf.nn.softmax(logits_of(x / 255))},
                {"outputs": "probabilities", "input_range": (0, 255), "output_name": "b"},
                logits_of,
            ),
        ],
    )
    def test_ranges_and_outputs(self, make, settings, bare):
        self.assert_same(sa.Classifier(make, **settings), bare)

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            (lambda x: {"logits": logits_of(x)}, None),
            pytest.param(lambda x: [logits_of(x)], None, marks=pytest.mark.slow),
            (lambda x: (negative(x), logits_of(x)), "1"),
            (lambda x: {0: negative(x), 1: logits_of(x)}, "1"),
            (named("features", "head"), "head"),
            pytest.param(named("head"), None, marks=pytest.mark.slow),
            (named("head"), "head"),
        ],
    )
    def test_named_outputs(self, model, name):
        self.assert_same(sa.Classifier(model, output_name=name), logits_of)

    @pytest.mark.parametrize(
        ("model", "settings", "message"),
        [
            (lambda x: {"a": logits_of(x), "b": x}, {}, r"returns the outputs a, b: take one by .*output_name"),
            (named("one", "two"), {}, r"returns the outputs one, two: take one by .*output_name"),
            (named("one", "two"), {"output_name": "three"}, "one, two: .* received 'three'"),
            (lambda x: [logits_of(x)] * 2, {"output_name": "2"}, "returns the outputs 0, 1: .* received '2'"),
            (lambda x: [], {}, "returns the outputs none"),
            (logits_of, {"output_name": "a"}, "one output without a name; received output_name='a'"),
            (log_odds_of, {}, r"returned \(2,\); sa.Classifier\(model, outputs='logit', or 'probabilities'\)"),
            (logits_of, {"outputs": "logit"}, r"one logit an image, by outputs='logit'; it returned \(2, 3\)"),
            (logits_of, {"outputs": "probabilities"}, "rows that are non-negative and sum to 1, .* it returned values"),
            (log_odds_of, {"outputs": "probabilities"}, "rows that are non-negative and sum to 1"),
            (lambda x: tf.sigmoid(log_odds_of(x))[:, None], {}, "outputs='logit', or 'probabilities'"),
            (lambda x: logits_of(x)[:1], {}, r"to logits \[batch, classes\]; it returned \(1, 3\)"),
            (lambda x: logits_of(x)[:, :1] * 0, {}, r"it returned \(2, 1\)"),
            (lambda x: tf.strings.as_string(logits_of(x)), {}, "must map images to logits; it returned string"),
            (
                tf.function(lambda x: logits_of(x[:, :6])),
                {},
                r"must take images \(8, 8, 3\); it raised ValueError: Dimension size must be evenly divisible by 192",
            ),
            (lambda x: tf.argmax(logits_of(x), 1), {}, r"to logits \[batch, classes\]; it returned \(2,\)"),
            (lambda x: logits_of(x[:, :6]), {}, r"must take images \(8, 8, 3\); it raised InvalidArgumentError: "),
            (lambda x, y: logits_of(x), {}, r"must take images \(8, 8, 3\); it raised TypeError: "),
        ],
    )
    def test_an_output_that_is_not_what_is_said(self, model, settings, message):
        with pytest.raises(ValueError, match=message) as error:
            STEP(sa.Classifier(model, **settings), IMAGES, [0] * 4)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("model", "settings", "message"),
        [
            (sa.Classifier(logits_of), {}, "no Classifier yet"),
            ("c4", {}, "must be a Keras model or another callable; received 'c4'"),
            (logits_of, {"outputs": "softmax"}, "outputs must be one of 'logits', .* received 'softmax'"),
            (logits_of, {"input_range": (1, 0)}, r"two numbers, the first below the second; received \(1, 0\)"),
            (logits_of, {"input_range": (0, 0)}, "input_range must be two numbers"),
            (logits_of, {"input_range": (0,)}, "input_range must be two numbers"),
            (logits_of, {"input_range": 255}, "input_range must be two numbers"),
            (logits_of, {"input_range": "01"}, "input_range must be two numbers"),
            (logits_of, {"input_range": (0, np.inf)}, "input_range must be two numbers"),
            (logits_of, {"input_range": (np.nan, 1)}, "input_range must be two numbers"),
            (logits_of, {"samples": 0}, "samples must be an integer of at least 1; received 0"),
            (logits_of, {"samples": 1.5}, "samples must be an integer"),
            (logits_of, {"samples": True}, "samples must be an integer"),
            (logits_of, {"output_name": 1}, "output_name must be a str or None; received 1"),
        ],
    )
    def test_settings(self, model, settings, message):
        with pytest.raises(ValueError, match=message):
            sa.Classifier(model, **settings)

    @pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
    def test_a_softmax_is_told_in_any_number_format(self, dtype):
        for seed in range(20):
            weights = tf.random.stateless_normal([192, 10], [seed, 0])

            def model(images, weights=weights):
                return tf.nn.softmax(tf.cast(tf.reshape(images, [-1, 192]) @ weights / 5, dtype))

            with pytest.raises(ValueError, match="what a softmax gives: take the softmax off"):
                STEP(model, IMAGES, [0] * 4)
            assert sa.Classifier(model, outputs="probabilities").check_output(tf.constant(IMAGES))[1].shape == (4, 10)

    def test_is_taken_wherever_a_model_is(self):
        classifier = sa.Classifier(lambda x: tf.nn.softmax(logits_of(x / 255)), "probabilities", (0, 255))
        labels = classes(logits_of)
        dataset, attacks = [(IMAGES, labels)], {"fmn": FMN(8)}
        run, bare = (protocol.evaluate(model, dataset, attacks) for model in (classifier, logits_of))
        for one, other in zip(run.records, bare.records, strict=True):
            assert (one.computed.success, one.delivered.prediction) == (
                other.computed.success,
                other.delivered.prediction,
            )
            assert one.computed.distortion == pytest.approx(other.computed.distortion, abs=1e-4)
        (originals,) = protocol.CorrectImages(classifier, dataset)
        smoother = sa.Smoothing().guided_by(IMAGES)
        (record, *_) = protocol.score(classifier, "none", originals, originals.images, smoother).records
        assert (record.computed.success, record.computed.prediction) == (False, labels[0])
        networks = {"a": classifier, "b": logits_of}
        clean = dict.fromkeys(networks, labels)
        ((first, *_),) = transfer.records(networks, "a", dataset, attacks, clean)
        assert first.predictions["a"] == first.predictions["b"]
        front = sa.front(classifier, IMAGES, labels, attacks)
        assert front.success.tolist() == [[record.delivered.success for record in bare.records]]

    def test_tells_of_itself_what_is_not_the_default(self):
        assert repr(sa.Classifier(logits_of)) == "Classifier(logits_of)"
        classifier = sa.Classifier(logits_of, input_range=[-1, 1], samples=2)
        assert repr(classifier) == "Classifier(logits_of, input_range=(-1.0, 1.0), samples=2)"


class OfFour(Weights):
    @tf.function(input_signature=[tf.TensorSpec([4, 8, 8, 3])])
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.call(images)


class TestOneSizeOfBatch:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: tf.function(logits_of, input_signature=[tf.TensorSpec([4, 8, 8, 3])]),
            pytest.param(
                lambda: tf.function(logits_of, input_signature=[tf.TensorSpec([4, 8, 8, 3])]).get_concrete_function(),
                marks=pytest.mark.slow,
            ),
            pytest.param(OfFour, marks=pytest.mark.slow),
            pytest.param(
                lambda: tf.function(logits_of, input_signature=[tf.TensorSpec([1, 8, 8, 3])]), marks=pytest.mark.slow
            ),
            lambda: keras.Sequential([keras.Input((8, 8, 3), batch_size=4), *network().layers]),
        ],
    )
    def test_takes_any_number_of_images(self, make):
        model = make()
        images = np.concatenate([IMAGES, 1 - IMAGES, IMAGES[:1] / 2])
        labels = classes(logits_of, images)
        expected = STEP(logits_of, images, labels)
        for batch in (1, 3, 4, 9):
            result = STEP(model, images[:batch], labels[:batch])
            np.testing.assert_allclose(result.adversarial, expected.adversarial[:batch], atol=1e-4)
            assert np.array_equal(protocol.predict(model, images[:batch]), labels[:batch])
        run = protocol.evaluate(model, [(images[:5], labels[:5]), (images[5:], labels[5:])], {"step": STEP})
        assert run.num_correct == 9


class TestSavedModels:
    def assert_attacked(self, model: Any) -> None:
        labels = classes(logits_of)
        expected = STEP(logits_of, IMAGES, labels)
        for batch in (4, 1):
            result = STEP(model, IMAGES[:batch], labels[:batch])
            np.testing.assert_allclose(result.adversarial, expected.adversarial[:batch], atol=1e-4)
        assert np.array_equal(protocol.predict(model, IMAGES), labels)

    @pytest.mark.parametrize("batch", [None, 2])
    def test_with_a_signature_alone(self, batch, tmp_path):
        module = Weights()
        signature = tf.function(
            lambda pixels: {"scores": module.call(pixels)}, input_signature=[tf.TensorSpec([batch, 8, 8, 3])]
        )
        tf.saved_model.save(module, str(tmp_path), signatures=signature)
        loaded = tf.saved_model.load(str(tmp_path))
        assert not callable(loaded)
        self.assert_attacked(loaded)

    def test_as_keras_exports_them(self, tmp_path):
        network().export(str(tmp_path), verbose=False)
        loaded = tf.saved_model.load(str(tmp_path))
        self.assert_attacked(loaded)
        self.assert_attacked(loaded.serve)

    def test_without_its_signature(self, tmp_path):
        module = Weights()
        other = tf.function(module.call, input_signature=[tf.TensorSpec([None, 8, 8, 3])])
        tf.saved_model.save(module, str(tmp_path), signatures={"other": other})
        with pytest.raises(ValueError, match="must have a signature 'serving_default'; it has other"):
            STEP(tf.saved_model.load(str(tmp_path)), IMAGES, [0] * 4)


class Noisy:
    """Logits (a'x + b + noise, 0), and the last that an eager call gave."""

    def __init__(self, noise: Callable[[int], tf.Tensor]) -> None:
        self.linear = Linear(3, (8, 8, 1))
        self.noise = noise
        self.last = None

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        logits = self.linear(images) + self.noise(tf.shape(images)[0])[:, tf.newaxis] * [1.0, 0.0]
        if not tf.is_symbolic_tensor(logits):
            self.last = logits.numpy()
        return logits


class TestRandom:
    """`samples` draws of a model that is another one each time."""

    @pytest.mark.parametrize(
        "model",
        [
            lambda x: logits_of(x) + tf.random.uniform([tf.shape(x)[0], 3]),
            lambda x: logits_of(x) + 1e-3 * tf.random.normal([3]),
            lambda x: logits_of(tf.nn.dropout(x, 0.5)),
            lambda x: logits_of(tf.image.random_flip_left_right(x)),
            lambda x: logits_of(x + 0.1 * tf.random.uniform(x.shape[1:])),
        ],
    )
    def test_is_refused_by_name_without_it(self, model):
        tf.random.set_seed(0)  # or three images are now and then flipped alike twice

        def sure(images):
            return model(images) + tf.constant([20.0, 0.0, 0.0])

        labels = [0] * 3
        for attacked in (
            lambda: STEP(sure, IMAGES[:3], labels),
            lambda: protocol.evaluate(sure, [(IMAGES[:3], labels)], {"step": STEP}),
        ):
            with pytest.raises(ValueError, match=r"sa.Classifier\(model, samples=10\), the flag --samples=10") as error:
                attacked()
            assert "\n" not in str(error.value)

    @pytest.mark.parametrize("attack", [STEP, CarliniWagner(20, 3, 0.05, initial_const=1.0)], ids=repr)
    def test_success_is_that_of_all_new_draws(self, attack):
        model = Noisy(lambda batch: tf.random.uniform([batch], -0.3, 0.3))
        result = attack(sa.Classifier(model, samples=8), model.linear.images, model.linear.labels)
        wrong = (model.last[:, 0] < model.last[:, 1]).reshape(8, 3)  # the judge's call was the last
        np.testing.assert_allclose(result.share, wrong.mean(axis=0))
        assert np.array_equal(result.success, wrong.all(axis=0))
        assert np.all((result.share.numpy() >= 0) & (result.share.numpy() <= 1))
        assert result.gradients.numpy().tolist() == [8 * attack(model.linear, *of(model)).gradients[0]] * 3

    def test_is_attacked_where_noise_averages_out_as_without_it(self):
        model = Noisy(lambda batch: tf.random.uniform([batch], -0.01, 0.01))
        result = FMN(40)(sa.Classifier(model, samples=8), *of(model))
        assert np.all(result.success)
        distance = model.linear.optimum()
        assert np.all(result.distortion > distance * (1 - 1e-4))
        spread = 0.01 / np.linalg.norm(model.linear.a)
        assert np.all(result.distortion < 1.01 * distance + 10 * spread)
        for _ in range(8):  # the success is that of draws to come, too
            assert np.all(np.argmax(model(result.adversarial), axis=1) == 1)

    def test_a_gradient_is_the_mean_over_the_draws(self):
        """Each draw's is a + b or a - b, in turn, so that a alone remains."""
        model = Linear(2, (8, 8, 1))
        b = np.random.default_rng(3).normal(size=(8, 8, 1)).astype(np.float32) * 5

        def turning(images):
            draw = tf.range(tf.shape(images)[0]) // 2 % 2  # of two images
            sign = tf.cast(1 - 2 * draw, tf.float32)
            tilt = sign * tf.reduce_sum(b * (images - model.images[0]), axis=[1, 2, 3])
            return model(images) + tilt[:, tf.newaxis] * [1.0, 0.0]

        result = PGD2(0.2, 0.2, 1)(sa.Classifier(turning, samples=8), model.images, model.labels)
        unit = model.a / np.linalg.norm(model.a)
        np.testing.assert_allclose(model.images - result.adversarial, 0.2 * np.stack([unit] * 2), atol=1e-5)

    def test_records_tell_the_share(self):
        model = Noisy(lambda batch: tf.random.uniform([batch], -1.0, 1.0))
        run = protocol.evaluate(sa.Classifier(model, samples=8), [of(model)], {"fmn": FMN(5)})
        shares = [share for record in run.records for share in (record.computed.share, record.delivered.share)]
        assert shares
        assert np.all(np.isin(np.multiply(shares, 8), range(9)))
        for record in run.records:
            assert record.computed.success is (record.computed.share == 1)
            assert record.delivered.success is (record.delivered.share == 1)
        bare = protocol.evaluate(model.linear, [of(model)], {"fmn": FMN(5)})
        assert np.isnan([record.computed.share for record in bare.records]).all()

    def test_is_another_model_at_every_call(self):
        """What cannot be seen by its logits, which are others each time."""
        model = Switched()
        model.function = lambda x: logits_of(x) + tf.random.uniform([tf.shape(x)[0], 1], -1e-3, 1e-3) * [1.0, 0, -1.0]
        classifier = sa.Classifier(model, samples=4)
        STEP(classifier, IMAGES, classes(logits_of))
        model.on = True
        assert np.all(STEP(classifier, IMAGES, classes(negative)).success)


def of(model: Noisy) -> tuple[np.ndarray, np.ndarray]:
    return model.linear.images, model.linear.labels


GROWTH = """
    import ctypes, gc, sys
    import keras, numpy as np, tf_smoothadv as sa

    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")
    attacks = {
        "none": None,
        "plain": sa.attacks.FMN(3),
        "smooth": sa.attacks.CarliniWagner(1, 1, smoothing=sa.Smoothing(0.9, solver="cg", iterations=5)),
    }

    def memory():
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])  # pages

    def attacked(seed, attack):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Flatten(), keras.layers.Dense(5000, activation="relu"), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        labels = np.argmax(model(images), 1)
        if attack is not None:
            attack(model, images, labels)

    taken = []
    for seed in range(40):
        attacked(seed, attacks[sys.argv[1]])
        if seed % 10 == 9:
            taken.append(memory())
    print(taken[1], taken[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_forty_models_take_no_more_memory_than_twenty():
    """Of 975,000 parameters each, attacked one after the other: within a twentieth of where they are merely called."""
    growth = {}
    for kind in ("none", "plain", "smooth"):
        command = [sys.executable, "-c", textwrap.dedent(GROWTH), kind]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        before, after = map(int, finished.stdout.split())
        growth[kind] = after / before
    assert growth["plain"] < growth["none"] + 0.05, growth
    assert growth["smooth"] < growth["none"] + 0.05, growth
