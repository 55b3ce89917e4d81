"""Visibility: each measure against another's implementation, its formula, or what it must say of equal images."""

from __future__ import annotations

import os
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tf_smoothadv.visibility import MEASURES, PROGRAMS, Visibility, available, installed, visibility

COLORS = [name for name, row in MEASURES.items() if row.colors and row.needs not in PROGRAMS]
SIDE = 225  # of which every measure judges images

pytest.importorskip("skimage")
pytest.importorskip("ssimulacra2")
NOT_HERE = [name for name in MEASURES if not installed(name)]

# Table 1 of Sharma, Wu, Dalal 2005: L, a, b of two colours and their difference.
SHARMA = """
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485   2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485   2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485   3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485   1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485   1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485   1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000   2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000   2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011   7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012   7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900   4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000   4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000  27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000  22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000  31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000  19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854   1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000   1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757   1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350   1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387   1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864   1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620   1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901   1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619   2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231   1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447   1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239   1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286   0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514   0.9082
"""


def smooth_pixels(rng: np.random.Generator, height: int = SIDE, width: int = SIDE, channels: int = 3) -> np.ndarray:
    """An image like a photograph: large blobs and fine texture; uint8 [H, W, C]."""
    coarse = tf.image.resize(rng.uniform(30, 225, (8, 8, channels)), [height, width], "bicubic").numpy()
    return np.clip(np.round(coarse + rng.normal(0, 6, coarse.shape)), 0, 255).astype(np.uint8)


def noisy(rng: np.random.Generator, pixels: np.ndarray, deviation: float) -> np.ndarray:
    return np.clip(np.round(pixels + rng.normal(0, deviation, pixels.shape)), 0, 255).astype(np.uint8)


def seen(original: np.ndarray, delivered: np.ndarray, measures: list[str] | str) -> Visibility:
    """The visibility of one pair of uint8 [H, W, C]."""
    return visibility(original[None] / 255, delivered[None] / 255, measures)


@pytest.fixture(scope="module")
def graded() -> Visibility:
    """Three images: as they are, with a little noise, with more."""
    rng = np.random.default_rng(0)
    original = smooth_pixels(rng)
    delivered = np.stack([noisy(rng, original, deviation) for deviation in (0, 1, 4, 12)])
    return visibility(np.broadcast_to(original, delivered.shape) / 255, delivered / 255)


class TestEveryMeasure:
    def test_all_that_are_installed_are_taken(self, graded):
        assert list(graded) == [name for name in MEASURES if name not in NOT_HERE]

    @pytest.mark.parametrize("name", MEASURES)
    def test_equal_images_are_ideal_and_noise_is_seen_the_more_the_stronger(self, graded, name):
        if name in NOT_HERE:
            pytest.skip(f"needs {MEASURES[name].needs}")
        assert graded[name][0] == pytest.approx(MEASURES[name].ideal, abs=1e-9)
        assert np.all(np.diff(MEASURES[name].seen(graded[name])) > 0)

    def test_every_image_is_judged_by_itself_in_its_place(self, rng):
        originals = np.stack([smooth_pixels(rng, 40, 50) for _ in range(5)])
        delivered = np.stack([noisy(rng, image, 1 + place) for place, image in enumerate(originals)])
        whole = visibility(originals / 255, delivered / 255)
        for place in range(5):
            alone = seen(originals[place], delivered[place], list(whole))
            assert [alone[name][0] for name in whole] == [whole[name][place] for name in whole]

    @pytest.mark.parametrize("name", COLORS)
    def test_a_grey_image_is_one_of_three_equal_colours(self, rng, name):
        original = smooth_pixels(rng, channels=1)
        delivered = noisy(rng, original, 3)
        in_color = seen(np.repeat(original, 3, axis=2), np.repeat(delivered, 3, axis=2), name)
        assert seen(original, delivered, name)[name] == in_color[name]


