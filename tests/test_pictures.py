from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

import tf_smoothadv as sa
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import pictures


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        ("L", ".png", 1),
        ("1", ".png", 1),
        ("P", ".png", 3),
        ("RGB", ".png", 3),
        ("L", ".jpg", 1),
        ("CMYK", ".jpg", 3),
        ("RGB", ".bmp", 3),
        ("RGB", ".webp", 3),
    ],
)
def test_read_gives_grey_or_colour(tmp_path, mode, suffix, channels, rng):
    image = PIL.Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).convert(mode)
    image.save(tmp_path / f"x{suffix}")
    pixels = decoding.read(tmp_path / f"x{suffix}")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (9, 7, channels)


def test_read_gives_the_pixels_of_a_png(tmp_path, rng):
    pixels = rng.integers(0, 256, (9, 7, 4), np.uint8)
    PIL.Image.fromarray(pixels[..., :3]).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(decoding.read(tmp_path / "colour.png"), pixels[..., :3])
    PIL.Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(decoding.read(tmp_path / "grey.png"), pixels[..., :1])
    pixels[..., 3] = 255
    PIL.Image.fromarray(pixels).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(decoding.read(tmp_path / "opaque.png"), pixels[..., :3])


def test_read_turns_a_photograph_upright(tmp_path, rng):
    pixels = rng.integers(0, 256, (16, 8, 3), np.uint8)
    image = PIL.Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = 6  # orientation: the camera lay on its side
    image.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(decoding.read(tmp_path / "x.png"), np.rot90(pixels, -1))


def bad_file(path, kind):
    if kind == "missing":
        return
    if kind == "text":
        path.write_text("no image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        PIL.Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "transparent":
        PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(path)
    elif kind == "gif":
        PIL.Image.new("RGB", (4, 4)).save(path, "GIF")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "cannot read .*x.png.*No such file"),
        ("text", "cannot read .*x.png: cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        ("empty", "cannot read .*x.png: cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        ("cut", "cannot read .*x.png"),
        ("transparent", "cannot read .*x.png: it has transparent pixels"),
        ("gif", "cannot read .*x.png: cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
    ],
)
def test_read_refuses(tmp_path, kind, message):
    bad_file(tmp_path / "x.png", kind)
    with pytest.raises(ValueError, match=message):
        decoding.read(tmp_path / "x.png")


def test_amplified_fills_each_channel_and_leaves_zeros(rng):
    r = rng.normal(size=(3, 5, 4, 2)) * np.array([1e-3, 2.0])
    r[1, ..., 0] = 0
    scaled = pictures.amplified(r)
    peaks = np.abs(scaled).max(axis=(1, 2))
    np.testing.assert_allclose(peaks, [[1, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(scaled[0] * np.abs(r[0]).max(axis=(0, 1)), r[0])


def test_perturbation_is_grey_for_nothing_and_scaled_by_channel():
    original = np.full((2, 2, 2), 100, np.uint8)
    adversarial = original.copy()
    adversarial[0, 0] = (104, 99)
    adversarial[1, 1] = (98, 100)
    shown = pictures.perturbation(original, adversarial)
    assert shown[..., 0].tolist() == [[255, 128], [128, 64]]
    assert shown[..., 1].tolist() == [[1, 128], [128, 128]]


def test_magnified_pictures_share_one_range(rng):
    images = [rng.integers(0, 256, (20, 30, 3), np.uint8), rng.integers(90, 100, (25, 16, 1), np.uint8)]
    seen = pictures.magnified(images)
    assert [picture.shape for picture in seen] == [image.shape for image in images]
    assert min(picture.min() for picture in seen) == 0
    assert max(picture.max() for picture in seen) == 255
    values = [sa.magnify(image[None] / np.float32(255)).numpy()[0] for image in images]
    low, high = min(value.min() for value in values), max(value.max() for value in values)
    for picture, value in zip(seen, values):
        np.testing.assert_allclose(picture, 255 * (value - low) / (high - low), atol=0.51)
