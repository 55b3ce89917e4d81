from __future__ import annotations

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import tf_smoothadv as sa
from tf_smoothadv import resizing
from tf_smoothadv.attacks import ALMA, FMN, CarliniWagner, NearestClasses

RNG = np.random.default_rng(0)


def identity(x: tf.Tensor) -> tf.Tensor:
    return x


def seen(images: np.ndarray, size: int, **settings) -> np.ndarray:
    resized = sa.Resized(lambda x: tf.reduce_mean(x, [1, 2]), size, **settings)
    return resized.seen(tf.constant(images, tf.float32)).numpy()


@pytest.mark.parametrize("orientation", resizing.ORIENTATIONS)
def test_orientations_are_those_of_pil(orientation):
    pixels = RNG.integers(0, 255, (4, 6, 3), np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(buffer)))
    np.testing.assert_array_equal(resizing.upright(tf.constant(pixels[np.newaxis]), orientation)[0], expected)


def test_an_image_of_the_size_stays_as_it_is():
    images = RNG.random((2, 7, 7, 3), np.float32)
    for resize in resizing.RESIZES:
        np.testing.assert_array_equal(seen(images, 7, resize=resize), images)


def test_halving_takes_what_each_way_shows():
    """A wide image, a ramp from left to right: the middle, all of it, or all of it between black."""
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32)[:, None], (1, 16, 32, 1))
    crop, squash, pad = (seen(ramp, 8, resize=resize) for resize in ("crop", "squash", "pad"))
    assert crop.shape == squash.shape == pad.shape == (1, 8, 8, 1)
    assert crop.min() > 0.25 - 0.02
    assert crop.max() < 0.75 + 0.02
    assert squash.min() < 0.1
    assert squash.max() > 0.9
    assert not pad[:, :2].any()
    assert not pad[:, 6:].any()
    assert pad[:, 2:6].min() > 0


@pytest.mark.parametrize("resize", resizing.RESIZES)
def test_gradient_is_that_of_finite_differences(resize):
    model = sa.Resized(lambda x: tf.reshape(x, [-1, 27])[:, :2] ** 2, 3, resize)
    image = tf.constant(RNG.random((1, 7, 9, 3)), tf.float32)
    direction = tf.constant(RNG.normal(size=(1, 7, 9, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = tf.reduce_sum(model.seen(image) ** 2)
    slope = float(tf.reduce_sum(tape.gradient(value, image) * direction))
    ahead, behind = (float(tf.reduce_sum(model.seen(image + step * direction) ** 2)) for step in (1e-2, -1e-2))
    assert slope == pytest.approx((ahead - behind) / 2e-2, rel=1e-3, abs=1e-3)


def test_a_constant_change_of_the_network_s_pixels_is_as_much_longer():
    """||1|| of the image's pixels over that of the network's: what `magnification` says."""
    for resize, shape in (("crop", (24, 24)), ("squash", (24, 54)), ("pad", (24, 24))):
        model = sa.Resized(identity, 12, resize)
        longer = np.sqrt(np.prod(shape)) / 12
        assert model.magnification(*shape) == pytest.approx(longer)
    assert sa.Resized(identity, 12).magnification(6, 6) == 1


def test_grey_images_are_given_to_a_network_of_colours():
    images = RNG.random((1, 5, 5, 1), np.float32)
    np.testing.assert_array_equal(seen(images, 5, channels=3), np.repeat(images, 3, -1))
    with pytest.raises(ValueError, match="the network takes images of 1 channels; received 3"):
        seen(np.repeat(images, 3, -1), 5, channels=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be an integer of at least 1; received 0"),
        ({"size": 4, "resize": "stretch"}, "resize must be one of 'crop', 'squash', 'pad'; received 'stretch'"),
        ({"size": 4, "orientation": 9}, "orientation must be one of .*; received 9"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sa.Resized(identity, **settings)


SHAPES = [(20, 27), (33, 16)]


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, activation="tanh"), keras.layers.Flatten(), keras.layers.Dense(5)]
    return keras.Sequential([keras.Input((12, 12, 3)), *layers])


def picture(height: int, width: int) -> np.ndarray:
    return np.round(255 * RNG.random((1, height, width, 3))).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(
    ("attack", "resize"),
    [
        pytest.param(
            FMN(5, masking=sa.Masking(emphasis=0.3), smoothing=sa.Smoothing(0.9), delivery=sa.Levels()),
            "crop",
            marks=pytest.mark.slow,
            id="FMN",
        ),
        pytest.param(FMN(5, smoothing=sa.Smoothing(0.9, solver="cg", color="per_channel")), "squash", id="FMN-cg"),
        pytest.param(
            CarliniWagner(5, 2, 0.05, masking=sa.Masking(gains=None)), "pad", marks=pytest.mark.slow, id="C&W"
        ),
        pytest.param(
            NearestClasses(ALMA(5), classes=2, candidates=3), "crop", marks=pytest.mark.slow, id="nearest-ALMA"
        ),
    ],
)
def test_one_trace_serves_images_of_every_size(attack, resize):
    inner, traces = network(), []

    def counted(x):
        traces.extend([x] if tf.is_symbolic_tensor(x) else [])
        return inner(x, training=False)

    model, traced = resizing.behind(counted, 12, resize), []
    for shape in SHAPES:
        images = picture(*shape)
        labels = np.argmax(model(images), 1)
        result = attack(model, images, labels)
        traced.append(len(traces))
        alone = attack(resizing.behind(inner, 12, resize), images, labels)
        assert result.adversarial.shape == images.shape
        np.testing.assert_allclose(result.adversarial, alone.adversarial, atol=1e-6)
    assert traced[0] == traced[-1] > 0


@pytest.mark.parametrize("subsampling", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_one_trace_serves_files_of_every_size(subsampling):
    pytest.importorskip("jpeglib")
    inner, traces = network(), []

    def counted(x):
        traces.extend([x] if tf.is_symbolic_tensor(x) else [])
        return inner(x, training=False)

    model, traced = resizing.behind(counted, 12), []
    for height, width in SHAPES:
        buffer = io.BytesIO()
        pixels = np.round(255 * picture(height, width)[0]).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling=subsampling)
        files = sa.Jpeg([buffer.getvalue()])
        result = FMN(5, delivery=files)(model, files.images, np.argmax(model(files.images), 1))
        traced.append(len(traces))
        decoded = np.array(Image.open(io.BytesIO(files.encode(result.code)[0])))
        np.testing.assert_array_equal(np.round(255 * result.adversarial[0].numpy()), decoded)
    assert traced[0] == traced[-1] > 0
