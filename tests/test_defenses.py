from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tests import reference
from tf_smoothadv.defenses import BilateralFilter


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.random((4, 8, 9, 3)).astype(np.float32)


def expected(images: np.ndarray, color: str = "per_channel") -> np.ndarray:
    return np.stack([reference.bilateral(image, image, 0.5, 0.2, 5, color) for image in images])


class TestLayer:
    def test_defaults_are_the_authors_filter(self, images):
        np.testing.assert_allclose(BilateralFilter()(images), expected(images), atol=1e-6)

    def test_by_the_distance_of_colours(self, images):
        np.testing.assert_allclose(BilateralFilter(color="joint")(images), expected(images, "joint"), atol=1e-6)

    def test_config(self):
        layer = BilateralFilter(1.0, 0.1, 3, "joint", name="filter")
        again = BilateralFilter.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert (again.sigma_space, again.sigma_range, again.radius, again.color) == (1.0, 0.1, 3, "joint")

    def test_in_a_functional_model_that_is_saved_and_loaded(self, images, tmp_path):
        inputs = keras.Input((8, 9, 3))
        filtered = BilateralFilter()(inputs)
        assert tuple(filtered.shape) == (None, 8, 9, 3)
        model = keras.Model(inputs, keras.layers.Conv2D(2, 3)(filtered))
        before = model.predict(images, verbose=0)
        model.save(tmp_path / "model.keras")
        after = keras.models.load_model(tmp_path / "model.keras").predict(images, verbose=0)
        np.testing.assert_allclose(after, before, atol=1e-6)

    def test_with_images_of_any_size(self, images):
        inputs = keras.Input((None, None, 3))
        model = keras.Model(inputs, BilateralFilter()(inputs))
        np.testing.assert_allclose(model.predict(images, verbose=0), expected(images), atol=1e-6)

    def test_trains_through(self, images):
        inputs = keras.Input((8, 9, 3))
        convolved = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")(inputs)
        model = keras.Model(inputs, BilateralFilter()(convolved))
        model.compile(optimizer="sgd", loss="mse")
        before = model.get_weights()[0].copy()
        model.fit(images, images, verbose=0)
        assert np.any(model.get_weights()[0] != before)
        assert np.all(np.isfinite(model.get_weights()[0]))

    def test_in_a_data_pipeline(self, images):
        dataset = tf.data.Dataset.from_tensor_slices(images).batch(3).map(BilateralFilter())
        found = np.concatenate([batch.numpy() for batch in dataset])
        np.testing.assert_allclose(found, expected(images), atol=1e-6)

    @pytest.mark.parametrize(
        ("dtype", "atol"), [("float16", 1e-3), ("bfloat16", 1e-2), ("float32", 1e-6), ("float64", 1e-12)]
    )
    def test_returns_the_images_dtype(self, images, dtype, atol):
        cast = tf.cast(images, dtype)
        filtered = BilateralFilter()(cast)
        assert filtered.dtype == dtype
        found, given = (tf.cast(x, tf.float64).numpy() for x in (filtered, cast))
        np.testing.assert_allclose(found, expected(given), atol=atol)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma_space": 0.0}, r"sigma_space must be a number in \(0, inf\); received 0.0"),
        ({"sigma_range": -0.2}, r"sigma_range must be a number in \(0, inf\); received -0.2"),
        ({"sigma_range": np.nan}, "sigma_range must be .* received nan"),
        ({"radius": -1}, "radius must be an integer of at least 0; received -1"),
        ({"radius": 2.5}, "radius must be an integer of at least 0; received 2.5"),
        ({"color": "rgb"}, "color must be one of 'joint', 'per_channel'; received 'rgb'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        BilateralFilter(**settings)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 1), np.float32), r"images must have rank 4, .*received shape \(4, 4, 1\)"),
        (np.zeros((1, 4, 4, 1), np.uint8), "images must be floats; received uint8; divide 8-bit values by 255"),
        (
            np.full((1, 4, 4, 1), 255, np.float32),
            r"must lie in \[0, 1\]; received values from 255 to 255; divide 8-bit",
        ),
        (np.full((1, 4, 4, 1), np.nan, np.float32), "received values from nan to nan"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(ValueError, match=message):
        BilateralFilter()(tf.constant(images))


class TestAttackThroughIt:
    """C4 behind a filter strong enough to matter, on real digits; its gradient must know the filter."""

    @pytest.fixture
    def layer(self) -> BilateralFilter:
        return BilateralFilter(sigma_space=1.0)

    @pytest.fixture(params=["callable", pytest.param("keras", marks=pytest.mark.slow)])
    def defended(self, request, layer):
        c4 = models.c4()
        return keras.Sequential([layer, c4]) if request.param == "keras" else lambda images: c4(layer(images))

    def test_pgd2_succeeds(self, defended, layer, digits):
        images, labels = digits[0][:8], digits[1][:8]
        attack = sa.attacks.PGD2(epsilon=3.0, step_size=0.5, steps=10)
        result = attack(defended, images, labels)
        assert np.all(result.success)
        predicted = np.argmax(models.c4()(layer(result.adversarial), training=False), axis=1)
        assert np.all(predicted != labels)

    def test_gradients_are_finite_and_know_the_filter(self, defended, digits):
        images = tf.constant(digits[0][:2])
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(defended(images)[:, 0])
        through = tape.gradient(loss, images).numpy()
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(models.c4()(images)[:, 0])
        around = tape.gradient(loss, images).numpy()
        assert np.all(np.isfinite(through))
        assert np.linalg.norm(through - around) > 0.1 * np.linalg.norm(around)
