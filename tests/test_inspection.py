from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa

LEVELS = np.linspace(0, 1, 5, dtype=np.float32)


@pytest.fixture
def greys() -> tuple[np.ndarray, np.ndarray]:
    """Four even images near each of the five grey levels, and the level as label."""
    labels = np.arange(20) % 5
    levels = 0.03 + 0.9 * LEVELS[labels]  # not the levels themselves, which have two neighbours at one distance
    return np.broadcast_to(levels[:, None, None, None], (20, 6, 6, 3)).astype(np.float32), labels


def nearest_level(*ending: keras.layers.Layer, scale: float = 1.0, offset: float = 0.0, before=(), **options):
    """Logits -(mean - level)^2 but for the same term in all classes, 2 level mean - level^2: accuracy 1 by design."""
    dense = keras.layers.Dense(5, **options)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            *before,
            keras.layers.Rescaling(scale, offset),
            keras.layers.GlobalAveragePooling2D(),
            dense,
            *ending,
        ]
    )
    dense.set_weights([np.tile(2 * LEVELS, (3, 1)) / 3, -(LEVELS**2)])
    return model


CORRECT = nearest_level()


def with_training(network: keras.Model):
    return lambda images: network(images, training=True)


def background_first(images):
    return tf.pad(CORRECT(images), [[0, 0], [1, 0]], constant_values=-9)


def vanishing(images, dtype):
    """CORRECT's logits, made small, of images that pass through a small number on their way: so does the gradient."""
    small = tf.cast(images, dtype) * 2.0**-12
    return 2.0**-26 * CORRECT(2.0**12 * tf.cast(small, tf.float32))


def test_accuracy(greys, digits):
    assert models.check(CORRECT, *greys) == 1
    images, labels = greys
    assert models.check(CORRECT, images, np.where(np.arange(20) < 5, (labels + 2) % 5, labels)) == 0.75
    assert models.check(models.c4(), *digits) >= 0.98


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_random_weights_pass(seed, digits):
    keras.utils.set_random_seed(seed)
    assert models.check(models.c4(weights=None), *digits) < 0.5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda images: tf.nn.softmax(CORRECT(images)), "must return logits.* take the softmax off"),
        (lambda images: images, r"to logits \[batch, classes\]; it returned \(2, 6, 6, 3\)"),
        (lambda images: tf.math.log(CORRECT(images) - 9), "must return finite logits; it returned NaN"),
        (
            with_training(nearest_level(before=[keras.layers.Dropout(0.5)])),
            "two calls on one image differ: switch its dropout or noise off",
        ),
        (
            with_training(nearest_level(before=[keras.layers.BatchNormalization()])),
            "logits change with the rest of its batch: let batch normalisation use its moving statistics",
        ),
        (
            nearest_level(scale=1 / 255),
            r"is 0\.200, but 1\.000 for images in \[0, 255\] and labels \+0: say so: "
            r"sa\.Classifier\(model, input_range=\(0, 255\)\), the flag --input_range=0,255$",
        ),
        (
            nearest_level(scale=1 / 2, offset=1 / 2),
            r"but 1\.000 for images in \[-1, 1\] and labels \+0: say so: .*input_range=\(-1, 1\).* --input_range=-1,1$",
        ),
        (
            background_first,
            r"is 0\.000, but 1\.000 for images in \[0, 1\] and labels \+1: add 1 to the labels, or drop",
        ),
        (
            lambda images: background_first(images / 255),
            r"in \[0, 255\] and labels \+1: say so: .*=0,255 and add 1 to the labels",
        ),
        (
            lambda images: CORRECT(tf.round(images * 8) / 8),
            "gradient of the model's margin is zero at 20 of 20 images: the model must be differentiable",
        ),
        (
            lambda images: vanishing(images, tf.float16),
            "gradient of the model's margin is zero at 20 of 20 images: the model must be differentiable",
        ),
        (
            lambda images: CORRECT(tf.sqrt((images - 0.03) ** 2) + 0.03),
            "gradient of the model's margin is NaN or infinite at 4 of 20 images: look for a root",
        ),
        (
            keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]),
            r"the model takes images \(8, 8, 3\), these are \(6, 6, 3\): resize the images",
        ),
        (
            lambda images: tf.reshape(images, [-1, 7, 5]),
            r"the model must take images \(6, 6, 3\); it raised InvalidArgumentError: .*reshape",
        ),
    ],
)
def test_bad_models(model, message, greys):
    with pytest.raises(ValueError, match=message) as error:
        models.check(model, *greys)
    assert "\n" not in str(error.value)


def test_a_model_that_only_judges_needs_no_gradient(greys):
    assert models.check(lambda images: CORRECT(tf.round(images * 8) / 8), *greys, gradients=False) == 1


