"""C&W descending with Keras's optimisers, on whichever Keras is installed."""

from __future__ import annotations

import functools
import gc
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import SPEC, Linear, traces_of
from tf_smoothadv.attacks import CarliniWagner, core, optimizers
from tf_smoothadv.evaluation import parameters

ADAM = functools.partial(keras.optimizers.Adam, epsilon=1e-8)
ADAMW = functools.partial(keras.optimizers.AdamW, weight_decay=1e-3)
SGD = functools.partial(keras.optimizers.SGD, momentum=0.9)
IDENTITY = sa.Smoothing(alpha=0.0)


def descent(optimizer: optimizers.Optimizer, start: tf.Tensor, gradients: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
    value, state = start, optimizer.begin(start)
    for t in tf.range(tf.size(rates)):
        value, state = optimizer.step(value, state, gradients[t], rates[t])
    return value


def test_keras_adam_is_the_plain_one_step_by_step(rng):
    start, gradients = (tf.constant(rng.normal(size=shape), tf.float32) for shape in ([2, 3, 4, 1], [9, 2, 3, 4, 1]))
    rates = tf.linspace(0.1, 0.01, 9)
    compiled = tf.function(descent)
    plain, found = (
        compiled(one, start, gradients, rates) for one in (optimizers.ADAM, optimizers.of(ADAM, tuple(start.shape)))
    )
    assert np.max(np.abs(plain - start)) > 0.1
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("smoothing", [pytest.param(None, marks=pytest.mark.slow), SPEC])
def test_attack_with_keras_adam_is_the_plain_one(smoothing):
    model = Linear(3, (8, 8, 1))
    found, plain = (
        CarliniWagner(30, 4, 0.05, initial_const=1.0, smoothing=smoothing, optimizer=optimizer)(
            model, model.images, model.labels
        )
        for optimizer in (ADAM, None)
    )
    assert np.all(plain.success)
    np.testing.assert_allclose(found.distortion, plain.distortion, rtol=1e-3)
    np.testing.assert_allclose(found.adversarial, plain.adversarial, atol=1e-3)


def test_each_constant_has_a_fresh_momentum_and_the_rate_falls():
    """Far from the boundary the gradient by r is 2r + c a: r = -k a with k by hand, after 2 steps of the second c."""
    model = Linear(3, (8, 8, 1))
    rate = 0.05
    const = 0.1 * float(np.min(model.margins) / np.sum(model.a**2))
    attack = CarliniWagner(3, 2, rate, initial_const=const, smoothing=IDENTITY, optimizer=SGD)
    result = attack(model, model.images, model.labels)
    assert not np.any(result.success)
    first = rate * 10 * const
    second = first + 0.9 * first + rate * 2 / 3 * (10 * const - 2 * first)
    np.testing.assert_allclose(result.adversarial - model.images, -second * model.a[None].repeat(3, 0), atol=1e-6)


@pytest.mark.parametrize("smoothing", [None, pytest.param(IDENTITY, marks=pytest.mark.slow)])
def test_adamw_comes_near_the_optimum(smoothing):
    model = Linear(3, (8, 8, 1))
    attack = CarliniWagner(100, 6, 0.05, initial_const=1.0, smoothing=smoothing, optimizer=ADAMW)
    result = attack(model, model.images, model.labels)
    assert np.all(result.success)
    assert np.all(result.distortion <= 1.05 * model.optimum())


@pytest.mark.slow
def test_weight_decay_pulls_to_the_image():
    """With nothing else to descend: at the same c, the stronger the decay, the nearer the last iterate."""
    model = Linear(2, (8, 8, 1))
    distortions = []
    for weight_decay in (0.0, 1.0):
        optimizer = functools.partial(keras.optimizers.AdamW, weight_decay=weight_decay)
        attack = CarliniWagner(5, 1, 0.01, False, 1e-3, optimizer=optimizer)
        result = attack(model, model.images, model.labels)
        assert not np.any(result.success)
        distortions.append(result.distortion.numpy())
    assert np.all(distortions[1] < distortions[0])


def test_one_loop_for_each_batch_size_which_outlives_its_maker():
    model = Linear(5, (8, 8, 1))
    counting, traced = traces_of(model)

    def run(batch: int, value: float) -> core.AttackResult:
        attack = CarliniWagner(10, 3, value, initial_const=value, optimizer=ADAMW)
        return attack(counting, model.images[:batch], model.labels[:batch])

    first = run(5, 0.05).adversarial.numpy()
    run(3, 0.05)
    once = len(traced)
    gc.collect()
    run(3, 0.1)
    np.testing.assert_array_equal(run(5, 0.05).adversarial, first)
    assert len(traced) == once


def test_lamb_of_tensorflow_addons():
    """Its norms are over the batch, hence one image."""
    addons = pytest.importorskip("tensorflow_addons")
    model = Linear(1, (8, 8, 1))
    attack = CarliniWagner(100, 6, 0.05, initial_const=1.0, optimizer=addons.optimizers.LAMB)
    result = attack(model, model.images, model.labels)
    assert np.all(result.success)
    assert np.all(result.distortion <= 1.2 * model.optimum())


@pytest.mark.parametrize(
    ("optimizer", "received"),
    [
        ("adam", "'adam': 'str' object is not callable"),
        ([], r"\[\]: unhashable type: 'list'"),
        (lambda learning_rate: None, ".*<lambda>: it makes None"),
        (lambda: keras.optimizers.Adam(), ".*<lambda>: .* unexpected keyword argument 'learning_rate'"),
        (functools.partial(keras.optimizers.AdamW, 0.1), r"AdamW\(0.1\): .* multiple values for argument"),
        (
            lambda learning_rate: keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(learning_rate, 10, 0.9)
            ),
            ".*<lambda>: This optimizer was created with a `LearningRateSchedule`",
        ),
    ],
)
def test_what_makes_no_optimizer(optimizer, received):
    with pytest.raises(ValueError, match=f"optimizer must be what makes a Keras optimiser .*; received {received}"):
        CarliniWagner(optimizer=optimizer)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [(None, None), (keras.optimizers.SGD, "SGD"), (ADAMW, "AdamW(weight_decay=0.001)")],
)
def test_is_described_by_its_name(optimizer, name):
    described = parameters.described([CarliniWagner(optimizer=optimizer)])
    assert json.loads(json.dumps(described))["optimizer"] == name
