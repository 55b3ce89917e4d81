"""The referee: what others made, scored as the white-box binary scores its own."""

from __future__ import annotations

import importlib.util
import json
import math
import pathlib
import shutil

import numpy as np
import pytest

import models
from benchmarks import peers
from tests.conftest import SAMPLE
from tests.many_runs import Finished, here
from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import FGSM
from tf_smoothadv.evaluation import data, outputs, records
from tf_smoothadv.evaluation.data import submissions
from tf_smoothadv.evaluation.rendering import page_tables, report, terminal

pytestmark = pytest.mark.usefixtures("without_figures")
COUNT = ["--num_images=12", "--batch_size=8"]
MISSING = (3, 7)
FOOLBOX = importlib.util.find_spec("foolbox") is not None


def done(*commands: list[object]) -> list[Finished]:
    finished = [here(*command) for command in commands]
    assert [one.status for one in finished] == [0] * len(commands), "".join(one.stderr for one in finished)
    return finished


def adversaries(library: str, attack: str, path: pathlib.Path) -> list[object]:
    flags = [f"--library={library}", f"--attack={attack}", "--steps=20", f"--output={path}"]
    return ["benchmarks.adversaries", *COUNT, *flags]


def by_image(folder: pathlib.Path, attack: str) -> dict[int, metrics.Record]:
    kept = records.read(folder).run.records
    return {record.index: record for record in kept if record.attack == attack}


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> pathlib.Path:
    """What the white-box binary leaves, and in the same folder Foolbox's images, if there is Foolbox."""
    folder = tmp_path_factory.mktemp("own")
    run = ["eval.white_box", *COUNT, "--attacks=fgsm,pgd2", "--save_images", f"--output={folder}"]
    done(run, *[adversaries("foolbox", "DDN", folder / "foolbox.npz")] * FOOLBOX)
    return folder


@pytest.fixture(scope="module")
def floats() -> np.ndarray:
    """Twelve digits under FGSM, between the levels."""
    ((images, labels),) = data.load("mnist", str(SAMPLE), num_images=12)
    return FGSM(0.2)(models.c4(), images, labels).adversarial.numpy()


@pytest.fixture(scope="module")
def command(own, floats, tmp_path_factory) -> tuple[list[object], pathlib.Path]:
    """The referee on what the binaries wrote and on arrays; and its folder."""
    folder = tmp_path_factory.mktemp("referee")
    order = [position for position in np.random.default_rng(0).permutation(12) if position not in MISSING]
    np.savez(folder / "floats.npz", images=floats[order].astype(np.float64), indices=order)
    np.savez(folder / "bytes.npz", images=np.round(255 * floats[:10]).astype(np.uint8))
    paths = [own / "images" / "fgsm", own / "images" / "pgd2", folder / "floats.npz", folder / "bytes.npz"]
    paths += [own / "foolbox.npz"] * FOOLBOX
    return ["eval.referee", *COUNT, "--save_images", f"--output={folder}", *paths], folder


@pytest.fixture(scope="module")
def judged(command) -> tuple[Finished, pathlib.Path]:
    """What it prints; and its folder."""
    (finished,) = done(command[0])
    return finished, command[1]