def test_a_small_gradient_that_float32_holds(greys):
    assert models.check(lambda images: vanishing(images, tf.float32), *greys) == 1


class TestClassifier:
    def test_another_range(self, greys):
        model = sa.Classifier(nearest_level(scale=1 / 255), input_range=(0, 255))
        assert models.check(model, *greys) == 1

    def test_a_range_that_is_not_the_models(self, greys):
        message = (
            r"but 1\.000 for images in \[0, 1\] and labels \+0: say so: sa\.Classifier\(model, input_range=\(0, 1\)\)"
        )
        with pytest.raises(ValueError, match=message):
            models.check(sa.Classifier(CORRECT, input_range=(-1, 1)), *greys)

    def test_a_model_that_refuses_other_ranges_itself(self, greys):
        def strict(images):
            with tf.control_dependencies([tf.debugging.assert_less_equal(images, 1.0)]):
                return CORRECT(images)

        assert models.check(strict, *greys) == 1

    def test_probabilities(self, greys):
        probabilities = nearest_level(keras.layers.Softmax())
        assert models.check(sa.Classifier(probabilities, outputs="probabilities"), *greys) == 1

    def test_a_model_that_draws_random_numbers(self, greys):
        images, labels = greys
        noise = with_training(nearest_level(before=[keras.layers.GaussianNoise(0.01)]))
        assert models.check(sa.Classifier(noise, samples=20), images, labels) == 1
        with pytest.raises(ValueError, match=r"two calls on one image differ: .* the flag --samples=10"):
            models.check(noise, images, labels)
        shifted = np.where(np.arange(20) < 5, (labels + 2) % 5, labels)
        assert models.check(sa.Classifier(noise, samples=20), images, shifted) == 0.75

    def test_batches_of_one_size_alone(self, greys):
        function = tf.function(lambda images: CORRECT(images), input_signature=[tf.TensorSpec([8, 6, 6, 3])])
        assert models.check(function, *greys) == 1


def test_what_the_model_predicts(greys):
    images, _ = greys
    assert models.check(background_first, images) == 1
    with pytest.raises(ValueError, match="must return finite logits"):
        models.check(lambda x: CORRECT(x) * np.nan, images)


def test_logits_of_every_image_must_be_finite(greys):
    images, labels = greys
    with pytest.raises(ValueError, match="must return finite logits; it returned NaN"):
        models.check(
            lambda x: CORRECT(tf.sqrt(x - 0.01)), np.concatenate([images[4:], 0 * images[:1]]), [*labels[4:], 0]
        )


def test_labels_that_count_from_one(greys):
    images, labels = greys
    with pytest.raises(ValueError, match=r"labels -1: subtract 1 from the labels"):
        models.check(CORRECT, images, labels + 1)


def test_labels_beyond_the_classes(greys):
    images, labels = greys
    with pytest.raises(ValueError, match="labels must be below the model's 5 classes; received 7"):
        models.check(CORRECT, images, np.where(labels == 4, 7, labels))


class TestWithoutSoftmax:
    @pytest.mark.parametrize(
        "model",
        [
            nearest_level(activation="softmax"),
            nearest_level(keras.layers.Softmax()),
            nearest_level(keras.layers.Activation("softmax")),
            keras.Sequential([keras.Input((6, 6, 3)), nearest_level(activation="softmax")]),
        ],
        ids=["dense", "softmax", "activation", "nested"],
    )
    @pytest.mark.parametrize("kind", [pytest.param("sequential", marks=pytest.mark.slow), "functional"])
    def test_logits_are_those_before_it(self, model, kind, greys, tmp_path):
        images, labels = greys
        if kind == "functional":
            inputs = keras.Input((6, 6, 3))
            outputs = inputs
            for layer in model.layers:
                outputs = layer(outputs)
            model = keras.Model(inputs, outputs)
        expected = CORRECT(images).numpy()
        np.testing.assert_allclose(models.without_softmax(model)(images), expected, atol=1e-6)
        np.testing.assert_allclose(model(images), tf.nn.softmax(expected), atol=1e-6)  # the model is left as it was
        path = tmp_path / "model.keras"
        model.save(path)
        assert models.check(models.load(str(path)), images, labels) == 1

    @pytest.mark.parametrize(
        "model",
        [
            nearest_level(),
            nearest_level(keras.layers.Activation("relu")),
            nearest_level(keras.layers.Softmax(), keras.layers.Rescaling(10.0)),
            tf.nn.softmax,
        ],
        ids=["logits", "relu", "not last", "callable"],
    )
    def test_other_models_are_returned_as_they_are(self, model):
        assert models.without_softmax(model) is model

    def test_softmax_with_an_operation_after_it_is_left(self):
        network = nearest_level(activation="softmax")
        model = keras.Model(network.inputs, network.outputs[0] * 2)
        assert models.without_softmax(model) is model
