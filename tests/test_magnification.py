from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests import reference
from tests.conftest import photograph
from tf_smoothadv.magnification import rescaled


@pytest.mark.parametrize(("setting", "sigma_range"), [("code", 0.2), ("paper", 5.0)])
@pytest.mark.parametrize("shape", [(6, 27, 3), (6, 27, 1)], ids=["colour", "grey"])
@pytest.mark.parametrize("beta", [0.0, 0.8, 1.0])
def test_is_equation_22_by_double_loop(setting, sigma_range, shape, beta, rng):
    images = rng.random((2, *shape))
    found = sa.magnify(images, beta, setting)
    assert found.dtype == tf.float64
    for result, image in zip(found, images):
        np.testing.assert_allclose(result, reference.magnified(image, beta, 5.0, sigma_range, 12), atol=1e-10)


def test_of_a_photograph_in_float32():
    image = photograph(26)
    found = sa.magnify(image.astype(np.float32))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found[0], reference.magnified(image[0], 0.8, 5.0, 0.2, 12), atol=1e-4)


def test_brightness_is_taken_away(rng):
    images = 0.5 * rng.random((2, 6, 27, 3))
    np.testing.assert_allclose(sa.magnify(images + 0.3), sa.magnify(images), atol=1e-12)


def test_contrast_is_taken_away_where_all_colours_are_alike(rng):
    """The text's range kernel hardly sees differences of a tenth: (22) is then free of scale."""
    images = 0.1 * rng.random((2, 6, 27, 1))
    np.testing.assert_allclose(
        sa.magnify(0.5 * images, setting="paper"), sa.magnify(images, setting="paper"), atol=1e-3
    )


@pytest.mark.parametrize("beta", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("grey", [0.0, 0.1, 1.0])
def test_flat_is_zero(beta, grey, rng):
    images = np.full((3, 6, 40, 3), grey, np.float32)
    images[1, :, :8] = rng.random((6, 8, 3))  # reaches no farther than the window
    images[2, ..., 1] = rng.random((6, 40))
    magnified = sa.magnify(images, beta).numpy()
    assert np.all(np.isfinite(magnified))
    assert not np.any(magnified[0])
    assert np.any(magnified[1, :, :8])
    assert not np.any(magnified[1, :, 8 + 12 + 12 :])
    assert not np.any(magnified[2, ..., ::2])


def test_an_image_is_magnified_by_itself(rng):
    images = rng.random((2, 6, 27, 3))
    np.testing.assert_array_equal(sa.magnify(images[::-1]), sa.magnify(images)[::-1])


def test_in_a_function_of_unknown_batch_size(rng):
    images = rng.random((2, 6, 27, 3))
    magnify = tf.function(sa.magnify, input_signature=[tf.TensorSpec([None, 6, 27, 3], tf.float64)])
    np.testing.assert_allclose(magnify(images), sa.magnify(images), atol=1e-12)


def test_rescaled_to_one_range(rng):
    small, large = rng.normal(size=(2, 4, 4, 1)), rng.normal(size=(1, 5, 6, 3))
    shown = rescaled({"original": tf.constant(small), "adversarial": [tf.constant(large)]})
    values = np.concatenate([shown["original"].numpy().ravel(), shown["adversarial"][0].numpy().ravel()])
    given = np.concatenate([small.ravel(), large.ravel()])
    np.testing.assert_allclose(values, (given - given.min()) / (given.max() - given.min()))
    np.testing.assert_array_equal(rescaled(tf.fill([1, 2, 2, 1], 0.3)), np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (np.zeros((4, 4, 3)), {}, r"images must have rank 4, .*received shape \(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), {}, "images must be floats; received uint8; divide 8-bit values by 255"),
        (np.full((1, 4, 4, 3), 255.0), {}, r"must lie in \[0, 1\]; received values from 255 to 255; divide 8-bit"),
        (np.zeros((1, 4, 4, 3)), {"beta": 1.5}, r"beta must be a number in \[0, 1\]; received 1.5"),
        (np.zeros((1, 4, 4, 3)), {"beta": -0.1}, r"beta must be a number in \[0, 1\]; received -0.1"),
        (np.zeros((1, 4, 4, 3)), {"setting": "text"}, "setting must be one of 'code', 'paper'; received 'text'"),
    ],
)
def test_bad_input(images, settings, message):
    with pytest.raises(ValueError, match=message):
        sa.magnify(images, **settings)
