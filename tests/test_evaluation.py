"""Evaluations from Python and from several binaries in one process: the same as from a command."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import pathlib

import keras
import numpy as np
import pytest
import rich.console

import models
import tf_smoothadv as sa
from models import loading
from tests.many_runs import here
from tf_smoothadv import protocol
from tf_smoothadv.evaluation import config, data, families, merge, presets, records, referee, run, transfer
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import dataset, formats
from tf_smoothadv.evaluation.rendering import page_tables, tables

pytestmark = pytest.mark.usefixtures("without_figures")
FGSM = {"fgsm": (sa.attacks.FGSM(0.2),)}


@pytest.fixture(scope="module")
def linear() -> keras.Model:
    """Ten classes of digits, each by its mean digit: right on most of them, and quick."""
    images, labels = next(iter(data.load("mnist", None, 200, 200)))
    means = np.stack([images.numpy()[labels.numpy() == digit].mean(axis=0).ravel() for digit in range(10)], axis=1)
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].set_weights([means, -0.5 * np.sum(means**2, axis=0)])
    return model


def kept(folder: pathlib.Path) -> list[tuple]:
    """The records of a folder without their times."""
    return [
        (
            one.index,
            one.attack,
            one.computed.success,
            one.computed.distortion,
            one.delivered.smoothness_energy,
            one.computed.prediction,
        )
        for one in records.read(folder).run.records
    ]


def test_the_run_is_that_of_the_protocol_and_a_second_one_adds_nothing(linear, tmp_path):
    made = Config(model="linear", num_images=20, batch_size=8, output=tmp_path, tensorboard=str(tmp_path / "board"))
    found = run.white_box(linear, made, FGSM)
    digits = data.load("mnist", None, 20, 8)
    expected = protocol.evaluate(linear, digits, FGSM, reference=made.reference(digits))
    assert found.p_suc == expected.p_suc
    assert found.mean_distortion == pytest.approx(expected.mean_distortion)
    assert found.accuracy == expected.accuracy < 1
    first = next(iter(protocol.CorrectImages(linear, digits))).images
    np.testing.assert_array_equal(np.load(tmp_path / "examples" / "original.npy"), first[:6])
    before = (tmp_path / records.RECORDS).read_bytes()
    assert run.white_box(linear, made, FGSM).records == found.records
    assert (tmp_path / records.RECORDS).read_bytes() == before
    assert len(list((tmp_path / "board").iterdir())) == 2


@pytest.mark.slow
def test_shards_come_together(linear, tmp_path):
    whole = Config(num_images=20, batch_size=8, output=tmp_path / "whole", save_images=True)
    run.white_box(linear, whole, FGSM)
    parts = [tmp_path / str(part) for part in (1, 2, 3)]
    for part, folder in enumerate(parts, start=1):
        shard = Config(num_images=20, batch_size=8, output=folder, save_images=True, shard=(part, 3))
        run.white_box(linear, shard, FGSM)
    merge.merge(parts, tmp_path / "merged")
    assert kept(tmp_path / "merged") == [pytest.approx(row) for row in sorted(kept(tmp_path / "whole"))]
    pictures = [sorted((tmp_path / name / "images").rglob("*.png")) for name in ("whole", "merged")]
    assert [file.read_bytes() for file in pictures[0]] == [file.read_bytes() for file in pictures[1]]


@pytest.mark.slow
def test_a_referee_of_shards_takes_each_image_for_its_own(linear, tmp_path):
    first = Config(num_images=9, batch_size=9, output=tmp_path / "first", save_images=True)
    run.white_box(linear, first, FGSM)
    submitted = [tmp_path / "first" / "images" / "fgsm"]
    expected = {row[0]: row[3:] for row in kept(tmp_path / "first")}
    for part in (1, 2):
        folder = tmp_path / f"referee{part}"
        referee.referee(linear, Config(num_images=9, output=folder, shard=(part, 2)), submitted)
        names = records.read(folder).images
        assert names == [f"{place:05d}" for place in range(part - 1, 9, 2)]
        for image, _, _, distortion, *_ in kept(folder):
            # As delivered then, as computed before.
            assert distortion == pytest.approx(expected[image * 2 + part - 1][0], abs=0.05)


@pytest.mark.slow
def test_transfer_has_budgets_curves_and_pictures_too(linear, tmp_path):
    networks = {"a": linear, "b": models.load("bilateral+c4")}
    made = Config(
        num_images=6,
        batch_size=6,
        attacks=("fmn", "fgsm"),
        gradients=3,
        output=tmp_path / "out",
        save_images=True,
        tensorboard=str(tmp_path / "board"),
    )
    summary = transfer.evaluate(networks, ["a", "b"], made)
    assert summary["accuracy"] == records.read_transfer(tmp_path / "out")["accuracy"]
    lines = [json.loads(line) for line in (tmp_path / "out" / records.RECORDS).read_text().splitlines()]
    assert {(line["source"], line["attack"]) for line in lines} == {(s, a) for s in "ab" for a in ("fmn", "fgsm")}
    assert all(line["gradients"] <= 3 for line in lines)
    folders = {file.name for file in (tmp_path / "out" / "images").iterdir()}
    assert folders == {"original", "a-fmn", "a-fgsm", "b-fmn", "b-fgsm"}


@pytest.mark.slow
def test_shards_of_a_transfer_come_together(linear, tmp_path):
    networks = {"a": linear, "b": models.load("bilateral+c4")}
    whole = Config(num_images=6, batch_size=6, attacks=("fgsm",), output=tmp_path / "whole", save_images=True)
    expected = transfer.evaluate(networks, ["a", "b"], whole)
    parts = [tmp_path / str(part) for part in (1, 2)]
    for part, folder in enumerate(parts, start=1):
        transfer.evaluate(networks, ["a", "b"], dataclasses.replace(whole, output=folder, shard=(part, 2)))
    merge.merge(parts, tmp_path / "merged")
    found, read = (records.read_transfer(tmp_path / name) for name in ("merged", "whole"))
    assert found["num_correct"] == expected["num_correct"]
    for source, target in itertools.product("ab", repeat=2):
        one, other = (summary["transfer"][source]["fgsm"][target] for summary in (found, read))
        assert one == pytest.approx(other, rel=1e-3, nan_ok=True)
    pictures = [len(list((tmp_path / name / "images").rglob("*.png"))) for name in ("whole", "merged")]
    assert pictures[0] == pictures[1] > 0


@pytest.mark.slow
def test_binaries_run_twice_in_one_process_beside_one_another(tmp_path):
    common = ["--num_images=4", "--batch_size=4"]
    for binary, arguments, name in (
        ("white_box", ["--attacks=fgsm", "--save_images"], "white"),
        ("white_box", ["--attacks=fgsm", "--save_images"], "white"),
        ("front", ["--alphas=0", "--attacks=fmn", "--gradients=4"], "front"),
        ("transfer", ["--attacks=fgsm", "--targets=c4_adversarial"], "transfer"),
        ("referee", [tmp_path / "white" / "images" / "fgsm"], "referee"),
    ):
        finished = here(f"eval.{binary}", *common, *arguments, f"--output={tmp_path / name}")
        assert finished.status == 0, finished.stderr
    assert "c4: accuracy" in finished.stdout
    assert (tmp_path / "transfer" / records.TRANSFER).exists()
    assert (tmp_path / "front" / "front.json").exists()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"dataset": "cifar"}, "dataset must be one of"),
        ({"settings": "best"}, "settings must be one of"),
        ({"labels": "mine"}, "labels must be one of"),
        ({"outputs": "scores"}, "outputs must be one of"),
        ({"num_images": 0}, "num_images must be"),
        ({"gradients": -1}, "gradients must be"),
        ({"shard": (3, 2)}, r"shard must be \(i, n\) with i from 1 to n; received \(3, 2\)"),
    ],
)
def test_a_config_refuses(keywords, message):
    with pytest.raises(ValueError, match=message):
        config.Config(**keywords)


def test_a_new_format_is_one_function_and_its_line(linear, monkeypatch):
    def two_digits(path):
        images, labels = next(iter(data.load("mnist", None, 2, 2)))
        return formats.Source([("a", int(labels[0])), ("b", int(labels[1]))], list(images), None)

    monkeypatch.setitem(dataset.SOURCES, "two", two_digits)
    loaded = data.load("two", "anywhere")
    assert loaded.names == ["a", "b"]
    assert sa.evaluate(linear, loaded, FGSM).num_images == 2


def test_a_new_defence_is_one_callable_and_its_line(monkeypatch):
    monkeypatch.setitem(loading.DEFENSES, "darker", lambda: lambda images: 0.5 * images)
    images = np.random.default_rng(0).uniform(size=(2, 28, 28, 1)).astype(np.float32)
    np.testing.assert_allclose(models.load("darker+c4")(images), models.c4()(0.5 * images), rtol=1e-4, atol=1e-4)


def test_a_new_metric_is_a_row_which_the_terminal_the_report_and_the_summary_show(linear, tmp_path, monkeypatch):
    column = tables.Column("median", lambda run, attack: 0.125, "median", tables.COMPUTED, 3, 3)
    monkeypatch.setattr(tables, "COLUMNS", (*tables.COLUMNS, column))
    monkeypatch.setitem(page_tables.HEADINGS, "median", "median")
    run.white_box(linear, Config(num_images=8, batch_size=8, output=tmp_path), FGSM)
    assert json.loads((tmp_path / records.SUMMARY).read_text())["attacks"]["fgsm"]["median"] == 0.125
    (table,) = page_tables.white_box(records.named([records.read(tmp_path)]))
    assert "0.125" in table.rows["fgsm"][0]
    shown = rich.console.Console(file=io.StringIO(), width=120)
    shown.print(tables.white_box(records.read(tmp_path).run, {"model": "a", "dataset": "b"}))
    assert "0.125" in shown.file.getvalue()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), "digits"),
        ((32, 32, 3), "small"),
        ((64, 48, 3), "small"),
        ((65, 48, 3), "photographs"),
        ((299, 299, 3), "photographs"),
        ((299, 299, 1), "photographs"),
    ],
)
def test_the_parameters_are_those_of_the_images(shape, expected):
    images = data.Dataset(["a"], [0], [np.zeros(shape, np.float32)], 1, "somewhere")
    assert images.shape == shape
    assert families.family(images.shape) == expected
    made = Config(dataset="folder", attacks=("pgd2", "fmn"))
    assert made.preset(images) == presets.preset(expected, "tuned", ["pgd2", "fmn"], levels=256)
    assert made.reference(images) == families.SMOOTHING[expected, "tuned"]
