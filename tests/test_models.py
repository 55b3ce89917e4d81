from __future__ import annotations

import contextlib
import re
import runpy
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from models.c4 import NAMES, WEIGHTS
from models.loading import with_defense
from tests.conftest import SAMPLE, needs_shared
from tests.many_runs import here
from tf_smoothadv.evaluation.data import mnist

KERAS_2 = keras.__version__.startswith("2.")
ACCURACY = {"clean": 0.989, "adversarial": 0.985}


def accuracy(model, images, labels) -> float:
    logits = np.concatenate([model(images[i : i + 500], training=False) for i in range(0, len(images), 500)])
    return float(np.mean(np.argmax(logits, 1) == labels))


def test_c4_is_the_papers_network():
    network = models.c4(weights=None)
    convolutions = [layer for layer in network.layers if hasattr(layer, "kernel_size")]
    assert [(layer.filters, *layer.kernel_size, *layer.strides) for layer in convolutions] == [
        (64, 8, 8, 2, 2),
        (128, 6, 6, 2, 2),
        (128, 5, 5, 1, 1),
    ]
    assert network.output_shape == (None, 10)
    assert network.count_params() == 710_218


@pytest.mark.parametrize("weights", NAMES)
def test_shipped_weights_on_the_shipped_digits(weights, digits):
    assert accuracy(models.c4(weights), *digits) >= 0.98
    assert (WEIGHTS / f"c4_{weights}.weights.h5").stat().st_size < 3e6


@pytest.mark.parametrize("weights", NAMES)
def test_accuracy_on_the_whole_test_set_is_that_of_the_model_card(weights):
    images, labels = mnist.read(str(needs_shared("data/mnist.npz")), "test")
    measured = accuracy(models.c4(weights), images, labels)
    assert measured >= ACCURACY[weights]
    assert f"| accuracy | {measured:.4f} on the 10,000 test images |" in (WEIGHTS / f"c4_{weights}.md").read_text()


def test_outputs_are_logits(digits):
    logits = models.c4()(digits[0]).numpy()
    assert logits.min() < 0


def test_unknown_weights():
    with pytest.raises(ValueError, match="weights must be one of 'clean', 'adversarial', None; received 'robust'"):
        models.c4(weights="robust")


class TestLoading:
    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_keras_files(self, suffix, tmp_path, digits):
        model = models.c4()
        path = tmp_path / f"model.{suffix}"
        model.save(path)
        np.testing.assert_allclose(models.load(str(path))(digits[0][:4]), model(digits[0][:4]), atol=1e-5)

    def test_saved_model_with_its_gradient(self, tmp_path, digits):
        model = models.c4()
        module = tf.Module()
        module.serve = tf.function(model, input_signature=[tf.TensorSpec([None, 28, 28, 1])])
        module.model = model
        tf.saved_model.save(module, str(tmp_path / "saved"))
        loaded = models.load(str(tmp_path / "saved"))
        images = tf.constant(digits[0][:4])
        gradients = []
        for network in (model, loaded):
            with tf.GradientTape() as tape:
                tape.watch(images)
                logits = network(images)
            gradients.append(tape.gradient(logits, images))
        np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-4)

    def test_the_background_of_1001_classes_is_left_out(self, tmp_path):
        model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(1001)])
        model.save(tmp_path / "model.keras")
        images = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
        logits = models.load(str(tmp_path / "model.keras"))(images)
        np.testing.assert_allclose(logits, model(images)[:, 1:], atol=1e-6)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("slim:inception_v4:x.ckpt", "network must be one of .*; received 'inception_v4'"),
            ("slim:resnet_v2_50:missing.ckpt", r"cannot read a checkpoint from missing\.ckpt"),
            ("slim:resnet_v2_50", "cannot read a checkpoint from"),
        ],
    )
    def test_checkpoints_that_are_not_there(self, name, message):
        with pytest.raises(ValueError, match=message):
            models.load(name)

    @pytest.mark.slow
    def test_a_defence_with_defense_of_a_network_that_is_loaded_once(self, digits):
        loaded = models.load_all(["c4", "bilateral+c4", "bilateral+bilateral+c4"])
        layer = sa.defenses.BilateralFilter()
        x = digits[0][:4]
        np.testing.assert_allclose(loaded["bilateral+c4"](x), loaded["c4"](layer(x)), atol=1e-5)
        np.testing.assert_allclose(loaded["bilateral+bilateral+c4"](x), loaded["c4"](layer(layer(x))), atol=1e-5)
        for name in loaded:
            assert all(one is other for one, other in zip(loaded[name].weights, loaded["c4"].weights))
            assert loaded[name].input_shape == (None, 28, 28, 1)
            assert models.check(loaded[name], *(column[:16] for column in digits)) > 0.8

    def test_a_defence_with_defense_of_a_saved_model(self, tmp_path, digits):
        model = models.c4()
        module = tf.Module()
        module.serve = tf.function(model, input_signature=[tf.TensorSpec([None, 28, 28, 1])])
        module.model = model
        tf.saved_model.save(module, str(tmp_path / "saved"))
        x = digits[0][:4]
        expected = model(sa.defenses.BilateralFilter()(x))
        np.testing.assert_allclose(models.load(f"bilateral+{tmp_path / 'saved'}")(x), expected, atol=1e-5)

    def test_a_path_with_a_plus(self, tmp_path, digits):
        model = models.c4()
        model.save(tmp_path / "a+b.keras")
        np.testing.assert_allclose(models.load(str(tmp_path / "a+b.keras"))(digits[0][:4]), model(digits[0][:4]))

    def test_what_is_no_model(self, tmp_path):
        broken = tmp_path / "broken.keras"
        broken.write_bytes(b"PK not a zip")
        with pytest.raises(ValueError, match=r"cannot read a model from .*broken\.keras"):
            models.load(str(broken))
        forms = r"c4, c4_adversarial, inception_v3\[:random\], resnet_v2_50\[:random\], keras:NAME\[:random\], slim:"
        forms += r"NETWORK:CHECKPOINT, bilateral\+MODEL, median\+MODEL, gaussian\+MODEL, MODEL\+MODEL"
        for name, unknown in (("resnet", "resnet"), ("mean+c4", "mean"), ("bilateral+resnet", "resnet")):
            message = f"model must be one of {forms} or the path of a model; received '{unknown}'"
            with pytest.raises(ValueError, match=message):
                models.load(name)


