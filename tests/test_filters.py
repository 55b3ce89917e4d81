from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tests import reference
from tf_smoothadv import filters, graph

WINDOWS = [(0.5, 0.2, 5), (2.0, 0.3, 2), (1.0, 0.5, 0)]


@pytest.mark.parametrize("color", graph.COLORS)
@pytest.mark.parametrize("window", [pytest.param(WINDOWS[0], marks=pytest.mark.slow), *WINDOWS[1:]])
def test_is_the_double_loop(window, color, rng):
    signal, guide = rng.random((2, 3, 6, 7, 3))
    found = filters.bilateral(tf.constant(signal), tf.constant(guide), *window, color)
    for result, s, x in zip(found, signal, guide):
        np.testing.assert_allclose(result, reference.bilateral(s, x, *window, color), atol=1e-12)


def test_one_row_by_hand():
    row = tf.constant([0.0, 1.0, 1.0], tf.float64)[tf.newaxis, tf.newaxis, :, tf.newaxis]
    near, far, unlike = np.exp(-1 / 2), np.exp(-4 / 2), np.exp(-1 / 0.5)
    expected = [
        (near + far) * unlike / (1 + (near + far) * unlike),
        (1 + near) / (1 + near + near * unlike),
        (1 + near) / (1 + near + far * unlike),
    ]
    np.testing.assert_allclose(tf.squeeze(filters.bilateral(row, row, 1.0, 0.5, 2, "joint")), expected)


def test_alike_everywhere_it_is_a_gaussian_blur_renormalised_at_the_border(rng):
    image = rng.random((9, 11))
    steps = np.arange(-4, 5)
    kernel = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 2.0**2))
    blurred, total = (scipy.ndimage.correlate(x, kernel, mode="constant") for x in (image, np.ones_like(image)))
    x = tf.constant(image[None, :, :, None])
    np.testing.assert_allclose(filters.bilateral(x, x, 2.0, 1e6, 4, "joint")[0, :, :, 0], blurred / total)


@pytest.mark.parametrize("sigma_range", [0.2, 1.0])
def test_is_opencvs_away_from_the_border(digits, sigma_range):
    """Its window is round: with sigma 0.9 what lies beyond a radius of 5 weighs 2e-7."""
    digit = digits[0][0, :, :, 0]
    expected = cv2.bilateralFilter(digit, d=11, sigmaColor=sigma_range, sigmaSpace=0.9)
    x = tf.constant(digit[None, :, :, None])
    found = filters.bilateral(x, x, 0.9, sigma_range, 5, "per_channel")[0, :, :, 0]
    np.testing.assert_allclose(found[5:-5, 5:-5], expected[5:-5, 5:-5], atol=2e-6)


def test_what_rounding_loses_is_left_out(rng):
    assert filters.felt_radius(0.5, 5, tf.float32) == 2
    assert filters.felt_radius(0.5, 5, tf.float64) == 4
    assert filters.felt_radius(0.5, 1, tf.float32) == 1
    assert filters.felt_radius(5.0, 12, tf.float32) == 12
    image = np.round(rng.random((9, 10, 1)))  # black and white, and a wide range kernel: the most that a pixel can pull
    whole = reference.bilateral(image, image, 0.5, 100.0, 5)
    np.testing.assert_allclose(reference.bilateral(image, image, 0.5, 100.0, 2), whole, rtol=0, atol=2**-23)
    x = tf.constant(image[None], tf.float32)
    np.testing.assert_allclose(filters.bilateral(x, x, 0.5, 100.0, 5, "joint")[0], whole, rtol=0, atol=2**-21)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_constants_are_kept_to_the_last_bit(dtype, rng):
    guide = tf.constant(rng.random((2, 6, 7, 3)), dtype)
    signal = tf.fill(guide.shape, tf.constant(0.1, dtype))
    np.testing.assert_array_equal(filters.bilateral(signal, guide, 5.0, 0.2, 2, "joint"), signal)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_flipped_image_is_filtered_to_the_flipped_result(axis, rng):
    x = tf.constant(rng.random((2, 6, 7, 3)))
    flipped = tf.reverse(x, [axis])
    expected = tf.reverse(filters.bilateral(x, x, 1.0, 0.2, 2, "joint"), [axis])
    np.testing.assert_allclose(filters.bilateral(flipped, flipped, 1.0, 0.2, 2, "joint"), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("window", "color"),
    [
        (WINDOWS[1], "per_channel"),
        (WINDOWS[2], "joint"),
        pytest.param(WINDOWS[1], "joint", marks=pytest.mark.slow),
        pytest.param(WINDOWS[2], "per_channel", marks=pytest.mark.slow),
        *(pytest.param(WINDOWS[0], color, marks=pytest.mark.slow) for color in graph.COLORS),
    ],
)
def test_gradients_by_signal_and_guide_are_the_finite_differences(window, color, rng):
    signal, guide, upstream = (tf.constant(rng.random((2, 3, 4, 2))) for _ in range(3))

    def loss(s: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(upstream * filters.bilateral(s, x, *window, color))

    for theoretical, numerical in zip(*tf.test.compute_gradient(loss, [signal, guide], delta=1e-5)):
        np.testing.assert_allclose(theoretical, numerical, atol=1e-8)


def test_gradient_of_the_plain_filter_is_the_finite_difference_in_a_function_too(rng):
    images = tf.constant(rng.random((2, 6, 7, 3)))
    direction = tf.constant(rng.normal(size=images.shape))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float64)])
    def slope(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(filters.bilateral(x, x, 1.0, 0.2, 2, "joint")))
        return tf.reduce_sum(direction * tape.gradient(loss, x))

    def loss(step: float) -> tf.Tensor:
        x = images + step * direction
        return tf.reduce_sum(tf.square(filters.bilateral(x, x, 1.0, 0.2, 2, "joint")))

    np.testing.assert_allclose(slope(images), (loss(1e-5) - loss(-1e-5)) / 2e-5, rtol=1e-7)
