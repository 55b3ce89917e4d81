from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import imagenet

MODES = {"tf": "MobileNet", "torch": "DenseNet121", "caffe": "ResNet50", "none": "MobileNetV3Small"}


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.random((2, 64, 64, 3)).astype(np.float32)


def preprocess_of(name):
    return inspect.getmodule(getattr(keras.applications, name)).preprocess_input


def raw(name: str, size: int = 64) -> keras.Model:
    """The network as Keras gives it, with random weights."""
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classifier_activation=None)


def logits(model, images) -> np.ndarray:
    return model(images, training=False).numpy()


def assert_same_logits(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("name", imagenet.APPLICATIONS)
def test_preprocessing_is_that_of_every_application(name, pixels):
    images = tf.constant(pixels)
    found = imagenet.preprocessed(images, getattr(keras.applications, name))
    np.testing.assert_allclose(found, preprocess_of(name)(255.0 * images), rtol=1e-5, atol=1e-5)


def test_preprocessing_that_mixes_channels_is_refused():
    def network():
        pass

    def mixed(pixels):
        return pixels @ np.full((3, 3), 1 / 3)

    module = type("module", (), {"preprocess_input": staticmethod(mixed)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagenet.inspect, "getmodule", lambda _: module)
        with pytest.raises(ValueError, match="preprocess_input is not one scale and offset for each channel"):
            imagenet.preprocessed(tf.zeros([1, 1, 1, 3]), network)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(MODES[mode], id=mode, marks=[pytest.mark.slow] * (mode in ("caffe", "tf", "none")))
        for mode in MODES
    ],
)
def test_logits_are_those_of_keras(name, pixels):
    model = models.application(name, weights=None)
    reference = raw(name)
    reference.set_weights(model.get_weights())
    assert_same_logits(logits(model, pixels), logits(reference, preprocess_of(name)(255 * pixels)))
    assert model.output_shape == (None, 1000)


def test_a_file_needs_no_code_of_ours(pixels, tmp_path):
    model = models.application("MobileNet", weights=None)
    assert_same_logits(logits(through_file(model, tmp_path), pixels), logits(model, pixels))


@pytest.mark.parametrize("name", MODES.values(), ids=MODES)
def test_preprocessing_in_a_file(name, pixels, tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, imagenet.preprocessed(images, getattr(keras.applications, name)))
    np.testing.assert_array_equal(through_file(model, tmp_path)(pixels), model(pixels))


def through_file(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", compile=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "name", "parameters", "suffix"),
    [
        (models.inception_v3, "InceptionV3", 23_851_784, "weights.h5"),
        (models.resnet_v2_50, "ResNet50V2", 25_613_800, "keras"),
    ],
)
def test_the_papers_networks_from_a_file_of_keras(build, name, parameters, suffix, rng, tmp_path):
    images = rng.random((2, 80, 80, 3)).astype(np.float32)
    reference = raw(name, 80)
    path = tmp_path / f"{name}.{suffix}"
    if suffix == "keras":
        reference.save(path)
    else:
        reference.save_weights(path)
    model = build(weights=str(path), image_size=None)
    assert model.count_params() == parameters
    assert_same_logits(logits(model, images), logits(reference, 2 * images - 1))


@pytest.mark.slow
def test_networks_that_depend_on_the_size_have_their_own():
    assert models.application("NASNetMobile", None).input_shape == (None, 224, 224, 3)


class TestDownload:
    """Of Keras, replaced by a file or by a failure."""

    @pytest.fixture
    def replace(self, monkeypatch):
        module = inspect.getmodule(keras.applications.MobileNet)
        utils = getattr(module, "file_utils", None) or module.data_utils  # Keras 3, Keras 2
        return lambda download: monkeypatch.setattr(utils, "get_file", download)

    def test_weights_for_224_serve_images_of_any_size(self, replace, tmp_path, pixels):
        downloaded = raw("MobileNet", 224)
        path = tmp_path / "mobilenet.h5"
        downloaded.save(path)
        replace(lambda *_, **__: str(path))
        reference = raw("MobileNet")
        reference.set_weights(downloaded.get_weights())
        assert_same_logits(logits(models.load("keras:MobileNet"), pixels), logits(reference, 2 * pixels - 1))

    def test_failure_is_one_line(self, replace):
        def fail(*_, **__):
            raise Exception("URL fetch failure on https://storage\nmore")  # bare, as Keras does

        replace(fail)
        message = (
            "cannot make MobileNet for image_size=None with weights='imagenet': URL fetch failure on https://storage$"
        )
        with pytest.raises(ValueError, match=message):
            models.application("MobileNet")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.application("AlexNet"), "application must be one of .*'MobileNetV2'.* received 'AlexNet'"),
        (lambda: models.application("MobileNet", "w.h5"), "weights must be one of 'imagenet', None; received 'w.h5'"),
        (lambda: models.inception_v3(None, 16), "image_size must be an integer of at least 32; received 16"),
        (lambda: models.inception_v3(None, 40), "cannot make InceptionV3 for image_size=40 with weights=None"),
        (lambda: models.resnet_v2_50("missing.h5"), "cannot make ResNet50V2 .* weights='missing.h5': .*weights"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.weights.h5"
    models.c4().save_weights(path)
    with pytest.raises(
        ValueError, match=r"cannot make ResNet50V2 for image_size=299 with weights=.*other\.weights\.h5"
    ):
        models.resnet_v2_50(str(path))


def test_names():
    assert models.load("resnet_v2_50:random").input_shape == (None, 299, 299, 3)
    assert models.load("keras:MobileNet:random").input_shape == (None, None, None, 3)
    assert models.application("MobileNet", None, 96).input_shape == (None, 96, 96, 3)
    with pytest.raises(ValueError, match="application must be one of"):
        models.load("keras:AlexNet")