NETWORK = """
import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("own")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2


def squared(x):
    return x * x
"""


def small_network(*layers: keras.layers.Layer) -> keras.Model:
    """From images [B, 4, 4, 3] to five logits, by these layers and a dense one."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 4, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(5)])


def assert_same_logits_and_gradients(model, expected, images: np.ndarray, atol: float = 1e-5) -> None:
    found = []
    for network in (model, expected):
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = sa.Classifier.of(network)(x)
        found.append((logits.numpy(), tape.gradient(logits, x).numpy()))
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.fixture
def colors(rng) -> np.ndarray:
    return rng.random((3, 4, 4, 3)).astype(np.float32)


class TestOwnClasses:
    @pytest.fixture
    def files(self, tmp_path, monkeypatch):
        """The file of a module with layers and a function, and what it defines."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        path = tmp_path / "own_layers.py"
        path.write_text(NETWORK)
        with unknown_again():
            yield path, runpy.run_path(str(path))

    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    @pytest.mark.parametrize(
        ("kind", "name"), [("Doubled", "own>Doubled"), ("Halved", "Halved"), ("squared", "squared")]
    )
    @pytest.mark.parametrize("named", ["own_layers", "own_layers.py"])
    def test_are_named_and_found_once_imported(self, suffix, kind, name, named, files, tmp_path, colors):
        if KERAS_2 and (suffix, kind) == ("h5", "squared"):
            pytest.skip("Keras 2 does not read what it writes")
        _, defined = files
        layer = keras.layers.Activation(defined[kind]) if kind == "squared" else defined[kind]()
        model = small_network(layer)
        model.save(tmp_path / f"model.{suffix}")
        keras.saving.get_custom_objects().clear()
        with pytest.raises(ValueError, match=rf"cannot read a model from .*model\.{suffix}: ") as error:
            models.load(str(tmp_path / f"model.{suffix}"))
        if not KERAS_2:  # which does not always tell the name
            told = rf"not know its '({name}|{kind})': name the module .*: --import=MODULE, or models\.import_module"
            assert re.search(told, str(error.value))
        sys.modules.pop("own_layers", None)
        models.import_module(named)
        assert_same_logits_and_gradients(models.load(str(tmp_path / f"model.{suffix}")), model, colors)

    @pytest.mark.skipif(KERAS_2, reason="tells it in other words")
    def test_that_cannot_be_made_are_told_by_the_cause(self, files, tmp_path):
        class Lacking(keras.layers.Layer):
            def get_config(self):
                return {**super().get_config(), "more": 1}

        small_network(Lacking()).save(tmp_path / "model.keras")
        message = r"cannot read a model from .*model\.keras: .*Lacking: \{'more': 1\}$"
        with keras.saving.custom_object_scope({"Lacking": Lacking}), pytest.raises(ValueError, match=message):
            models.load(str(tmp_path / "model.keras"))

    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_do_not_stand_for_those_of_keras(self, suffix, files, tmp_path, colors):
        model = small_network(keras.layers.Conv2D(3, 2, activation="relu"))
        model.save(tmp_path / f"model.{suffix}")
        (tmp_path / "like_keras.py").write_text(f"{NETWORK}\nDense = Conv2D = Halved\nrelu = squared\n")
        models.import_module("like_keras")
        assert_same_logits_and_gradients(models.load(str(tmp_path / f"model.{suffix}")), model, colors)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, r"cannot import {}: (FileNotFoundError|ModuleNotFoundError): .*No "),
            ("def", r"cannot import {}: SyntaxError: invalid syntax"),
            ("raise RuntimeError('two\\nlines')", r"cannot import {}: RuntimeError: two$"),
        ],
    )
    @pytest.mark.parametrize("named", ["broken_module", "broken_module.py"])
    def test_modules_that_cannot_be_imported(self, content, message, named, files, tmp_path):
        if content is not None:
            (tmp_path / "broken_module.py").write_text(content)
        with pytest.raises(ValueError, match=message.format(re.escape(named))):
            models.import_module(named)