class TestReferee:
    @pytest.mark.parametrize("attack", ["fgsm", "pgd2"])
    def test_a_runs_own_images_get_the_runs_own_numbers(self, attack, own, judged):
        expected, found = by_image(own, attack), by_image(judged[1], attack)
        assert list(found) == list(expected)
        for image, record in found.items():
            first = expected[image]
            assert (record.label, record.delivered.success, record.delivered.prediction) == (
                (first.label, first.delivered.success, first.delivered.prediction)
            )
            assert record.delivered.distortion == pytest.approx(first.delivered.distortion, rel=1e-6)
            assert record.delivered.smoothness_energy == pytest.approx(first.delivered.smoothness_energy, rel=1e-5)
            assert record.computed.success == record.delivered.success  # a file has nothing but its 8 bits
            assert record.computed.distortion == record.delivered.distortion

    def test_floats_are_judged_as_computed_and_as_delivered(self, judged, floats, digits):
        originals, labels = digits
        network = models.c4()
        found = by_image(judged[1], "floats")
        for image in sorted(set(found) - set(MISSING)):
            record = found[image]
            for score, shown in (
                (record.computed, floats[image]),
                (record.delivered, np.round(255 * floats[image]) / np.float32(255)),
            ):
                prediction = int(np.argmax(network(shown[None])[0]))
                assert score.prediction == prediction
                assert score.success == (prediction != labels[image])
                distortion = np.linalg.norm(shown - originals[image])
                assert score.distortion == pytest.approx(distortion, rel=1e-4)

    def test_bytes_are_the_floats_delivered(self, judged):
        floats, levels = by_image(judged[1], "floats"), by_image(judged[1], "bytes")
        for image in set(floats) & set(range(10)) - set(MISSING):
            assert levels[image].computed.success == floats[image].delivered.success
            assert levels[image].computed.distortion == pytest.approx(floats[image].delivered.distortion, rel=1e-6)

    @pytest.mark.parametrize(("attack", "missing"), [("floats", MISSING), ("bytes", (10, 11))])
    def test_an_image_that_is_missing_is_a_failure(self, attack, missing, judged):
        finished, folder = judged
        found = by_image(folder, attack)
        assert len(found) == records.read(folder).run.num_correct == 12
        for image in missing:
            record = found[image]
            assert (record.computed.success, record.delivered.success, record.delivered.prediction) == (
                False,
                False,
                record.label,
            )
            assert record.computed.distortion == record.delivered.distortion == 0
        told = f"{attack}: 2 of the 12 images have no adversarial image, the first of them {missing[0]:05d}: they count"
        assert told in finished.stdout
        assert "fgsm: " not in finished.stdout

    def test_what_it_cost_is_not_known(self, judged):
        finished, folder = judged
        summary = json.loads((folder / records.SUMMARY).read_text())
        assert list(summary["attacks"])[:4] == ["fgsm", "pgd2", "floats", "bytes"]
        for values in summary["attacks"].values():
            assert values["gradients_per_image"] is None
            assert values["seconds_per_image"] is None
        table = finished.stdout.splitlines()
        row = next(line.split() for line in table if line.split()[:1] == ["floats"] and "path=" not in line)
        assert row[-2:] == [terminal.NONE] * 2

    def test_everything_that_reads_runs_reads_it(self, judged):
        _, folder = judged
        runs = records.named([records.read(folder)])
        (table,) = page_tables.white_box(runs)
        summary = json.loads((folder / records.SUMMARY).read_text())
        for name, (cells,) in table.rows.items():
            assert cells[0] == f"{summary['attacks'][name]['p_suc']:.3f}"
            assert cells[8:10] == [terminal.NONE] * 2
        assert "floats.npz" in report.page(runs)
        assert len(runs["c4"].pictured) == len(runs["c4"].run.records) >= 4 * 12
        assert set(outputs.kept_examples(folder, ["floats"])[1]["floats"].shape[1:]) == {28, 1}

    @pytest.mark.skipif(not FOOLBOX, reason="needs foolbox")
    def test_another_librarys_attack(self, own, judged):
        outcome = records.read(judged[1]).run.outcome("foolbox")
        assert outcome.p_suc >= 0.9
        assert 0.5 < outcome.mean_distortion < 3
        with np.load(own / "foolbox.npz") as file:
            assert file["images"].shape == (12, 28, 28, 1)

    @pytest.mark.slow
    def test_a_second_time_nothing_is_added_and_other_images_are_refused(self, command, judged, own, tmp_path):
        words, folder = command
        other = tmp_path / "pgd2"
        shutil.copytree(own / "images" / "fgsm", other)
        changed = [other if word == own / "images" / "pgd2" else word for word in words]
        for output in ("again", "refused"):
            shutil.copytree(folder, tmp_path / output)
        again = here(*words, f"--output={tmp_path / 'again'}")
        refused = here(*changed, f"--output={tmp_path / 'refused'}")
        helped = here("eval.referee", "--helpshort")
        assert again.status == 0, again.stderr
        for name in (records.RECORDS, records.SUMMARY, records.SETTINGS):
            assert (tmp_path / "again" / name).read_text() == (folder / name).read_text()
        assert refused.status == 2
        assert "holds results with attacks=" in refused.stderr
        assert "python -m eval.referee --model=net.keras --dataset=nips2017 --data=DIR ddn.npz" in helped.stdout
        assert "--num_images: How many test images" in helped.stdout
        assert not {"--attacks", "--levels", "--gradients"} & set(helped.stdout.replace(":", " ").split())


