"""Attacks as parts of a graph: a function, a pipeline, a train step, the replicas of a strategy."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import SPEC
from tests.test_classifier import IMAGES, STEP, classes, logits_of, network
from tests.test_faults import EACH, OTHERS
from tf_smoothadv.attacks import FGSM, FMN, PGD2, CarliniWagner, NearestClasses, core

LABELS = classes(logits_of).astype(np.int32)


def assert_same(result: core.AttackResult, expected: core.AttackResult) -> None:
    for field, one, other in zip(expected._fields, result, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=field)


class TestFunction:
    @pytest.mark.parametrize(
        "attack",
        [
            FMN(4),
            CarliniWagner(3, 2, smoothing=SPEC),
            pytest.param(CarliniWagner(3, 1, optimizer=keras.optimizers.Adam), marks=pytest.mark.slow),
            *(pytest.param(attack, marks=pytest.mark.slow) for attack in (*EACH, *OTHERS)),
        ],
        ids=repr,
    )
    def test_is_the_eager_attack(self, attack):
        model = network()
        result = tf.function(lambda images, labels: attack(model, images, labels))(IMAGES, LABELS)
        assert_same(result, attack(model, IMAGES, LABELS))

    def test_of_batches_of_any_size(self):
        attacked = tf.function(
            lambda images, labels, targets: FMN(5)(logits_of, images, labels, targets),
            input_signature=[tf.TensorSpec([None, None, None, 3]), *[tf.TensorSpec([None], tf.int64)] * 2],
        )
        targets = (LABELS + 1) % 3
        for batch in (1, 3, 4):
            arguments = IMAGES[:batch], LABELS[:batch], targets[:batch]
            assert_same(attacked(*arguments), FMN(5)(logits_of, *arguments))

    def test_without_autograph_around(self):
        attacked = tf.function(lambda images: FMN(5)(logits_of, images, LABELS), autograph=False)
        assert_same(attacked(IMAGES), FMN(5)(logits_of, IMAGES, LABELS))

    def test_a_model_is_what_it_is_when_the_function_runs(self):
        model = network()
        attacked = tf.function(lambda images, labels: STEP(model, images, labels))
        assert_same(attacked(IMAGES, LABELS), STEP(model, IMAGES, LABELS))
        model.layers[-1].kernel.assign(-model.layers[-1].kernel)
        labels = classes(model)
        result = attacked(IMAGES, labels)
        assert_same(result, STEP(model, IMAGES, labels))
        assert np.array_equal(result.success, classes(model, result.adversarial) != labels)

    def test_a_classifier(self):
        classifier = sa.Classifier(lambda x: tf.nn.softmax(logits_of(x / 255)), "probabilities", (0, 255))
        attacked = tf.function(lambda images: FMN(5)(classifier, images, LABELS))
        result = attacked(IMAGES)
        np.testing.assert_allclose(result.distortion, FMN(5)(logits_of, IMAGES, LABELS).distortion, atol=1e-4)

    def test_draws_of_a_random_model(self):
        def model(images):
            return logits_of(images) + 0.01 * tf.random.uniform([tf.shape(images)[0], 1]) * [1.0, 0.0, -1.0]

        result = tf.function(lambda images: STEP(sa.Classifier(model, samples=5), images, LABELS))(IMAGES)
        assert result.gradients.numpy().tolist() == [5] * 4
        assert np.array_equal(result.success, result.share == 1)

    def test_once_and_no_more_often_than_it_is_called(self):
        attacked = tf.function(lambda images: FMN(2)(logits_of, images, LABELS).distortion)
        for _ in range(3):
            attacked(IMAGES)
        assert attacked.experimental_get_tracing_count() == 1

    @pytest.mark.parametrize(
        ("images", "labels", "targets", "message"),
        [
            (1.5 * IMAGES, LABELS, None, r"images must lie in \[0, 1\]"),
            (IMAGES - 0.5, LABELS, None, r"images must lie in \[0, 1\]"),
            (np.where(IMAGES > 0.99, np.nan, IMAGES), LABELS, None, r"images must lie in \[0, 1\]"),
            (IMAGES, LABELS + 3, None, "labels must be below 3, the classes of the model"),
            (IMAGES, LABELS - 3, None, "labels must be classes from 0 on"),
            (IMAGES, LABELS, LABELS + 3, "targets must be below 3, the classes of the model"),
            (IMAGES, LABELS, LABELS - 3, "targets must be classes from 0 on"),
        ],
    )
    def test_values_are_checked_when_it_runs(self, images, labels, targets, message):
        @tf.function
        def attacked(images, labels, targets=None):
            return STEP(logits_of, images, labels, targets).adversarial

        good = [tf.constant(IMAGES), tf.constant(LABELS)]
        bad = [tf.constant(images, tf.float32), tf.constant(labels)]
        if targets is not None:
            good.append(tf.constant((LABELS + 1) % 3))
            bad.append(tf.constant(targets))
        attacked(*good)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            attacked(*bad)
        attacked(*good)

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (IMAGES[0], LABELS, "images must have rank 4"),
            ((255 * IMAGES).astype(np.uint8), LABELS, "images must be floats; received uint8"),
            (IMAGES, LABELS[:3], r"labels must have shape \[4\]"),
            (IMAGES, LABELS.astype(np.float32), "labels must be integers"),
            (IMAGES, np.eye(3, dtype=np.int32)[LABELS], "of one-hot rows take the tf.argmax"),
        ],
    )
    def test_shapes_are_checked_when_it_is_made(self, images, labels, message):
        with pytest.raises(ValueError, match=message):
            tf.function(lambda *arguments: STEP(logits_of, *arguments).adversarial)(images, labels)

    def test_a_model_without_a_gradient(self):
        def model(images):
            return logits_of(tf.round(images))

        with pytest.raises(ValueError, match="put a straight-through gradient"):
            tf.function(lambda images: STEP(model, images, LABELS).adversarial)(IMAGES)

        def flat(images):
            return tf.sign(logits_of(images)) + tf.constant([0.3, 0.2, 0.1])

        with pytest.raises(tf.errors.InvalidArgumentError, match="put a straight-through gradient"):
            tf.function(lambda images: STEP(flat, images, LABELS).adversarial)(IMAGES)

    def test_an_optimizer_needs_to_know_the_size_of_a_batch(self):
        attack = CarliniWagner(2, 1, optimizer=keras.optimizers.Adam)
        attacked = tf.function(
            lambda images, labels: attack(logits_of, images, labels).adversarial,
            input_signature=[tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)],
        )
        with pytest.raises(ValueError, match=r"optimizer= needs batches of a known size inside a tf.function"):
            attacked(IMAGES, LABELS)


class TestPipeline:
    @pytest.mark.parametrize(
        ("attack", "known"),
        [
            (FMN(5), True),
            pytest.param(PGD2(2.0, 0.5, 3, SPEC, binary_search_steps=1), False, marks=pytest.mark.slow),
            (NearestClasses(FMN(3), 2, 2), False),
        ],
        ids=repr,
    )
    def test_maps_a_dataset(self, attack, known):
        images, labels = np.concatenate([IMAGES, 1 - IMAGES[:2]]), np.concatenate([LABELS, LABELS[:2]])
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2 if known else 4, drop_remainder=known)
        assert (dataset.element_spec[0].shape[0] is not None) == known
        attacked = dataset.map(lambda images, labels: attack(logits_of, images, labels))
        batches = list(attacked)
        assert batches[0].adversarial.shape[1:] == (8, 8, 3)
        assert attacked.element_spec.adversarial.shape[1:] == (8, 8, 3)
        found = core.AttackResult(*(np.concatenate(column) for column in zip(*batches)))
        assert_same(found, attack(logits_of, images, labels))

    def test_images_outside_end_it(self):
        dataset = tf.data.Dataset.from_tensor_slices((2 * IMAGES, LABELS)).batch(2)
        attacked = dataset.map(lambda images, labels: STEP(logits_of, images, labels).adversarial)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"images must lie in \[0, 1\]"):
            list(attacked)


class AdversarialTraining(keras.Model):
    """Descends the loss of the images that an attack makes of each batch, and tells how far these are."""

    def __init__(self, attack: core.Attack) -> None:
        super().__init__()
        self.attack = attack
        flatten, dense = keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")
        self.network = keras.Sequential([keras.Input((28, 28, 1)), flatten, dense])
        dense.kernel.assign(np.random.default_rng(0).normal(size=(784, 10)) / 30)

    def call(self, images, training=None):
        return self.network(images, training=training)

    def train_step(self, data):
        images, labels = data
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            result = self.attack(self.network, images, labels)
            logits = self.network(result.adversarial, training=True)
            loss = self.compute_loss(x=images, y=labels, y_pred=logits)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return {"loss": loss, "distortion": tf.reduce_mean(result.distortion)}


@pytest.mark.parametrize(
    ("attack", "jit_compile"),
    [
        (FGSM(0.1), ("auto",)),
        pytest.param(PGD2(1.0, 0.5, 2), ("auto",), marks=pytest.mark.slow),
        pytest.param(PGD2(1.0, 0.5, 2, sa.Smoothing(0.9, tol=0.01)), (False,), marks=pytest.mark.slow),
        pytest.param(FGSM(0.1), (False, True), marks=pytest.mark.slow),
        pytest.param(PGD2(1.0, 0.5, 2, sa.Smoothing(0.9, tol=0.01)), ("auto", True), marks=pytest.mark.slow),
        pytest.param(FMN(3), ("auto", True), marks=pytest.mark.slow),
        pytest.param(PGD2(1.0, 0.5, 2, binary_search_steps=1), ("auto", True), marks=pytest.mark.slow),
        pytest.param(CarliniWagner(2, 2), ("auto", True), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_compiled_train_step_is_the_eager_one(attack, jit_compile, digits):
    images, labels = digits[0][:16], digits[1][:16].astype(np.int32)

    def history(**how):
        model = AdversarialTraining(attack)
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **how)
        return model.fit(images, labels, batch_size=8, shuffle=False, verbose=0, epochs=2).history

    expected = history(run_eagerly=True)
    assert np.mean(expected["distortion"]) > 0.01
    for value in jit_compile:
        found = history(jit_compile=value)
        for key, values in expected.items():
            np.testing.assert_allclose(found[key], values, rtol=1e-3, err_msg=f"{value} {key}")


REPLICAS = """
    import numpy as np
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

    import tf_smoothadv as sa

    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    weights = np.random.default_rng(1).normal(size=(192, 3)).astype("float32")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        w = tf.Variable(weights)

    def model(images):
        return tf.reshape(images, [-1, 192]) @ w

    labels = np.argmax(model(images), axis=1).astype("int32")
    attack = sa.attacks.FMN(2)

    @tf.function
    def attacked(images, labels):
        return strategy.run(lambda *batch: attack(model, *batch).adversarial, (images, labels))

    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    (parts,) = [attacked(*batch) for batch in strategy.experimental_distribute_dataset(dataset)]
    found = np.concatenate(strategy.experimental_local_results(parts))
    np.testing.assert_allclose(found, attack(model, images, labels).adversarial, atol=1e-5)
    print("the same")
"""


@pytest.mark.slow
def test_the_replicas_of_a_strategy():
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLICAS)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert finished.stdout.strip() == "the same", finished.stderr


def test_an_attack_that_fails_while_it_is_traced_leaves_strategies_usable():
    class Failing(FMN):
        def run(self, model, images, labels, targets):
            raise KeyError("broken")

    with pytest.raises(ValueError, match="broken"):
        NearestClasses(Failing(2), classes=2)(logits_of, IMAGES, LABELS)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert tf.Variable(1.0).numpy() == 1