@contextlib.contextmanager
def unknown_again():
    """What is registered inside, Keras knows no more behind."""
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    try:
        yield
    finally:
        registered.clear()
        registered.update(before)


class TestSavedModels:
    """Whatever wrote them: the same logits and gradients."""

    def test_of_nothing_but_a_signature(self, tmp_path, colors):
        model = small_network()
        module = tf.Module()
        module.model = model

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3], name="pictures")])
        def serve(pictures):
            return {"scores": model(pictures)}

        tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})
        assert not callable(tf.saved_model.load(str(tmp_path)))
        assert_same_logits_and_gradients(models.load(str(tmp_path)), model, colors)

    def test_of_several_outputs_by_name(self, tmp_path, colors):
        model, other = small_network(), small_network(keras.layers.Rescaling(3.0))
        module = tf.Module()
        module.models = [model, other]
        signature = tf.function(
            lambda x: {"first": model(x), "second": other(x)}, input_signature=[tf.TensorSpec([None, 4, 4, 3])]
        )
        tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": signature})
        with pytest.raises(ValueError, match=r"the outputs (first, second|second, first): take one .*--output_name"):
            models.check(models.load(str(tmp_path)), colors)
        (chosen,) = models.load_classifiers([str(tmp_path)], output_name="second").values()
        assert_same_logits_and_gradients(chosen, other, colors)

    def test_of_the_call_of_a_module(self, tmp_path, colors):
        class Module(tf.Module):
            def __init__(self):
                super().__init__()
                self.model = small_network()

            @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
            def __call__(self, images):
                return self.model(images)

        module = Module()
        tf.saved_model.save(module, str(tmp_path))
        assert_same_logits_and_gradients(models.load(str(tmp_path)), module.model, colors)

    def test_of_one_size_of_batch(self, tmp_path, colors):
        model = small_network()
        module = tf.Module()
        module.model = model
        signature = tf.function(lambda x: {"y": model(x)}, input_signature=[tf.TensorSpec([2, 4, 4, 3])])
        tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": signature})
        assert_same_logits_and_gradients(models.load(str(tmp_path)), model, colors)

    def test_exported_by_keras(self, tmp_path, colors, capfd):
        model = small_network(keras.layers.Dropout(0.5), keras.layers.BatchNormalization())
        model.export(str(tmp_path / "export"))
        assert_same_logits_and_gradients(models.load(str(tmp_path / "export")), model, colors)

    def test_of_tensorflow_1(self, tmp_path, colors):
        kernel = np.random.default_rng(1).normal(size=(48, 5)).astype(np.float32)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            images = tf.compat.v1.placeholder(tf.float32, [None, 4, 4, 3])
            variable = tf.compat.v1.Variable(kernel, use_resource=False)
            logits = tf.reshape(images, [-1, 48]) @ variable
            session.run(variable.initializer)
            tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "v1"), {"x": images}, {"y": logits})
        expected = lambda x: tf.reshape(x, [-1, 48]) @ kernel  # noqa: E731
        assert_same_logits_and_gradients(models.load(str(tmp_path / "v1")), expected, colors)

    def test_without_anything_to_call(self, tmp_path):
        module = tf.Module()
        module.weights = tf.Variable([1.0])
        tf.saved_model.save(module, str(tmp_path))
        with pytest.raises(ValueError, match="must have a signature 'serving_default'; it has none"):
            models.load(str(tmp_path))


