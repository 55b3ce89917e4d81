from __future__ import annotations

import itertools
import json

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from benchmarks import curve, files, images, lattice, masked, networks, optimality, robustness, solvers, timing
from models import c4
from tests import reference
from tests.many_runs import here
from tf_smoothadv import jpeg, jpeg_transform


def test_functions_take_turns():
    calls = []
    times = timing.interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3, least=0.0)
    assert calls == ["a", "a", "b", "b"] + ["a", "b"] * 3  # a warm-up and a first timing, then the rounds
    assert [len(taken.rounds) for taken in times.values()] == [3, 3]


def test_ratios_are_those_of_each_round():
    ratio = timing.Times(np.array([2.0, 6.0, 40.0])).over(timing.Times(np.array([1.0, 2.0, 10.0])))
    assert ratio.median == 3.0
    assert (ratio.low, ratio.high) == (2.5, 3.5)


def test_the_direct_solver_solves_the_papers_system(rng):
    image = rng.random((5, 6, 3))
    spec = sa.Smoothing(solvers.ALPHA, solvers.GAMMA)
    np.testing.assert_allclose(solvers.matrix(image).toarray(), reference.laplacian(image, spec).toarray(), atol=1e-9)


def test_noise_stands_in_for_photographs(tmp_path):
    noise = images.photographs(None, 2, 32)
    assert noise.shape == (2, 32, 32, 3)
    assert noise.min() >= 0
    assert noise.max() <= 1
    neighbours = np.corrcoef(noise[0, :, 1:, 0].ravel(), noise[0, :, :-1, 0].ravel())[0, 1]
    assert neighbours > 0.5  # of white noise: 0
    with pytest.raises(ValueError, match="must name a folder of PNG or JPEG images"):
        images.photographs(str(tmp_path), 1, 32)


@pytest.mark.slow
def test_solvers_from_the_command_line(tmp_path):
    flags = ["--only=solvers", "--sides=28", "--batches=1,2", "--rounds=1", "--images=", f"--output={tmp_path}"]
    finished = here("benchmarks.__main__", *flags)
    assert finished.status == 0, finished.stderr
    report = json.loads((tmp_path / "solvers.json").read_text())
    assert report["machine"]["tensorflow"]
    rows = {(row["batch"], row["solver"]): row for row in report["rows"]}
    assert {solver for _, solver in rows} == {*solvers.BATCHED, "SuperLU"}
    for (_, solver), row in rows.items():
        assert row["ms_per_image"] > 0
        assert max(row["relative_error"], row["relative_error_9"]) < (1e-12 if solver == "SuperLU" else 0.1)
    assert "| 28 | 2 | chebyshev |" in (tmp_path / "solvers.md").read_text()


def test_what_robust_accuracy_is_measured_by_is_made_once(tmp_path):
    made = []

    def attack(part):
        made.append(len(part.images))
        return robustness.Found(part.images[:, 0, 0, 0], part.labels)

    distortions = np.array([0.0, 0.5, np.inf, 1.0, 2.0])
    problem = networks.Problem(c4(), distortions[:, None, None, None], np.arange(5), networks.DIGITS)
    case = robustness.Case(problem, (1.0,), 2)
    for _ in range(2):
        found = robustness.kept(tmp_path, "attack", case, attack)
        np.testing.assert_array_equal(found.distortion, distortions)
        np.testing.assert_array_equal(found.gradients, np.arange(5))
    assert made == [2, 2, 1]
    np.testing.assert_array_equal(robustness.where(found, 1.0), [False, False, True, False, True])


def test_an_unknown_part_is_one_line():
    finished = here("benchmarks.__main__", "--only=speed")
    assert finished.status == 2
    assert finished.stderr.splitlines()[-1] == (
        "error: --only must be of solvers, attacks, checks, memory, peers, minimal, grid, delivery, robustness, "
        "optimality, masked, curve, growth; received speed"
    )


def test_optimality_of_contenders_within_their_queries(tmp_path, monkeypatch):
    chosen = [optimality.Contender("tf_smoothadv", name, 40) for name in ("fmn", "ddn")]
    monkeypatch.setattr(optimality, "contenders", lambda: chosen)
    rows = list(optimality.run(None, 4, tmp_path))
    assert {row["attack"] for row in rows} == {"fmn", "ddn"}
    assert rows[0]["overall"] >= rows[1]["overall"]
    for row in rows:
        local = [row[f"{network}, optimality"] for network in robustness.WEIGHTS]
        np.testing.assert_allclose(row["overall"], np.mean(local))
        assert row["C4, P"] == 1.0
    monkeypatch.setattr(optimality, "attacked", None)  # and what was made is read
    assert list(optimality.run(None, 4, tmp_path)) == rows


def test_the_curve_of_distortion_against_gradients(tmp_path, monkeypatch):
    made = curve.contenders
    monkeypatch.setattr(curve, "contenders", lambda *values: itertools.islice(made(*values), 2))  # ours
    cases = {"C4": robustness.digits(4, None)["C4"]}
    rows = list(curve.run(cases, (20, 60), tmp_path))
    assert [(row["attack"], row["gradients"]) for row in rows] == [("fmn", 20), ("sfmn", 20), ("fmn", 60), ("sfmn", 60)]
    assert all(row["p_suc_8bit"] == 1 for row in rows)
    assert rows[2]["mean_distortion_8bit"] < min(rows[0]["mean_distortion_8bit"], rows[3]["mean_distortion_8bit"])
    curve.figure(rows).savefig(tmp_path / "curve.png")
    monkeypatch.setattr(curve.criteria, "is_adversarial", None)  # and what was made is read
    assert list(curve.run(cases, (20, 60), tmp_path)) == rows


