"""Detectability: its features against a literal count and sealwatch, its numbers against their definitions."""

from __future__ import annotations

import json
import pathlib
import shutil
import statistics

import numpy as np
import PIL.Image
import pytest

import tf_smoothadv as sa
from eval import detect
from models import console
from tests.test_report import finished_run
from tf_smoothadv import detection
from tf_smoothadv.evaluation import detection as evaluation
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import report, terminal

NORMAL = statistics.NormalDist()


def natural(rng: np.random.Generator, count: int, side: int = 16, channels: int = 1) -> np.ndarray:
    """Images that are smooth, each of a contrast of its own: [N, H, W, C] uint8."""
    noise = rng.normal(size=[count, side, side, channels])
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) / frequency[..., None] ** 3, axes=(1, 2)).real
    contrast = rng.uniform(10, 30, [count, 1, 1, 1]) / smooth.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(np.round(128 + contrast * smooth), 1, 254).astype(np.uint8)


def counted(image: np.ndarray) -> np.ndarray:
    """The shares of the three differences along rows and columns and along diagonals, [2, 7, 7, 7], by loops."""
    height, width, channels = image.shape
    found = []
    for ways in ([(0, 1), (0, -1), (1, 0), (-1, 0)], [(1, 1), (-1, -1), (1, -1), (-1, 1)]):
        shares = np.zeros([7, 7, 7])
        for down, right in ways:
            counts = np.zeros([7, 7, 7])
            for row in range(height):
                for column in range(width):
                    if not (0 <= row + 3 * down < height and 0 <= column + 3 * right < width):
                        continue
                    for channel in range(channels):
                        x = [int(image[row + i * down, column + i * right, channel]) for i in range(4)]
                        counts[tuple(min(max(x[i] - x[i + 1], -3), 3) + 3 for i in range(3))] += 1
            shares += counts / counts.sum() / 4
        found.append(shares)
    return np.stack(found)


class TestSpam:
    @pytest.mark.parametrize("shape", [(4, 4, 1), (5, 9, 3), (8, 6, 1)])
    def test_counts_are_those_of_loops(self, rng, shape):
        image = rng.integers(100, 107, shape).astype(np.uint8)
        np.testing.assert_allclose(detection._cooccurrences(image.astype(np.int16)), counted(image), atol=1e-15)
        features = detection.spam(image).reshape(shape[-1], 2, 7, 7, 7)
        shares = np.stack([counted(image[..., channel : channel + 1]) for channel in range(shape[-1])])
        for place in np.ndindex(features.shape):
            given = shares[place[:-1]].sum()
            assert features[place] == pytest.approx(shares[place] / given if given else 0, abs=1e-12)

    def test_of_colours_are_those_of_the_differences_of_channels(self, rng):
        image = rng.integers(100, 120, [9, 8, 3]).astype(np.uint8)
        red, green, blue = np.moveaxis(image, -1, 0)
        shifted = np.stack([100 + red - green, 100 + blue - green], axis=-1)  # no more than 100 +- 20: within uint8
        np.testing.assert_allclose(detection.spam(image, "differences"), detection.spam(shifted), atol=1e-12)
        bright = image.copy()
        bright[..., 1] = 0  # differences up to 119 are not cut to 8 bits with a sign
        np.testing.assert_allclose(detection.spam(bright, "differences"), detection.spam(bright[..., ::2]), atol=1e-12)

    def test_probabilities_sum_to_one_where_there_is_anything(self, rng):
        image = rng.integers(0, 5, [16, 16, 1]).astype(np.uint8)
        features = detection.spam(image).reshape(2, 7, 7, 7)
        np.testing.assert_allclose(features.sum(axis=-1), counted(image).sum(axis=-1) > 0, atol=1e-12)
        joint = detection._cooccurrences(image.astype(np.int16))
        np.testing.assert_allclose([kind.sum() for kind in joint], 1, atol=1e-12)

    def test_every_way_counts_as_much_as_its_mirror(self, rng):
        image = rng.integers(0, 8, [9, 9, 3]).astype(np.uint8)
        features = detection.spam(image)
        for same in (image[::-1], image[:, ::-1], image.transpose(1, 0, 2), image + 40):
            np.testing.assert_allclose(detection.spam(same), features, atol=1e-12)

    def test_a_large_difference_is_cut_and_does_not_wrap_around(self):
        image = np.zeros([4, 8, 1], np.uint8)
        image[:, 4:] = 255
        (straight, _) = detection._cooccurrences(image.astype(np.int16))
        assert straight[3, 3, 0] == straight[6, 3, 3] > 0  # from black to white, and back: 0, 0, -T and T, 0, 0
        assert straight[:, :, 1:3].sum() == straight[:, :, 4:6].sum() == 0

    def test_counts_are_those_of_sealwatch(self, rng):
        sealwatch = pytest.importorskip("sealwatch")
        image = natural(rng, 1, 32)[0]
        theirs = sealwatch.spam.extract(image[..., 0])
        for own, name in zip(detection._cooccurrences(image.astype(np.int16)), ("straight", "diagonal")):
            np.testing.assert_allclose(own.ravel(), theirs[name], atol=1e-12)