class TestKeras2:
    """What `tf_keras`, which is Keras 2, saves."""

    @pytest.fixture
    def tf_keras(self):
        if KERAS_2:
            pytest.skip("has Keras 2 itself")
        return pytest.importorskip("tf_keras")

    @pytest.fixture
    def model(self, tf_keras):
        """Five logits of images [B, 4, 4, 3], by layers that training changes."""
        images = tf_keras.Input((4, 4, 3))
        layers = [tf_keras.layers.BatchNormalization(), tf_keras.layers.Dropout(0.5), tf_keras.layers.Flatten()]
        features = tf_keras.Sequential(layers)(images)
        return tf_keras.Model(images, 2 * tf_keras.layers.Dense(5)(features))

    @pytest.mark.parametrize("method", ["save", "export"])
    def test_saved_models(self, method, model, tmp_path, colors):
        getattr(model, method)(str(tmp_path / "saved"))
        assert_same_logits_and_gradients(models.load(str(tmp_path / "saved")), model, colors)

    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_files_that_keras_3_cannot_read(self, suffix, model, tf_keras, tmp_path):
        model.save(tmp_path / f"model.{suffix}")
        message = (
            rf"cannot read a model from .*: Keras {re.escape(tf_keras.__version__)} saved it, which Keras 3.* cannot"
        )
        with pytest.raises(ValueError, match=rf"{message} read: model\.export\(FOLDER\) there") as error:
            models.load(str(tmp_path / f"model.{suffix}"))
        assert "\n" not in str(error.value)

    def test_a_file_that_keras_3_can_read(self, tf_keras, tmp_path, colors):
        layers = [tf_keras.layers.Conv2D(3, 2), tf_keras.layers.Flatten(), tf_keras.layers.Dense(5)]
        model = tf_keras.Sequential([tf_keras.Input((4, 4, 3)), *layers])
        model.save(tmp_path / "model.h5")
        assert_same_logits_and_gradients(models.load(str(tmp_path / "model.h5")), model, colors)

    def test_in_memory(self, model, colors):
        assert models.check(model, colors) == 1
        assert models.fingerprint(model) == models.fingerprint(sa.Classifier(model)) is not None
        np.testing.assert_allclose(with_defense(tf.identity, model)(colors), model(colors), atol=1e-6)


class TestClassifiers:
    def test_a_softmax_that_can_be_left_out_is(self, tmp_path, colors):
        logits = small_network(keras.layers.Rescaling(100.0))  # so far apart that the probabilities are 0 and 1
        keras.Sequential([keras.Input((4, 4, 3)), logits, keras.layers.Softmax()]).save(tmp_path / "model.keras")
        (classifier,) = models.load_classifiers([str(tmp_path / "model.keras")], outputs="probabilities").values()
        assert_same_logits_and_gradients(classifier, logits, colors, atol=1e-3)
        assert models.check(classifier, colors) == 1

    def test_other_probabilities_are_taken_as_such(self, tmp_path, colors):
        logits = small_network()
        layers = [logits, keras.layers.Softmax(), keras.layers.Reshape((5,))]
        model = keras.Sequential([keras.Input((4, 4, 3)), *layers])
        model.save(tmp_path / "model.keras")
        (classifier,) = models.load_classifiers([str(tmp_path / "model.keras")], outputs="probabilities").values()
        expected = tf.nn.log_softmax(logits(colors))
        np.testing.assert_allclose(classifier(colors), expected, atol=1e-5)

    @pytest.mark.parametrize("output", [pytest.param("logits", marks=pytest.mark.slow), "two"])
    def test_a_defence_sees_images_in_its_own_range(self, output, tmp_path, colors):
        """Whatever range the network behind it expects, and however many outputs it has."""
        plain = small_network()
        images = keras.Input((4, 4, 3))
        logits = plain(keras.layers.Rescaling(1 / 255)(images))
        outputs = {"a": logits, "b": -logits} if output == "two" else logits
        keras.Model(images, outputs).save(tmp_path / "model.keras")
        names = [f"{prefix}{tmp_path / 'model.keras'}" for prefix in ("", "bilateral+", "bilateral+bilateral+")]
        output_name = "a" if output == "two" else None
        layer = sa.defenses.BilateralFilter()
        loaded = models.load_classifiers(names, input_range=(0, 255), output_name=output_name)
        for classifier, seen in zip(loaded.values(), (colors, layer(colors), layer(layer(colors)))):
            np.testing.assert_allclose(classifier(seen if seen is colors else colors), plain(seen), atol=1e-5)
            assert models.check(classifier, colors) == 1
            assert models.fingerprint(classifier) == models.fingerprint(plain)

    def test_draws_through_a_defence(self, tmp_path, colors):
        small_network().save(tmp_path / "model.keras")
        (classifier,) = models.load_classifiers([f"bilateral+{tmp_path / 'model.keras'}"], samples=7).values()
        assert classifier.samples == 7

    def test_a_network_of_one_size_of_batch(self, tmp_path, colors):
        images = keras.Input((4, 4, 3), batch_size=2)
        keras.Model(images, small_network()(images)).save(tmp_path / "model.keras")
        names = [f"{prefix}{tmp_path / 'model.keras'}" for prefix in ("", "bilateral+")]
        plain, defended = models.load_classifiers(names).values()
        assert plain(colors).shape == defended(colors).shape == (3, 5)
        np.testing.assert_allclose(defended(colors), plain(sa.defenses.BilateralFilter()(colors)), atol=1e-5)