class TestAgainstOthers:
    @pytest.mark.parametrize("shape", [(40, 50, 3), (33, 20, 1)])
    def test_ssim_is_that_of_scikit_image(self, rng, shape):
        from skimage.metrics import structural_similarity

        original = smooth_pixels(rng, *shape)
        delivered = noisy(rng, original, 5)
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        expected = structural_similarity(original, delivered, channel_axis=-1, **settings)
        assert seen(original, delivered, "ssim")["ssim"][0] == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("shape", [(176, 192, 3), (161, 163, 1)])
    def test_ms_ssim_is_that_of_tensorflow_to_its_precision(self, rng, shape):
        original = smooth_pixels(rng, *shape)
        delivered = noisy(rng, original, 15)
        pair = (tf.constant(pixels[None]) for pixels in (original, delivered))
        expected = tf.image.ssim_multiscale(*pair, max_val=255).numpy()[0]
        found = seen(original, delivered, "ms_ssim")["ms_ssim"][0]
        assert found == pytest.approx(expected, abs=1e-4)
        assert 1 - found > 100 * 1e-4

    def test_magnified_ssim_is_the_ssim_of_what_magnify_shows(self, rng):
        from skimage.metrics import structural_similarity

        original = smooth_pixels(rng, 30, 34)
        delivered = noisy(rng, original, 2)
        magnified = [sa.magnify(pixels[None] / np.float32(255)).numpy()[0] for pixels in (original, delivered)]
        low, high = np.min(magnified), np.max(magnified)
        first, second = ((image.astype(np.float64) - low) / (high - low) for image in magnified)
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        expected = structural_similarity(first, second, channel_axis=-1, **settings)
        assert seen(original, delivered, "magnified_ssim")["magnified_ssim"][0] == pytest.approx(expected, abs=1e-6)

    def test_ciede2000_takes_the_lab_of_opencv_to_its_precision(self, rng):
        import cv2
        from skimage.color import deltaE_ciede2000

        original = rng.integers(0, 256, (24, 24, 3), np.uint8)
        delivered = rng.integers(0, 256, (24, 24, 3), np.uint8)
        labs = [cv2.cvtColor(pixels / np.float32(255), cv2.COLOR_RGB2LAB) for pixels in (original, delivered)]
        expected = deltaE_ciede2000(*labs)
        found = seen(original, delivered, ["ciede2000_mean", "ciede2000_p99"])
        assert found["ciede2000_mean"][0] == pytest.approx(expected.mean(), rel=1e-3)
        assert found["ciede2000_p99"][0] == pytest.approx(np.percentile(expected, 99), rel=1e-3)

    def test_ciede2000_of_the_published_pairs(self, monkeypatch):
        """The pairs are colours of Lab, some outside sRGB: they stand here for what images are in Lab."""
        pairs = np.array(SHARMA.split(), np.float64).reshape(-1, 7)
        labs = iter([pairs[:, np.newaxis, :3], pairs[:, np.newaxis, 3:6]])
        monkeypatch.setattr("skimage.color.rgb2lab", lambda pixels: next(labs))
        any_image = np.zeros([len(pairs), 1, 3], np.uint8)
        difference = MEASURES["ciede2000_mean"].compare(any_image, any_image)
        np.testing.assert_allclose(difference[:, 0], pairs[:, 6], atol=6e-5)

    def test_flip_and_ssimulacra2_are_what_their_packages_say_of_files(self, rng, tmp_path):
        flip_evaluator = pytest.importorskip("flip_evaluator")
        from ssimulacra2 import compute_ssimulacra2

        original = smooth_pixels(rng, SIDE, SIDE + 43)  # 268 pixels: two strips
        delivered = noisy(rng, original, 3)
        paths = [str(tmp_path / name) for name in ("original.png", "delivered.png")]
        for path, pixels in zip(paths, (original, delivered)):
            tf.io.write_file(path, tf.io.encode_png(pixels))
        found = seen(original, delivered, ["flip", "ssimulacra2"])
        assert found["ssimulacra2"][0] == pytest.approx(compute_ssimulacra2(*paths), rel=1e-12)
        assert found["flip"][0] == pytest.approx(flip_evaluator.evaluate(*paths, "LDR")[1], rel=1e-5)