class TestNumbers:
    @pytest.fixture(params=["continuous", "tied"])
    def scores(self, request, rng) -> np.ndarray:
        found = rng.normal([[-0.3], [0.3]], 1, [2, 60])
        return found if request.param == "continuous" else np.round(found)

    def test_auc_is_the_share_of_pairs_in_order(self, scores):
        above = scores[1][:, None] - scores[0]
        expected = np.mean((above > 0) + 0.5 * (above == 0))
        assert detection.measured(scores).auc.value == pytest.approx(expected, abs=1e-12)

    def test_error_and_true_positives_are_those_of_thresholds(self, scores):
        found = detection.measured(scores)
        assert found.error.value == pytest.approx((np.mean(scores[0] > 0) + np.mean(scores[1] <= 0)) / 2, abs=1e-12)
        allowed = [t for t in [*scores.ravel(), np.inf] if np.mean(scores[0] >= t) <= 0.05]
        assert found.true_positives.value == pytest.approx(max(np.mean(scores[1] >= t) for t in allowed), abs=1e-12)

    def test_a_pair_that_is_drawn_twice_counts_twice(self, scores):
        counts = np.arange(60) % 4
        again = np.repeat(scores, counts, axis=1)
        np.testing.assert_allclose(
            detection._numbers(scores, counts[None]),
            detection._numbers(again, np.ones([1, again.shape[1]])),
            atol=1e-12,
        )

    def test_the_threshold_has_the_smallest_error_of_all(self, scores):
        def error(threshold: float) -> float:
            return float(np.mean(scores[0] > threshold) + np.mean(scores[1] <= threshold))

        fine = np.linspace(scores.min() - 0.01, scores.max() + 0.01, 20_001)
        assert error(detection._best_threshold(scores)) == pytest.approx(min(map(error, fine)), abs=1e-12)

    @pytest.mark.parametrize("distance", [0.0, 1.5])
    def test_intervals_hold_the_truth_as_often_as_they_say(self, rng, monkeypatch, distance):
        """Normal scores of unit variance whose means are so far apart; the two of an image have much in common."""
        monkeypatch.setattr(detection, "DRAWS", 300)
        auc, error = NORMAL.cdf(distance / np.sqrt(2)), NORMAL.cdf(-distance / 2)
        held = np.zeros(3)
        for _ in range(200):
            own = np.sqrt(0.1) * rng.normal(size=[2, 150])
            found = detection.measured(np.sqrt(0.9) * rng.normal(size=150) + own + [[-distance / 2], [distance / 2]])
            truth = auc, error, NORMAL.cdf(distance - NORMAL.inv_cdf(0.95))
            held += [one.low <= true <= one.high for one, true in zip(vars_of(found), truth)]
        assert np.all(held / 200 >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 200))