def test_a_fingerprint_of_a_saved_model_is_that_of_its_files(tmp_path):
    class Scaled(tf.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = tf.Variable(scale)

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
        def __call__(self, images):
            return self.scale * images[:, 0, 0]

    for scale in (1.0, 2.0):
        tf.saved_model.save(Scaled(scale), str(tmp_path / str(scale)))
    found = [models.fingerprint(models.load(str(tmp_path / scale))) for scale in ("1.0", "1.0", "2.0")]
    assert found[0] == found[1] != found[2]


def test_a_fingerprint_is_that_of_the_model_inside():
    model = small_network()
    assert models.fingerprint(sa.Classifier(model, input_range=(0, 255))) == models.fingerprint(model)
    assert models.fingerprint(sa.Classifier(lambda images: images)) is None


class TestMnist:
    def test_missing(self):
        with pytest.raises(ValueError, match=r"no such file: nowhere\.npz"):
            mnist.read("nowhere.npz", "test")

    def test_truncated(self, tmp_path):
        path = tmp_path / "mnist.npz"
        path.write_bytes(SAMPLE.read_bytes()[:20_000])
        with pytest.raises(ValueError, match=r"is not a whole mnist\.npz"):
            mnist.read(str(path), "test")

    def test_something_else(self, tmp_path):
        path = tmp_path / "other.npz"
        np.savez(path, x_test=np.zeros((2, 3)), y_test=np.zeros(2))
        with pytest.raises(ValueError, match=r"images float64 \(2, 3\) and labels \(2,\) are not MNIST's"):
            mnist.read(str(path), "test")


@pytest.mark.parametrize(
    ("training", "arguments", "described"),
    [
        pytest.param("clean", [], "clean images only", marks=pytest.mark.slow),
        ("adversarial", [], "half of each batch adversarial by a step towards the least likely class"),
        pytest.param(
            "adversarial",
            ["--method=fgsm", "--epsilon=0.2"],
            r"by a step away from the label \(FGSM\), .* cut at 0\.2",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training_binary(training, arguments, described, digits, tmp_path):
    images, labels = (column[:40] for column in digits)
    pixels = np.round(images[..., 0] * 255).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    flags = [f"--data={tmp_path / 'mnist.npz'}", f"--output={tmp_path}", f"--training={training}"]
    finished = here("models.train", *flags, "--epochs=15", "--batch_size=20", "--seed=3", *arguments)
    assert finished.status == 0, finished.stderr
    network = models.c4(weights=None)
    network.load_weights(tmp_path / f"c4_{training}.weights.h5")
    measured = accuracy(network, images, labels)
    assert measured > 0.9  # of the digits it was trained on
    assert f"test accuracy {measured:.4f}" in finished.stdout
    card = (tmp_path / f"c4_{training}.md").read_text()
    assert f"| accuracy | {measured:.4f} " in card
    assert "| seed | 3 |" in card
    assert re.search(rf"\| training \| .*{described}", card)
