"""The white-box binary, run as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import runpy
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from tests.conftest import SAMPLE
from tests.many_runs import Finished, here, outcomes
from tf_smoothadv import metrics
from tf_smoothadv.evaluation import families, presets, records
from tf_smoothadv.evaluation.data import mnist
from tf_smoothadv.evaluation.records import schema
from tf_smoothadv.evaluation.rendering import gallery, page_tables


def white_box(*arguments: object) -> Finished:
    return here("eval.white_box", *arguments)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> tuple[Finished, pathlib.Path]:
    folder = tmp_path_factory.mktemp("white_box")
    arguments = ["--num_images=12", "--batch_size=5", "--attacks=fgsm,pgd2,spgd2", "--save_images"]
    return white_box(*arguments, f"--output={folder}"), folder


class TestWhiteBox:
    def test_summary_keeps_the_contract(self, result):
        finished, folder = result
        assert finished.status == 0, finished.stderr
        summary = json.loads((folder / "summary.json").read_text())
        assert {"model", "dataset", "accuracy", "num_images", "num_correct", "settings", "attacks"} <= set(summary)
        assert (summary["model"], summary["dataset"], summary["num_images"]) == ("c4", "mnist", 12)
        assert list(summary["attacks"]) == ["fgsm", "pgd2", "spgd2"]
        for values in summary["attacks"].values():
            assert {
                "p_suc",
                "mean_distortion",
                "max_distortion",
                "p_suc_8bit",
                "mean_distortion_8bit",
                "gradients_per_image",
                "seconds_per_image",
                "smoothness_energy",
                "settings",
            } <= set(values)

    def test_summary_follows_from_the_records(self, result):
        _, folder = result
        summary = json.loads((folder / "summary.json").read_text())
        rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
        records = tuple(schema.built(metrics.Record, row) for row in rows)
        run = metrics.Run(records, summary["num_images"], summary["num_correct"])
        assert run.accuracy == summary["accuracy"]
        assert len(records) == 3 * summary["num_correct"]
        for name, values in summary["attacks"].items():
            assert run.p_suc[name] == values["p_suc"]
            assert run.mean_distortion[name] == pytest.approx(values["mean_distortion"])
            progress, gradients = run.progress(name), max(run.outcome(name).gradients)
            assert progress.p_suc(gradients) == values["p_suc"]
            assert progress.mean_distortion(gradients) == pytest.approx(values["mean_distortion"])

    def test_written_images_are_what_the_records_say(self, result):
        _, folder = result
        images, labels = mnist.read(str(SAMPLE), "test")
        network = models.c4()
        for line in (folder / "records.jsonl").read_text().splitlines():
            row = json.loads(line)
            file = folder / "images" / row["attack"] / f"{row['index']:05d}.png"
            written = tf.io.decode_png(tf.io.read_file(str(file)), channels=1).numpy() / np.float32(255)
            original = folder / "images" / "original" / file.name
            pixels = tf.io.decode_png(tf.io.read_file(str(original)), channels=1).numpy()
            np.testing.assert_array_equal(pixels / np.float32(255), images[row["index"]])
            assert np.linalg.norm(written - images[row["index"]]) == pytest.approx(
                row["delivered"]["distortion"], rel=1e-4
            )
            assert int(np.argmax(network(written[None])[0])) == row["delivered"]["prediction"]
            assert row["delivered"]["success"] == (row["delivered"]["prediction"] != labels[row["index"]])

    def test_table_and_settings_are_printed(self, result):
        finished, _ = result
        assert "c4: accuracy 1.000 on 12 images of mnist" in finished.stdout
        assert "paper P" in finished.stdout
        assert "fgsm attack=FGSM, epsilon=[0.01 to 0.3 in 30]" in finished.stdout
        assert "spgd2 attack=PGD2, epsilon=6, step_size=1.5" in finished.stdout
        assert "images/s" in finished.stdout

    def test_report_has_the_numbers_of_the_summary(self, result):
        _, folder = result
        runs = records.named([records.read(folder)])
        (table,) = page_tables.white_box(runs)
        for name, values in json.loads((folder / "summary.json").read_text())["attacks"].items():
            (cells,) = table.rows[name]
            assert cells[:3:2] == [f"{values['p_suc']:.3f}", f"{values['mean_distortion']:.2f}"]
            assert cells[4:7:2] == [f"{values['p_suc_8bit']:.3f}", f"{values['mean_distortion_8bit']:.2f}"]
        assert len(gallery.gallery(runs)["cards"]) == len(runs["c4"].run.records)

    def test_figures_are_there(self, result):
        _, folder = result
        for name in ("characteristic.png", "budget.png", "examples.png"):
            assert tf.io.decode_png((folder / name).read_bytes()).shape[0] > 200


@pytest.mark.slow
def test_own_model_and_paper_settings(tmp_path):
    path = tmp_path / "net.keras"
    models.c4().save(path)
    arguments = ["--num_images=2", "--settings=paper", "--attacks=ifgsm", "--labels=predicted"]
    arguments += [f"--model={path}", f"--output={tmp_path}"]
    finished = white_box(*arguments)
    assert finished.status == 0, finished.stderr
    assert "step_size=0.08" in finished.stdout
    assert json.loads((tmp_path / "summary.json").read_text())["model"] == str(path)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_stopped(result, tmp_path):
    """What a run leaves that was stopped in the middle of a record, by hand; the end is that of the whole run."""
    _, whole = result
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "summary.json").unlink()
    lines = (whole / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:16]) + lines[16][:40])
    arguments = ["--num_images=12", "--batch_size=5", "--attacks=fgsm,pgd2,spgd2", f"--output={folder}"]
    finished = white_box(*arguments)
    assert finished.status == 0, finished.stderr
    assert "was cut off and is made again" in finished.stderr
    summaries = [json.loads((path / "summary.json").read_text()) for path in (whole, folder)]
    for summary in summaries:
        for values in summary["attacks"].values():
            del values["seconds_per_image"]
    assert summaries[0] == summaries[1]

    refused = white_box("--num_images=12", "--batch_size=5", "--attacks=fgsm", f"--output={folder}")
    assert refused.status == 2
    assert "holds results with attacks=" in refused.stderr


LAYER = """
import keras


