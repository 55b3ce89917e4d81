"""Results as a table: every field of every record, in memory and in files."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

import tf_smoothadv as sa
from tests.many_runs import here
from tests.test_report import finished_run
from tf_smoothadv import metrics, transfer
from tf_smoothadv.evaluation import records

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def results(without_figures, tmp_path_factory) -> pathlib.Path:
    """Runs on two networks, a transfer, and an unfinished run elsewhere."""
    folder = tmp_path_factory.mktemp("results")
    originals = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    for name in ("first", "inner/second"):
        finished_run(folder / "runs" / name, originals)
    finished_run(folder / "unfinished", originals)
    (folder / "unfinished" / records.SUMMARY).unlink()
    flags = ("--num_images=3", "--attacks=fgsm", "--sources=c4", "--targets=bilateral+c4", "--save_images")
    outcome = here("eval.transfer", *flags, f"--output={folder / 'transfer'}")
    assert outcome.status == 0, outcome.stderr
    return folder


def test_a_row_is_a_record_with_all_its_fields(results):
    finished = records.read(results / "runs" / "first")
    table = sa.load_results(results / "runs" / "first")
    assert len(table) == len(finished.run.records) > 0
    for row, record in zip(table.to_dict("records"), finished.run.records):
        for field in dataclasses.fields(metrics.Record):
            value = getattr(record, field.name)
            if field.name == "trace":
                assert tuple(zip(row["trace_gradients"].tolist(), row["trace_distortions"].tolist())) == value
            elif isinstance(value, metrics.Score):
                for inner, of_score in dataclasses.asdict(value).items():
                    named = of_score if inner == "visibility" else {None: of_score}
                    for measure, expected in named.items():
                        column = "_".join(filter(None, (field.name, inner, measure)))
                        assert row[column] == expected or np.isnan([row[column], expected]).all(), column
            else:
                assert row[field.name] == value
        assert json.loads(row["attack_settings"]) == finished.attacks[record.attack]
        assert row["image"] == finished.images[record.index]
        picture = finished.picture(record.index, record.attack)
        assert picture.exists()
        assert row["file"] == str(picture)
        told = {name: row[name] for name in ("folder", "network", "dataset", "data", "settings")}
        assert told == {
            "folder": str(finished.folder),
            "network": finished.model,
            "dataset": finished.dataset,
            "data": finished.data,
            "settings": finished.settings,
        }


def test_several_folders_and_a_folder_of_folders_are_one_table(results):
    inner = [results / "runs" / name for name in ("first", "inner/second")]
    whole = sa.load_results(results / "runs")
    pandas.testing.assert_frame_equal(whole, sa.load_results(*inner))
    pandas.testing.assert_frame_equal(whole, sa.load_results(results / "runs", inner[1]))  # each once
    assert list(whole["folder"].unique()) == list(map(str, inner))


def test_the_means_are_those_of_the_summary(results):
    summary = json.loads((results / "runs" / "first" / records.SUMMARY).read_text())
    table = sa.load_results(results / "runs" / "first")
    finished = records.read(results / "runs" / "first").run
    for attack, rows in table.groupby("attack"):
        outcome = finished.outcome(attack, delivered=True)
        assert rows["delivered_success"].mean() == pytest.approx(outcome.p_suc)
        successes = rows[rows["delivered_success"]]
        assert successes["delivered_distortion"].mean() == pytest.approx(outcome.mean_distortion)
    assert len(table) == summary["num_correct"] * table["attack"].nunique()


def test_a_transfer_has_what_every_network_says(results):
    made = records.read_all(results / "transfer", transfer.Record, ("source", *records.KEY))
    table = sa.load_results(results / "transfer", kind="transfer")
    assert list(table["network"]) == list(table["source"]) == ["c4"] * 3
    for name in ("c4", "bilateral+c4"):
        assert list(table[f"clean_{name}"]) == [record.clean[name] for record in made]
        assert list(table[f"predictions_{name}"]) == [record.predictions[name] for record in made]
    assert all(pathlib.Path(path).exists() for path in table["file"])


@pytest.mark.parametrize("kind", ["white_box", "transfer"])
def test_parquet_gives_the_table_back(results, kind, tmp_path):
    pytest.importorskip("pyarrow")
    folder = results / ("transfer" if kind == "transfer" else "runs")
    outcome = here("eval.export", folder, f"--kind={kind}", f"--output={tmp_path}/deep/results.parquet")
    assert outcome.status == 0, outcome.stderr
    table = sa.load_results(folder, kind=kind)
    assert f"{len(table)} rows, {len(table.columns)} columns" in outcome.stdout
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "deep" / "results.parquet"), table)


def test_csv_holds_the_same_text_and_numbers(results, tmp_path):
    outcome = here("eval.export", results / "runs", "--format=csv", f"--output={tmp_path}/results.csv")
    assert outcome.status == 0, outcome.stderr
    table = sa.load_results(results / "runs")
    types = {name: kind for name, kind in table.dtypes.items() if not name.startswith("trace_")}
    found = pandas.read_csv(tmp_path / "results.csv", dtype=types)
    for name in ("trace_gradients", "trace_distortions"):
        found[name] = [np.array(json.loads(text), table[name][0].dtype) for text in found[name]]
    pandas.testing.assert_frame_equal(found, table)


@pytest.mark.parametrize(
    ("folders", "kind", "message"),
    [
        ((), "white_box", "name at least one folder of results; received none"),
        (("missing",), "white_box", "missing holds no results of the kind 'white_box'$"),
        (("transfer",), "white_box", "transfer holds results of the kind 'transfer', not 'white_box'"),
        (("runs/first", "transfer"), "white_box", "transfer holds results of the kind 'transfer', not 'white_box'"),
        (("runs",), "transfer", "no results of the kind 'transfer'; those of the kind 'white_box' are another table"),
        (("unfinished",), "white_box", "unfinished holds an unfinished run"),
        (("",), "white_box", "unfinished holds an unfinished run"),
        (("runs",), "report", "kind must be one of 'white_box', 'transfer'; received 'report'"),
    ],
)
def test_what_is_no_table_is_refused(results, folders, kind, message):
    with pytest.raises(ValueError, match=message):
        sa.load_results(*(results / folder for folder in folders), kind=kind)


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_what_is_not_installed_is_named(results, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    outcome = here("eval.export", results / "runs", f"--output={tmp_path}/results.parquet")
    assert outcome.status == 2
    expected = f"error: a table of results needs {package}: pip install 'tf_smoothadv[results]'\n"
    assert outcome.stderr == expected
