"""The filters of TensorFlow Addons, where it is installed; what is said where it is not."""

from __future__ import annotations

import importlib.util
import sys

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

import models
import tf_smoothadv as sa
from tf_smoothadv.addons import GaussianFilter, MedianFilter

needs_addons = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_addons") is None, reason="needs tensorflow-addons"
)


@needs_addons
class TestFilters:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("size", [1, 3, 5])
    def test_median_is_scipys(self, size, dtype, rng):
        images = rng.random((2, 7, 9, 3)).astype(dtype)
        expected = scipy.ndimage.median_filter(images, (1, size, size, 1), mode="reflect")
        np.testing.assert_array_equal(MedianFilter(size)(images), expected)

    @pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 1e-6), (np.float64, 1e-7)])
    @pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
    def test_gaussian_is_scipys(self, sigma, dtype, atol, rng):
        images = rng.random((2, 7, 9, 3)).astype(dtype)
        expected = scipy.ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="reflect", truncate=3)
        np.testing.assert_allclose(GaussianFilter(sigma)(images), expected, atol=atol)

    @pytest.mark.parametrize("layer", [MedianFilter, GaussianFilter])
    def test_gradients_are_the_finite_differences(self, layer, rng):
        values = rng.permutation(np.linspace(0.1, 0.9, 24)).reshape(1, 4, 3, 2)  # all differ: no median changes place
        upstream = tf.constant(rng.random(values.shape))
        (theoretical,), (numerical,) = tf.test.compute_gradient(
            lambda x: tf.reduce_sum(upstream * layer()(x)), [tf.constant(values)], delta=1e-5
        )
        np.testing.assert_allclose(theoretical, numerical, atol=1e-8)

    @pytest.mark.parametrize("make", [lambda: MedianFilter(5), lambda: GaussianFilter(0.7)])
    def test_in_a_model_of_any_size_that_is_saved_and_loaded(self, make, rng, tmp_path):
        layer = make()
        images = rng.random((2, 7, 9, 3)).astype(np.float32)
        inputs = keras.Input((None, None, 3))
        keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras", compile=False)
        np.testing.assert_allclose(again(images), layer(images), atol=1e-6)

    @pytest.mark.parametrize("name", ["median+c4", "gaussian+c4", "bilateral+median+c4"])
    def test_attacks_go_through_a_defence_by_name(self, name, digits):
        images, labels = (column[:16] for column in digits)
        model = models.load(name)
        models.check(model, images, labels)
        result = sa.attacks.PGD2(epsilon=6.0, step_size=1.0, steps=10)(model, images, labels)
        assert np.mean(result.success) > 0.9
        predicted = np.argmax(model(result.adversarial), axis=1)
        np.testing.assert_array_equal(predicted != labels, result.success)


@pytest.mark.parametrize("name", ["median+c4", "gaussian+c4", "bilateral+median+c4"])
def test_without_tensorflow_addons_it_is_said_how_to_get_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    message = r"pip install 'tf_smoothadv\[addons\]' on Python 3.11 with TensorFlow 2.15$"
    with pytest.raises(ValueError, match=message):
        models.load(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MedianFilter(0), "size must be an integer of at least 1; received 0"),
        (lambda: GaussianFilter(0.0), r"sigma must be a number in \(0, inf\); received 0.0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