def test_noise_for_a_gradient_is_named_masked(monkeypatch):
    name = "quantised, noise for a gradient"
    chosen = {name: masked.networks(None)[name]}
    monkeypatch.setattr(masked, "networks", lambda path: chosen)
    (row,) = masked.run(None, 12)
    assert row["masked_images"] > 0
    assert row["stated"] == "masked"
    assert row["beside_it"].startswith("at most ")


def exhaustive(points: np.ndarray, needed: float) -> float:
    """The least |r| of points of a lattice, rows of |r|^2 and g r, that reach what is needed."""
    return float(np.sqrt(points[points[:, 1] >= needed, 0].min()))


class TestLattice:
    def brackets(self, point: lattice.Point, points: np.ndarray, needs: list[float]) -> None:
        for needed in needs:
            below, found = lattice.least(point, needed)
            assert below - 1e-9 <= exhaustive(points, needed) <= found + 1e-9
        for multiplier in (1.0, 4.0, 9.0):  # where a multiplier reaches what is needed exactly, nothing is left open
            energy, gain = point(multiplier)
            assert exhaustive(points, gain - 1e-9) == pytest.approx(np.sqrt(energy), abs=1e-9)

    def test_pixels(self, rng):
        slope = rng.uniform(-0.8, 0.8, 5)
        steps = np.array(list(itertools.product(range(-4, 5), repeat=5)))
        points = np.stack([(steps**2).sum(1), steps @ slope], 1)
        self.brackets(lattice.of_pixels(slope), points, [0.3, 1.0, 2.0, 4.0])

    def test_coefficients(self, rng):
        """Two frequencies of a block, each with its three colours, whose perturbations are made of pixels."""
        places, tables = ((0, 1), (3, 2)), rng.integers(2, 6, [8, 8, 3]).astype(float)
        slopes = np.zeros([1, 1, 1, 8, 8, 3])
        basis = []
        for place in places:
            slopes[(..., *place, slice(None))] = rng.normal(size=3)
            for plane in range(3):
                frequencies = np.zeros([1, 1, 1, 8, 8])
                frequencies[(..., *place)] = tables[(*place, plane)]
                pixels = jpeg._restored(tf.constant(frequencies))[..., None] * jpeg_transform.FROM_YCC[:, plane]
                basis.append(np.ravel(pixels))
        steps = np.array(list(itertools.product(range(-3, 4), repeat=6)))
        along = np.concatenate([slopes[0, 0, 0][place] * tables[place] for place in places])
        points = np.stack([((steps @ np.array(basis)) ** 2).sum(1), steps @ along], 1)
        self.brackets(lattice.of_coefficients(slopes, tables), points, [1.0, 4.0, 8.0])

    def test_rounding_to_bytes_costs_more(self, tmp_path, rng):
        def model(images):
            return tf.reduce_sum(images * weights, axis=[1, 2, 3])[:, None] * [1.0, -1.0]

        weights = tf.constant(rng.normal(size=[24, 32, 3]), tf.float32)
        pixels = rng.integers(30, 220, [24, 32, 3]).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, subsampling=0)
        found = lattice.compared(model, tmp_path / "a.jpg")
        assert 0 < found.steps.below <= found.steps.found <= found.nearest
        assert found.jpeg < found.nearest
        assert found.png.below <= found.png.found < found.jpeg

    def test_what_cannot_be_compared_is_refused(self, tmp_path):
        PIL.Image.new("RGB", (16, 16), "gray").save(tmp_path / "a.jpg", subsampling=2)
        with pytest.raises(ValueError, match=r"a\.jpg must be of 4:4:4"):
            lattice.compared(lambda images: images[:, 0, 0, :2], tmp_path / "a.jpg")
        with pytest.raises(ValueError, match="large enough"):
            lattice.least(lattice.of_pixels(np.zeros(3)), 1.0)


def test_files_are_judged_by_each_decoder(tmp_path, rng):
    def model(images):  # class 1 where the image is bright
        return tf.reduce_mean(images, axis=[1, 2, 3])[:, None] * [1.0, -1.0] + [-0.5, 0.5]

    for name, brightness in {"a": (90, 200), "b": (90, 100), "c": (160, 20)}.items():
        for ending, level in zip((".jpg", ".adversarial.jpg"), brightness):
            pixels = np.clip(rng.normal(level, 20, (32, 40, 3)), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / f"{name}{ending}", quality=90)
    found = files.judged(sa.Classifier(model), tmp_path)
    assert {name: found[name] for name in ("files", "PIL", "INTEGER_ACCURATE", "INTEGER_FAST")} == {
        "files": 3,
        "PIL": 2,
        "INTEGER_ACCURATE": 2,
        "INTEGER_FAST": 2,
    }
    sizes = [
        (tmp_path / f"{name}.adversarial.jpg").stat().st_size / (tmp_path / f"{name}.jpg").stat().st_size
        for name in "abc"
    ]
    assert (found["mean_size"], found["largest_size"]) == (pytest.approx(np.mean(sizes)), max(sizes))
    for decode in files.DECODERS.values():
        np.testing.assert_allclose(decode(tmp_path / "a.jpg"), PIL.Image.open(tmp_path / "a.jpg"), atol=3)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"an original is missing: .*a\.jpg"):
        files.judged(model, tmp_path)
    with pytest.raises(ValueError, match=r"must hold files NAME\.adversarial\.jpg"):
        files.judged(model, tmp_path / "none")