class Standardised(keras.layers.Layer):
    def call(self, x):
        return x / 255
"""


@pytest.fixture(scope="module")
def of_another_kind(tmp_path_factory) -> list[str]:
    """C4 as a file with a layer of its own, from bytes to probabilities; the flags that say so."""
    folder = tmp_path_factory.mktemp("kind")
    layer = folder / "layer.py"
    layer.write_text(LAYER)
    images = keras.Input((28, 28, 1))
    probabilities = keras.layers.Softmax()(models.c4()(runpy.run_path(str(layer))["Standardised"]()(images)))
    keras.Model(images, keras.layers.Reshape((10,))(probabilities)).save(folder / "net.keras")
    own = [f"--model={folder / 'net.keras'}", f"--import={layer}"]
    return [*own, "--input_range=0,255", "--outputs=probabilities"]


@pytest.mark.slow
def test_a_network_of_another_kind(result, of_another_kind, tmp_path):
    """The same network with other inputs and outputs has the same records, but for roundings."""
    commands = [
        ["eval.white_box", "--attacks=fgsm,pgd2", *of_another_kind],
        ["eval.referee", *of_another_kind, str(result[1] / "images" / "pgd2")],
        ["eval.front", "--alphas=0", "--gradients=20", *of_another_kind],
    ]
    folders = [tmp_path / command[0] for command in commands]
    counts = ["--num_images=12", "--batch_size=5"]
    ended = outcomes([[*command, *counts, f"--output={folder}"] for command, folder in zip(commands, folders)])
    assert [one.status for one in ended] == [0, 0, 0], ended
    made_with = [records.settings_of(folder) for folder in (result[1], *folders)]
    for settings_of_a_run in made_with[1:]:
        assert settings_of_a_run["outputs"] == "probabilities"
        assert settings_of_a_run["input_range"] == [0, 255]
        assert settings_of_a_run["import"] == [of_another_kind[1].removeprefix("--import=")]
    assert not {"outputs", "input_range", "samples", "output_name", "import"} & set(made_with[0])

    kept = [
        {(record.attack, record.index): record for record in records.read(folder).run.records}
        for folder in (result[1], *folders)
    ]
    for key, record in kept[1].items():
        assert record.computed.success == kept[0][key].computed.success
        assert record.computed.distortion == pytest.approx(kept[0][key].computed.distortion, rel=0.02)
    assert len(kept[2]) == 12
    for key, record in kept[2].items():
        assert record.delivered.success == kept[0][key].delivered.success
    assert all(record.delivered.success for record in kept[3].values())


@pytest.mark.slow
def test_a_network_that_draws_random_numbers(tmp_path):
    model = models.c4()
    module = tf.Module()
    module.model = model
    module.serve = tf.function(
        lambda x: model(x + tf.random.normal(tf.shape(x), stddev=0.05)),
        input_signature=[tf.TensorSpec([None, 28, 28, 1])],
    )
    tf.saved_model.save(module, str(tmp_path / "noise"))
    flags = [f"--model={tmp_path / 'noise'}", "--samples=3", "--num_images=4", "--gradients=30", "--attacks=pgd2"]
    finished = white_box(*flags, f"--output={tmp_path / 'run'}")
    assert finished.status == 0, finished.stderr
    assert records.settings_of(tmp_path / "run")["samples"] == 3
    assert len(records.read(tmp_path / "run").run.records) == 4


@pytest.mark.slow
def test_predicted_classes(tmp_path):
    """A network that has learnt nothing is attacked on what it says."""
    keras.utils.set_random_seed(0)
    models.c4(weights=None).save(tmp_path / "net.keras")
    flags = [f"--model={tmp_path / 'net.keras'}", "--labels=predicted", "--num_images=6", "--attacks=fgsm"]
    finished = white_box(*flags, f"--output={tmp_path / 'run'}")
    assert finished.status == 0, finished.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["accuracy"] == 1


def test_help_teaches():
    finished = white_box("--helpshort")
    assert "python -m eval.white_box --data=mnist.npz --num_images=1000" in finished.stdout
    assert "--num_images: How many test images" in finished.stdout


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("name", families.NAMES)
def test_presets_hold_the_papers_attacks_and_merge_over_their_targets(name, family):
    preset = presets.preset(family, name, presets.ATTACKS)
    assert tuple(preset) == presets.ATTACKS
    for attack in ("fgsm", "ifgsm", "pgd2", "spgd2"):
        epsilons = [variant.epsilon for variant in preset[attack]]
        assert epsilons == sorted(epsilons)
        assert len(epsilons) > 1 or preset[attack][0].binary_search_steps > 0
    for attack in ("spgd2", "scw"):
        for variant in preset[attack]:
            reference = families.reference(family, name)
            assert dataclasses.replace(variant.smoothing, alpha=reference.alpha) == reference


def test_the_paper_has_no_settings_for_later_attacks():
    assert tuple(presets.preset("digits", "tuned", presets.LATER)) == presets.LATER
    with pytest.raises(ValueError, match=r"attack must be one of .*; received 'fmn'"):
        presets.preset("digits", "paper", ["fmn"])


@pytest.mark.slow
def test_every_attack_keeps_to_the_gradients_it_is_given():
    preset = presets.preset("digits", "tuned", ["fgsm", "ifgsm", "pgd2", "cw", "fmn", "alma", "nfmn"], gradients=23)
    kernel = tf.random.stateless_uniform([28 * 28, 10], seed=[1, 2])

    def model(images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images, [-1, 28 * 28]) @ kernel

    for name, (attack, *_) in preset.items():
        result = attack(model, tf.fill([1, 28, 28, 1], 0.5), [3])
        room = result.trace.shape[1] - 1
        assert room == 1 if name == "fgsm" else 18 <= room <= 23
        assert result.gradients[0] <= room


def test_the_papers_settings():
    preset = presets.preset("digits", "paper", presets.ATTACKS)
    assert max(variant.epsilon for variant in preset["fgsm"]) == pytest.approx(0.3)
    assert {variant.step_size for variant in preset["ifgsm"]} == {0.08}
    assert {variant.step_size for variant in preset["pgd2"]} == {3.0}
    (cw,), (scw,) = preset["cw"], preset["scw"]
    assert (cw.confidence, cw.learning_rate, cw.initial_const) == (1.0, 0.1, 15.0)
    assert (scw.smoothing.alpha, scw.smoothing.kernel, scw.smoothing.solver) == (0.95, "laplacian", "dense")