def vars_of(found: sa.Detectability) -> list[detection.Estimate]:
    return [found.auc, found.error, found.true_positives]


class TestDetector:
    def test_a_left_out_pair_has_the_score_of_a_regression_without_it(self, rng, monkeypatch):
        """With one ridge to choose from, whose leave-one-out scores decide the threshold and the unit."""
        monkeypatch.setattr(detection, "RIDGES", np.array([0.01]))
        originals = rng.normal(size=[12, 5])
        delivered = originals + 0.3 * rng.normal(size=[12, 5]) + [1, 0, 0, 0, 0]
        x = np.stack([originals, delivered], axis=1)
        x = (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1))
        ridge = 0.01 * np.sum(x**2)
        left_out = np.empty([2, 12])
        for image in range(12):
            others = np.delete(x, image, axis=0).reshape(-1, 5)
            y = np.tile([-1.0, 1.0], 11)
            center = others.mean(axis=0)
            deviations = others - center
            weights = np.linalg.solve(deviations.T @ deviations + ridge * np.eye(5), deviations.T @ y)
            left_out[:, image] = (x[image] - center) @ weights
        unit = left_out.std(axis=1).mean()
        assert detection._trained(originals, delivered).threshold == pytest.approx(
            detection._best_threshold(left_out / unit), abs=1e-9
        )

    def test_weights_are_fishers(self, rng, monkeypatch):
        """Without a ridge, on whitened features: those of the inverse of the scatter within, times what is between."""
        monkeypatch.setattr(detection, "RIDGES", np.array([1e-12]))
        originals = rng.normal(size=[200, 4]) @ rng.normal(size=[4, 4])
        delivered = originals + 0.5 * rng.normal(size=[200, 4]) + [0.3, 0, -0.2, 0.1]
        within = sum(np.cov(features.T) for features in (originals, delivered))
        expected = np.linalg.solve(within, delivered.mean(axis=0) - originals.mean(axis=0))
        weights = detection._trained(originals, delivered).weights
        np.testing.assert_allclose(weights / np.linalg.norm(weights), expected / np.linalg.norm(expected), atol=1e-6)

    def test_the_unit_of_a_feature_and_a_constant_one_change_nothing(self, rng):
        originals = rng.normal(size=[100, 6])
        delivered = originals + rng.normal(size=[100, 6]) + 0.5
        found = detection.scores(originals, delivered)
        units = [1e-3, 1, 1e3, 1, 1, 1]
        np.testing.assert_allclose(detection.scores(units * originals, units * delivered), found, atol=1e-6)
        wider = [np.pad(features, [(0, 0), (0, 1)], constant_values=0.1) for features in (originals, delivered)]
        np.testing.assert_allclose(detection.scores(*wider), found, atol=1e-6)

    def test_no_detector_has_seen_what_it_judges(self, rng):
        """More features than images, all noise, the same in both of an image but for a little: what separates the
        images seen says nothing of others, and a detector that had seen one of two would be wrong about the other.
        """
        areas = []
        for _ in range(8):
            originals = rng.normal(size=[100, 300])
            found = detection.measured(detection.scores(originals, originals + 0.1 * rng.normal(size=[100, 300])))
            assert found.auc.low - 0.02 < 0.5 < found.auc.high + 0.02
            areas.append(found.auc.value)
        assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / np.sqrt(8)

    def test_the_same_images_have_the_same_numbers(self, rng):
        originals = rng.normal(size=[100, 8])
        delivered = originals + 0.5
        np.testing.assert_array_equal(detection.scores(originals, delivered), detection.scores(originals, delivered))


