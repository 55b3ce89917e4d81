from __future__ import annotations

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from models import mnist
from models.c4 import NAMES, WEIGHTS
from tests.conftest import SAMPLE, needs_shared

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

    def test_a_defence_in_front_of_a_network_that_is_loaded_once(self, digits):
        loaded = models.load_all(["c4", "bilateral+c4", "bilateral+bilateral+c4"])
        layer = sa.defenses.BilateralFilter()
        x = digits[0][:4]
        np.testing.assert_allclose(loaded["bilateral+c4"](x), loaded["c4"](layer(x)), atol=1e-5)
        np.testing.assert_allclose(loaded["bilateral+bilateral+c4"](x), loaded["c4"](layer(layer(x))), atol=1e-5)
        for name in loaded:
            assert all(one is other for one, other in zip(loaded[name].weights, loaded["c4"].weights))
            assert loaded[name].input_shape == (None, 28, 28, 1)
            assert models.check(loaded[name], *(column[:16] for column in digits)) > 0.8

    def test_a_defence_in_front_of_a_saved_model(self, tmp_path, digits):
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
        forms += r"NETWORK:CHECKPOINT, bilateral\+MODEL, median\+MODEL, gaussian\+MODEL"
        for name in ("resnet", "mean+c4", "bilateral+resnet"):
            received = re.escape(name.removeprefix("bilateral+"))
            message = f"model must be one of {forms} or the path of a model; received '{received}'"
            with pytest.raises(ValueError, match=message):
                models.load(name)


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


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--training=clean"], ["--training=adversarial", "--method=fgsm"]])
def test_training_binary(arguments, tmp_path):
    images, labels = mnist.read(str(SAMPLE), "test")
    data = tmp_path / "mnist.npz"
    pixels = np.round(images[..., 0] * 255).astype(np.uint8)
    np.savez(data, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    output = tmp_path / "weights"
    command = [sys.executable, "-m", "models.train", f"--data={data}", f"--output={output}"]
    command += ["--epochs=20", "--batch_size=32", "--seed=3", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    name = "c4_clean" if "clean" in arguments[0] else "c4_adversarial"
    network = models.c4(weights=None)
    network.load_weights(output / f"{name}.weights.h5")
    measured = accuracy(network, images, labels)
    assert measured > 0.9  # of the digits it was trained on
    assert f"test accuracy {measured:.4f}" in finished.stdout
    assert f"| accuracy | {measured:.4f} " in (output / f"{name}.md").read_text()
    assert "| seed | 3 |" in (output / f"{name}.md").read_text()