class TestSubmission:
    NAMES = ("a/x.JPEG", "a/y", "b")
    SHAPE = (2, 3, 1)

    def test_names_may_have_folders_and_endings(self, tmp_path, rng):
        images = rng.random((3, *self.SHAPE))
        records.write_images(tmp_path / "own.v2", images, self.NAMES)
        (tmp_path / "own.v2" / "._b.png").write_bytes(b"what a Mac leaves")
        (tmp_path / "own.v2" / "notes.txt").write_text("ignored")
        found = submissions.read_all([tmp_path / "own.v2"], self.NAMES, self.SHAPE)["own.v2"]
        for position, image in enumerate(images):
            np.testing.assert_array_equal(found.images[position], np.round(255 * image))

    def test_other_images_have_another_fingerprint(self, tmp_path, rng):
        images = rng.integers(0, 256, (2, *self.SHAPE), np.uint8)
        indices = [[0, 1], [0, 2], [2, 0]]
        for number, chosen in enumerate(indices):
            np.savez(tmp_path / f"{number}.npz", images=images, indices=chosen)
        np.savez(tmp_path / "3.npz", images=images[::-1], indices=[1, 0])
        np.savez(tmp_path / "4.npz", images=images / 255)
        paths = sorted(tmp_path.glob("*.npz"))
        found = [one.described()["fingerprint"] for one in submissions.read_all(paths, self.NAMES, self.SHAPE).values()]
        assert found[0] == found[3]  # the same in another order
        assert len(set(found)) == 4

    def test_an_original_stands_for_what_is_missing(self, rng):
        originals = protocol.Originals(np.array([4, 9]), rng.random((2, *self.SHAPE)).astype(np.float32), np.zeros(2))
        levels = np.full(self.SHAPE, 51, np.uint8)
        submission = submissions.Submission(pathlib.Path("a.npz"), {9: levels})
        np.testing.assert_array_equal(submission.on(originals), [originals.images[0], levels / np.float32(255)])
        assert submission.missing([4, 9]) == [4]

    def test_half_precision_is_a_float(self, tmp_path):
        np.savez(tmp_path / "a.npz", images=np.full((1, *self.SHAPE), 0.5, np.float16))
        (image,) = submissions.read(tmp_path / "a.npz", self.NAMES, self.SHAPE).values()
        assert image.dtype == np.float32
        assert math.isclose(image.mean(), 0.5)


@pytest.mark.slow
def test_arts_attack_is_ours_within_its_ball(tmp_path):
    pytest.importorskip("art")
    for library in ("art", "tf_smoothadv"):
        done(adversaries(library, "PGD2", tmp_path / f"{library}.npz"))
    done(["eval.referee", *COUNT, f"--output={tmp_path}", tmp_path / "art.npz", tmp_path / "tf_smoothadv.npz"])
    theirs, ours = (by_image(tmp_path, library) for library in ("art", "tf_smoothadv"))
    assert {record.computed.success for record in theirs.values()} == {True, False}
    for image, record in theirs.items():
        assert record.computed.success == ours[image].computed.success
        assert record.computed.distortion <= peers.DIGITS.epsilon + 1e-5