class TestDetectability:
    def test_identical_images_are_not_told_apart(self, rng):
        images = natural(rng, 100) / 255
        found = sa.detectability(images, images)
        assert [one.value for one in vars_of(found)] == [0.5, 0.5, 0]
        assert found.auc.low <= 0.5 <= found.auc.high

    @pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
    def test_noise_of_one_level_is_found(self, rng, channels):
        originals = natural(rng, 120, 32, channels)
        noise = rng.integers(-1, 2, originals.shape)
        found = sa.detectability(originals / 255, (originals + noise) / 255)
        assert found.num_images == 120
        assert found.auc.low > 0.9
        assert found.error.high < 0.2

    @pytest.mark.slow
    def test_less_noise_is_found_less(self, rng):
        originals = natural(rng, 200, 32)
        some, few = (
            sa.detectability(originals / 255, (originals + (rng.random(originals.shape) < share)) / 255)
            for share in (0.1, 0.003)
        )
        assert few.auc.high < some.auc.low

    @pytest.mark.slow
    def test_a_change_of_colour_that_keeps_the_luminance_is_found(self, rng):
        originals = natural(rng, 120, 32, 3)
        change = rng.integers(-1, 2, [*originals.shape[:3], 1]) * [2, -1, 0]  # 0.299 * 2 - 0.587 is nearly nothing
        changed = np.clip(originals + change, 0, 255)
        assert sa.detectability(originals / 255, changed / 255).auc.low > 0.9

    def test_what_the_channels_have_in_common_does_not_hide_from_their_differences(self, rng):
        """Grey images with noise of a sensor in all channels alike, to which a perturbation adds its own in each."""
        sensor = natural(rng, 120, 24) + rng.integers(-6, 7, [120, 24, 24, 1])
        colours = rng.integers(0, 30, [120, 1, 1, 3])
        originals = np.clip(sensor + colours, 1, 254)
        changed = originals + (rng.random(originals.shape) < 0.03)
        channels, differences = (sa.detectability(originals / 255, changed / 255, color) for color in detection.COLORS)
        assert channels.auc.high < differences.auc.low
        assert differences.auc.low > 0.9

    @pytest.mark.parametrize(
        ("originals", "delivered", "message"),
        [
            (np.zeros([99, 4, 4, 1]), np.zeros([99, 4, 4, 1]), "at least 100 adversarial images .* received 99"),
            (np.zeros([100, 4, 4, 1]), np.zeros([100, 4, 4, 3]), r"originals' shape \[100, 4, 4, 1\]; received"),
            (np.zeros([100, 4, 4]), np.zeros([100, 4, 4]), "originals must have rank 4"),
            (np.zeros([100, 4, 4, 1]), np.full([100, 4, 4, 1], 1.5), r"delivered must lie in \[0, 1\]"),
            (np.zeros([100, 4, 4, 1]), np.full([100, 4, 4, 1], np.nan), r"delivered must lie in \[0, 1\]"),
            (np.zeros([100, 4, 4, 1], np.uint8), np.zeros([100, 4, 4, 1]), "originals must be floats"),
            (np.zeros([100, 4, 4, 1]), np.full([100, 4, 4, 1], 0.5), "delivered must be levels of 8 bits"),
            (np.zeros([100, 3, 9, 1]), np.zeros([100, 3, 9, 1]), "at least 4 x 4 pixels; received 3 x 9"),
        ],
    )
    def test_bad_input_is_refused(self, originals, delivered, message):
        with pytest.raises(ValueError, match=message):
            sa.detectability(originals, delivered)

    def test_colours_that_are_not_there_are_refused(self):
        grey = np.zeros([100, 4, 4, 1])
        with pytest.raises(ValueError, match="color must be one of 'channels', 'differences'; received 'luminance'"):
            sa.detectability(grey, grey, color="luminance")
        with pytest.raises(ValueError, match="color 'differences' needs images of three channels; received 1"):
            sa.detectability(grey, grey, color="differences")

    def test_shows_itself_as_a_line(self):
        found = detection.measured(np.array([[-1.0, 0.5], [-0.5, 1.0]]))
        assert repr(found).startswith("2 images: AUC 0.750 (")
        assert len(repr(found).splitlines()) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Two attacks on 180 images, of which three in five are successes as delivered, by noise of up to 9 levels."""
    originals = natural(np.random.default_rng(0), 180, channels=3)
    return finished_run(tmp_path_factory.mktemp("run"), originals, attacks=("fmn", "sfmn"), dataset="folder")


class TestBinary:
    @pytest.mark.slow
    def test_only_successes_count(self, folder, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        console.run(detect.main, detect.FLAGS, ["detect", str(folder)])
        printed = capsys.readouterr().out
        assert "…" not in printed
        rows = [line.split()[:3] for line in printed.splitlines()]
        finished = records.read(folder)
        found = records.read_detectability(finished)
        assert list(found) == ["fmn", "sfmn"]
        success = {(record.attack, record.index): record.delivered.success for record in finished.run.records}
        page = report.page({"c4": finished}, 1)
        for name, by_color in found.items():
            assert list(by_color) == list(detection.COLORS)
            images = [image for image in range(180) if success[name, image]]
            for one in by_color.values():
                assert one.num_images == len(images) == 108
                assert [name, "108", f"{one.auc.value:.3f}"] in rows
                assert f"<td>{one.auc.value:.3f}</td>" in page
        assert "told apart by SPAM features of differences" in page
        pairs = [
            np.stack([decoding.read(finished.picture(image, kind)) for image in images]) / 255
            for kind in (records.ORIGINAL, name)
        ]
        assert {color: sa.detectability(*pairs, color) for color in detection.COLORS} == found[name]

    def test_an_attack_with_too_few_successes_has_dashes(self, folder, tmp_path, capsys):
        target = tmp_path / "run"
        shutil.copytree(folder, target)
        for path in (target / records.IMAGES).rglob("*.png"):  # grey ones, which have no colours
            PIL.Image.open(path).convert("L").save(path)
        lines = (target / records.RECORDS).read_text().splitlines()
        kept = [line for line in lines if not ('"sfmn"' in line and json.loads(line)["index"] > 90)]
        (target / records.RECORDS).write_text("\n".join(kept) + "\n")
        console.run(detect.main, detect.FLAGS, ["detect", str(target)])
        found = json.loads((target / records.DETECTABILITY).read_text())["attacks"]
        assert {name: list(by_color) for name, by_color in found.items()} == {"fmn": ["channels"]}
        row = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["sfmn"])
        assert row.split() == ["sfmn", "54", *[terminal.NONE] * 6]
        assert f"<td>{terminal.NONE}</td>" in report.page({"c4": records.read(target)}, 1)

    def test_numbers_of_other_records_and_missing_images_are_refused(self, folder, tmp_path):
        target = tmp_path / "run"
        shutil.copytree(folder, target)
        estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
        one = {"num_images": 107, "auc": estimate, "error": estimate, "true_positives": estimate}
        for attacks, message in (
            ({"fmn": {"channels": one}}, "tells of 107 images of 'fmn', records.jsonl of 108; python -m eval.detect"),
            ({"none": {"channels": one}}, "tells of 107 images of 'none', records.jsonl of 0"),
            ({"fmn": {"channels": {**one, "auc": 0.5}}}, "auc must hold values by name; received 0.5"),
            ({"fmn": 0.5}, "attacks must be of the type"),
        ):
            records.write(target / records.DETECTABILITY, {"attacks": attacks})
            with pytest.raises(ValueError, match=message):
                records.read_detectability(records.read(target))
        image = records.read(target).successes()["sfmn"][0]
        records.read(target).picture(image, "sfmn").unlink()
        with pytest.raises(ValueError, match=r"sfmn/\d+\.png or its original is missing, .* --save_images"):
            evaluation.evaluate(target)

    def test_a_report_without_it_does_not_speak_of_it(self, folder, tmp_path):
        target = tmp_path / "run"
        shutil.copytree(folder, target)
        (target / records.DETECTABILITY).unlink(missing_ok=True)
        assert "SPAM" not in report.page({"c4": records.read(target)}, 1)
