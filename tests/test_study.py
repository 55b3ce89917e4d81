"""Studies: what a file asks for, that nothing is made twice, and one report over all."""

from __future__ import annotations

import functools
import json
import pathlib
import re
import tomllib
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import loading
from tests.many_runs import Finished, here
from tests.test_evaluation import kept
from tf_smoothadv import protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import data, front, records, study, study_file
from tf_smoothadv.evaluation.records import amendment
from tf_smoothadv.evaluation.rendering import plots

# One network and what is compiled for it for all runs.
LOADED = functools.cache(lambda name, **usage: loading.load_classifiers([name], **usage))

TWO = """
output = "{folder}/out"
[networks.linear]
model = "{folder}/linear.keras"
[networks.halves]
model = "{folder}/halves.keras"
[datasets.digits]
num_images = 10
batch_size = 4
[attacks.steps]
attacks = ["fmn", "ddn"]
gradients = 4
"""
MORE = """
[networks.coarse]
model = "{folder}/coarse.keras"
[attacks.fewer]
attacks = ["fmn"]
gradients = 2
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> pathlib.Path:
    """A folder of quick networks: ten classes of digits, each by its mean digit, seen at three resolutions."""
    folder = tmp_path_factory.mktemp("networks")
    images, labels = next(iter(data.load("mnist", None, 200, 200)))
    for name, side in (("linear", 1), ("halves", 2), ("coarse", 4)):
        seen = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.AveragePooling2D(side), keras.layers.Flatten()])
        pixels = seen(images).numpy()
        means = np.stack([pixels[labels.numpy() == digit].mean(axis=0) for digit in range(10)], axis=1)
        model = keras.Sequential([keras.Input((28, 28, 1)), *seen.layers, keras.layers.Dense(10)])
        model.layers[-1].set_weights([means, -0.5 * np.sum(means**2, axis=0)])
        model.save(folder / f"{name}.keras")
    return folder


def made(folder: pathlib.Path, text: str) -> Finished:
    """What becomes of a study, its file written to a folder; without its pictures, which take the most time."""
    path = folder / "study.toml"
    path.write_text(text)
    with (
        mock.patch.object(models, "load_classifiers", lambda names, **usage: LOADED(*names, **usage)),
        mock.patch.object(plots, "save"),
    ):
        return here("eval.study", path, columns=200)


def lines(folder: pathlib.Path) -> list[str]:
    return (folder / records.RECORDS).read_text().splitlines()


class TestFile:
    def test_the_example_explains_every_key_and_is_a_study(self, tmp_path):
        path = tmp_path / "study.toml"
        path.write_text(here("eval.study", "--example").stdout)
        asked = study_file.read(path)
        assert [run.told for run in asked.runs] == ["c4 on digits, minimal", "c4_adversarial on digits, minimal"]
        assert asked.runs[0].config.attacks == ("fmn", "sfmn")
        explained = re.sub(r"^# (?=\[|\w+ = )", "", path.read_text(), flags=re.MULTILINE)
        content = tomllib.loads(explained)
        for kind, keys in study_file.KEYS.items():
            assert {key for table in content[kind].values() for key in table} == set(keys), kind
        # Targets are not for transfers, which are of networks that return the same.
        path.write_text(re.sub(r"^(networks|output_name|targets = \").*$", "", explained, flags=re.MULTILINE))
        asked = study_file.read(path)
        assert len(asked.runs) == 4
        assert [transfer.told for transfer in asked.transfers] == ["defended on digits"]

    def test_every_key_comes_to_its_place(self, tmp_path):
        path = tmp_path / "study.toml"
        path.write_text(
            """
            [networks.a]
            model = "a.keras"
            outputs = "probabilities"
            input_range = [0, 255]
            import = ["layers.py"]
            [networks.b]
            [datasets.x]
            dataset = "folder"
            data = "photographs"
            networks = ["a"]
            targets = "second"
            [datasets.y]
            [attacks.g]
            attacks = ["pgd2"]
            epsilon = 2
            [fronts.f]
            attacks = ["fmn"]
            alphas = [0, 0.5]
            pick = "ssim"
            """
        )
        asked = study_file.read(path)
        assert [(run.network, run.dataset, run.group) for run in asked.runs] == [
            ("a", "x", "g"),
            ("a", "x", "f"),
            ("a", "y", "g"),
            ("a", "y", "f"),
            ("b", "y", "g"),
            ("b", "y", "f"),
        ]
        first, second = asked.runs[:2]
        config = first.config
        assert (config.model, first.model, config.output) == ("a", "a.keras", asked.output / "x" / "a" / "g")
        assert (config.outputs, config.input_range, config.imports) == ("probabilities", (0, 255), ("layers.py",))
        assert (config.dataset, config.data, config.aim, config.epsilon) == ("folder", "photographs", "second", 2)
        assert (second.config.alphas, second.config.save_images, second.config.levels) == ((0, 0.5), True, 256)
        assert (first.pick, second.pick) == (None, (1.5, "ssim"))


OLD = {"model": "a", "images": ["x", "y"], "attacks": {"fmn": {"steps": 1}}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"attacks": {"fmn": {"steps": 1}, "ddn": {}}}, True),
        ({}, {"images": ["x", "y", "z"], "begins": [2]}, True),
        ({"begins": [1]}, {"images": ["x", "y", "z"], "begins": [1, 2]}, True),
        ({}, {"images": ["x", "y", "z"], "begins": [2], "attacks": {"ddn": {}, "fmn": {"steps": 1}}}, True),
        ({}, {"images": ["x", "y", "z"]}, False),  # whose batches would reach over what is there
        ({"begins": [1]}, {"attacks": {"fmn": {"steps": 1}, "ddn": {}}}, False),  # of other batches
        ({}, {"images": ["x", "z", "y"], "begins": [2]}, False),
        ({}, {"images": ["x"]}, False),
        ({}, {"attacks": {"ddn": {}}}, False),
        ({}, {"attacks": {"fmn": {"steps": 2}, "ddn": {}}}, False),
        ({}, {"attacks": {"fmn": {"steps": 1}, "ddn": {}}, "model": "b"}, False),
        ({}, {"attacks": {"fmn": {"steps": 1}, "ddn": {}}, "levels": 256}, False),
        ({"images": 2}, {"attacks": {"fmn": {"steps": 1}, "ddn": {}}}, False),
        ({"attacks": None}, {}, False),
    ],
)
def test_a_folder_goes_on_with_more_attacks_or_images_and_with_nothing_else(old, new, expected):
    assert amendment.grown({**OLD, **old}, {**OLD, **new}) is expected


def test_images_from_an_index_on_begin_a_new_batch():
    """Of nine images, the fourth of which is misclassified, where runs ended after five and after six."""
    images = np.linspace(0.1, 0.9, 9, dtype=np.float32)[:, None, None, None] * np.ones([1, 2, 2, 1], np.float32)
    labels = [0, 0, 0, 1, 0, 0, 0, 0, 0]
    digits = data.Dataset([str(number) for number in range(9)], labels, list(images), 2, "", begins=(5, 6))
    assert [len(batch) for batch, _ in digits] == [2, 2, 1, 1, 2, 1]

    def model(x):
        return tf.concat([tf.reduce_sum(x, axis=[1, 2, 3])[:, None] + 2, tf.zeros([len(x), 1])], axis=1)

    correct = protocol.CorrectImages(model, digits, digits.begins)
    assert [originals.indices.tolist() for originals in correct] == [[0, 1], [2, 4], [5], [6, 7], [8]]
    assert (correct.num_images, correct.num_correct) == (9, 8)


@pytest.fixture(scope="module")
def finished(networks) -> tuple[pathlib.Path, Finished]:
    outcome = made(networks, TWO.format(folder=networks))
    assert outcome.status == 0, outcome.stderr
    return networks / "out", outcome


class TestRuns:
    def test_each_is_what_white_box_makes(self, finished, networks, tmp_path):
        folder, _ = finished
        flags = ["--num_images=10", "--batch_size=4", "--attacks=fmn,ddn", "--gradients=4"]
        alone = here("eval.white_box", *flags, f"--model={networks}/linear.keras", f"--output={tmp_path}")
        assert alone.status == 0, alone.stderr
        assert kept(folder / "digits" / "linear" / "steps") == kept(tmp_path)

    def test_the_report_shows_all(self, finished):
        folder, outcome = finished
        text = (folder / study.REPORT).read_text()
        assert str(folder / study.REPORT) in outcome.stdout
        assert all(f">{name}<" in text for name in ("linear", "halves"))

    def test_a_second_time_nothing_is_attacked(self, finished, networks):
        folder, _ = finished
        before = {path: path.read_bytes() for path in folder.rglob("*.json*")}
        with mock.patch.object(core.Attack, "__call__", side_effect=AssertionError("attacked")):
            outcome = made(networks, TWO.format(folder=networks))
        assert outcome.status == 0, outcome.stderr
        assert outcome.stdout.count("complete before") == 2
        assert {path: path.read_bytes() for path in folder.rglob("*.json*")} == before

    @pytest.mark.slow
    @pytest.mark.parametrize("again", [False, True])
    def test_amended_it_makes_what_is_missing_alone(self, finished, networks, tmp_path, again):
        """More attacks, images, networks and groups: what was there stays byte by byte; also where that was stopped."""
        small, more = (
            text.format(folder=networks).replace(f"{networks}/out", f"{tmp_path}/out")
            for text in (TWO, TWO.replace("= 10", "= 17").replace('"ddn"]', '"ddn", "bp"]') + MORE)
        )
        assert made(tmp_path, small).status == 0
        before = {path: lines(path) for path in (tmp_path / "out" / "digits").glob("*/*")}
        assert len(before) == 2
        if again:  # stopped at the second batch that is new
            attacked, ended = core.Attack.__call__, mock.Mock(side_effect=[None, KeyboardInterrupt])

            def stopped(*arguments):
                ended()
                return attacked(*arguments)

            with mock.patch.object(core.Attack, "__call__", stopped), pytest.raises(KeyboardInterrupt):
                made(tmp_path, more)
            grown = tmp_path / "out" / "digits" / "linear" / "steps"
            assert not (grown / records.SUMMARY).exists()  # which would tell of fewer images
        outcome = made(tmp_path, more)
        assert outcome.status == 0, outcome.stderr
        folders = {path: lines(path) for path in (tmp_path / "out" / "digits").glob("*/*")}
        assert len(folders) == 6
        for path, content in folders.items():
            known = before.get(path, [])
            assert content[: len(known)] == known
            keys = [(one["attack"], one["index"]) for one in map(json.loads, content)]
            assert len(set(keys)) == len(keys)  # nothing is made twice
            run = records.read(path).run
            assert run.num_images == 17
            assert all(len(run.outcome(name).success) == run.num_correct for name in run.attacks)
        assert set(records.read(tmp_path / "out" / "digits" / "linear" / "steps").attacks) == {"fmn", "ddn", "bp"}

        alone = re.sub(r"\[networks.(halves|coarse)\]\nmodel.*", "", more).replace(
            f"{tmp_path}/out", f"{tmp_path}/whole"
        )
        whole = made(tmp_path, alone)
        assert whole.status == 0, whole.stderr
        found, expected = (
            sorted(kept(tmp_path / name / "digits" / "linear" / "steps"), key=lambda one: one[:2])
            for name in ("out", "whole")
        )
        assert [one[:3] for one in found] == [one[:3] for one in expected]
        # Other batches, other last bits.
        np.testing.assert_allclose([one[3] for one in found], [one[3] for one in expected], rtol=1e-3)

    def test_fewer_attacks_or_other_settings_are_refused_and_the_others_made(self, finished, networks):
        folder, _ = finished
        for change in (('"fmn", "ddn"', '"ddn"'), ("batch_size = 4", "batch_size = 5"), ("= 10", "= 9")):
            before = {path: path.read_bytes() for path in folder.rglob("*.json*")}
            outcome = made(networks, TWO.format(folder=networks).replace(*change))
            assert outcome.status == 2
            assert re.fullmatch(
                r"error: 2 of 2 runs failed, the first linear on digits, steps: .* holds results with .*\n",
                outcome.stderr,
            )
            assert {path: path.read_bytes() for path in folder.rglob("*.json*")} == before

    def test_a_network_that_does_not_fit_does_not_stop_the_others(self, networks, tmp_path):
        keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
            tmp_path / "linear.keras"
        )
        text = TWO.format(folder=networks).replace(f"{networks}/linear", f"{tmp_path}/linear")
        outcome = made(tmp_path, text.replace(f"{networks}/out", f"{tmp_path}/out"))
        assert outcome.status == 2
        assert re.fullmatch(
            r"error: 1 of 2 runs failed, the first linear on digits, steps: the model takes images .*\n", outcome.stderr
        )
        assert ">halves<" in (tmp_path / "out" / study.REPORT).read_text()
        assert kept(tmp_path / "out" / "digits" / "halves" / "steps") == kept(networks / "out/digits/halves/steps")

    @pytest.mark.slow
    def test_fronts_transfers_and_two_datasets_of_one_kind(self, networks, tmp_path):
        text = f"""
            output = "{tmp_path}/out"
            [networks.linear]
            model = "{networks}/linear.keras"
            [networks.coarse]
            model = "{networks}/coarse.keras"
            [datasets.few]
            num_images = 4
            [datasets.fewer]
            num_images = 3
            networks = ["linear"]
            [fronts.alpha]
            attacks = ["fmn"]
            alphas = [0, 0.9]
            gradients = 5
            premium = 2
            [transfers.down]
            sources = ["linear"]
            targets = ["coarse"]
            attacks = ["fmn"]
            gradients = 4
            """
        outcome = made(tmp_path, text)
        assert outcome.status == 0, outcome.stderr
        assert records.read_transfer(tmp_path / "out" / "few" / "down")["accuracy"].keys() == {"linear", "coarse"}
        assert not (tmp_path / "out" / "fewer" / "down").exists()
        told = json.loads((tmp_path / "out" / "few" / "coarse" / "alpha" / front.FRONT).read_text())
        assert (told["pick"], told["premium"], list(told["attacks"])) == ("smoothest", 2, ["fmn-0", "fmn-0.9"])
        report = (tmp_path / "out" / study.REPORT).read_text()
        for shown in (
            "White-box attacks on few<",
            "White-box attacks on fewer<",
            ">linear on fewer<",
            "Attacks on linear",
        ):
            assert shown in report
        with mock.patch.object(core.Attack, "__call__", side_effect=AssertionError("attacked")):
            again = made(tmp_path, text)
            assert (again.status, again.stdout.count("complete before")) == (0, 4), again.stderr
            # Another premium picks anew, without any attack.
            assert made(tmp_path, text.replace("premium = 2", "premium = 3")).status == 0
        assert json.loads((tmp_path / "out/few/coarse/alpha" / front.FRONT).read_text())["premium"] == 3


def test_without_beam_it_is_told_before_anything_is_made(networks, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome = here("eval.study", "--beam", str(tmp_path / "study.toml"))
    assert (outcome.status, outcome.stderr) == (
        2,
        "error: --beam needs apache-beam: pip install 'tf_smoothadv[beam]'\n",
    )


@pytest.mark.slow
def test_by_beam_it_is_the_same(networks, tmp_path):
    """Attacks and fronts, made by processes of their own: records equal but for the time they took."""
    pytest.importorskip("apache_beam")
    fronts = '[fronts.smooth]\nattacks = ["fmn"]\nalphas = [0, 0.9]\ngradients = 4\n'
    for folder, options in (("one", []), ("beam", ["--beam", "--workers=2"])):
        (tmp_path / folder).mkdir()
        text = (TWO + fronts).format(folder=networks).replace(f"{networks}/out", f"{tmp_path}/{folder}/out")
        (tmp_path / folder / "study.toml").write_text(text)
        done = here("eval.study", *options, str(tmp_path / folder / "study.toml"))
        assert done.status == 0, done.stderr
    folders = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("records.jsonl"))
    assert len(folders) == 4
    for path in folders:
        one, by_beam = (
            [{**json.loads(line), "seconds": 0} for line in (tmp_path / folder / path).read_text().splitlines()]
            for folder in ("one", "beam")
        )
        key = lambda record: (record["attack"], record["index"])  # noqa: E731
        assert sorted(one, key=key) == sorted(by_beam, key=key)
    assert (tmp_path / "beam" / "out" / "digits" / "linear" / "smooth" / "picked").is_dir()