def stand_in(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: str, program: str = "butteraugli") -> None:
    """A program of this name, first on the PATH, that runs Python code."""
    path = folder / program
    path.write_text(f"#!{sys.executable}\nimport sys\nimport numpy as np, PIL.Image\n{code}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


class TestPrograms:
    LARGEST = """
first, second = (np.asarray(PIL.Image.open(path)).astype(int) for path in sys.argv[1:])
print(np.max(second - first))
print("3-norm: 7")
"""

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_it_is_given_both_images_in_order_as_files(self, rng, tmp_path, monkeypatch, program):
        stand_in(tmp_path, monkeypatch, self.LARGEST, program)
        (name,) = (name for name, row in MEASURES.items() if row.needs == program)
        original = rng.integers(0, 200, (67, 70, 3), np.uint8)
        delivered = original.copy()
        delivered[5, 6, 1] += 9
        delivered[8, 6, 2] -= min(delivered[8, 6, 2], 20)
        assert seen(original, delivered, name)[name].tolist() == [9.0]

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("sys.exit('it is broken')", "it is broken"),
            ("print('nothing')", "could not convert string to float: 'nothing'"),
            ("pass", "list index out of range"),
        ],
    )
    def test_one_that_gives_no_number_is_told_in_one_line(self, tmp_path, monkeypatch, code, told):
        stand_in(tmp_path, monkeypatch, code)
        image = np.zeros([67, 67, 3], np.uint8)
        with pytest.raises(ValueError, match=f"^butteraugli gives no number: {told}$"):
            seen(image, image, "butteraugli")

    def test_nan_is_no_number(self, tmp_path, monkeypatch):
        stand_in(tmp_path, monkeypatch, "print('nan')")
        image = np.zeros([67, 67, 3], np.uint8)
        with pytest.raises(ValueError, match="butteraugli gives no number for an image: nan; leave it out"):
            seen(image, image, "butteraugli")

    def test_without_it_the_measure_is_left_out_and_asked_for_refused(self, monkeypatch):
        monkeypatch.setenv("PATH", "")
        image = np.zeros([SIDE, SIDE, 3], np.uint8)
        assert not {"butteraugli", "butteraugli_jxl"} & set(available(image.shape))
        told = "butteraugli needs the program butteraugli, which is not here: apt install butteraugli"
        with pytest.raises(ValueError, match=told):
            seen(image, image, "butteraugli")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "shape", "told"),
        [
            (
                "ssimulacra2",
                (224, 300, 3),
                "at least 225 pixels a side, 1 or 3 channels, on smaller ones it lacks some",
            ),
            (
                "flip",
                (28, 28, 1),
                "flip judges images of at least 67 pixels a side, 1 or 3 channels.*received .28, 28, 1",
            ),
            (
                "ms_ssim",
                (160, 161, 3),
                "ms_ssim judges images of at least 161 pixels a side, on smaller ones it lacks some",
            ),
            ("ssim", (10, 30, 3), "ssim judges images of at least 11 pixels a side"),
            (
                "magnified_ssim",
                (2001, 2000, 3),
                "magnified_ssim judges images of at least 11 pixels a side, at most 4 megapixels; received .2001",
            ),
            ("ciede2000_mean", (30, 30, 4), "ciede2000_mean judges images of 1 or 3 channels; received .30, 30, 4"),
            ("lpips", (300, 300, 3), "measure must be one of 'ssimulacra2', .*; received 'lpips'"),
        ],
    )
    def test_what_a_measure_cannot_judge(self, name, shape, told):
        image = np.zeros(shape, np.uint8)
        with pytest.raises(ValueError, match=told):
            seen(image, image, name)
        assert name not in available(shape)

    def test_smaller_images_have_fewer_scales_in_tensorflow_and_ssimulacra2(self, rng, tmp_path, monkeypatch):
        """Why they are refused: one has no number, the other fewer of the scales that it has weights for."""
        import ssimulacra2.ssimulacra2 as package

        scales = []
        monkeypatch.setattr(package.Msssim, "score", lambda self: scales.append(len(self.scales)))
        for side in (224, 225):
            path = str(tmp_path / f"{side}.png")
            tf.io.write_file(path, tf.io.encode_png(smooth_pixels(rng, side, side)))
            package.compute_ssimulacra2(path, path)
        assert scales == [5, 6]
        images = tf.zeros([1, 160, 160, 1])
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.image.ssim_multiscale(images, images, max_val=1.0)

    def test_a_package_that_is_missing(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        image = np.zeros([SIDE, SIDE, 3], np.uint8)
        assert not set(available(image.shape)) - {"butteraugli", "butteraugli_jxl"}
        with pytest.raises(
            ValueError, match=r"flip_evaluator, which is not here: pip install 'tf_smoothadv\[visibility\]'"
        ):
            seen(image, image, "flip")

    def test_images_that_no_file_of_8_bits_holds(self):
        images = tf.fill([1, 16, 16, 3], 0.3)
        with pytest.raises(ValueError, match=r"delivered must be .* quantize them: sa.protocol.quantize\(images\)"):
            sa.visibility(sa.protocol.quantize(images), images, ["ssim"])
        assert sa.visibility(*[sa.protocol.quantize(images)] * 2, ["ssim"])["ssim"].tolist() == [1.0]

    def test_images_of_two_shapes(self):
        with pytest.raises(ValueError, match=r"one shape; received \(1, 16, 16, 3\) and \(2, 16, 16, 3\)"):
            sa.visibility(tf.zeros([1, 16, 16, 3]), tf.zeros([2, 16, 16, 3]))

    def test_a_measure_that_was_not_taken(self):
        with pytest.raises(ValueError, match="measure must be one of 'ssim'; received 'flip'"):
            Visibility({"ssim": np.ones(1)})["flip"]


def test_it_shows_itself_as_a_table_of_the_first_images_and_the_mean():
    found = Visibility({"ssim": np.linspace(0, 1, 12), "flip": np.full(12, 0.25)})
    lines = repr(found).splitlines()
    assert lines[0].split() == ["image", "SSIM", "FLIP"]
    assert [line.split()[0] for line in lines[1:]] == [*map(str, range(10)), "mean"]
    assert lines[-1].split() == ["mean", "0.50000", "0.2500"]
    assert found._repr_html_().count("<tr>") == 12
    assert repr(Visibility({"ssim": np.ones(0)})).split() == ["image", "SSIM"]


def test_the_docstring_tells_of_every_measure():
    told = visibility.__doc__.partition("Measures:\n")[2].splitlines()
    assert [line.split(":")[0].strip() for line in told] == list(MEASURES)
    for line, row in zip(told, MEASURES.values()):
        for part in (row.heading, row.unit, row.source, "larger is" if row.larger_is_better else "smaller is"):
            assert part in line
