"""Runs that are killed, run at once, or taken apart come to what one undisturbed run comes to."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import rich.console

from tests.many_runs import here
from tf_smoothadv import metrics, transfer
from tf_smoothadv.evaluation import outputs, records
from tf_smoothadv.evaluation.rendering import plots

ROOT = pathlib.Path(__file__).parents[1]
RUN = ("--num_images=24", "--batch_size=4", "--attacks=fgsm,pgd2", "--save_images")


def command(binary: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"eval.{binary}", *map(str, arguments)]


def numbers(folder: pathlib.Path) -> dict:
    """The summary, but for what a clock says."""
    summary = json.loads((folder / records.SUMMARY).read_text())
    for values in summary["attacks"].values():
        del values["seconds_per_image"]
    return summary


def record(image: int, distortion: float = 1.0) -> metrics.Record:
    score = metrics.Score(True, distortion, 0.1, 2)
    return metrics.Record(image, "cw", 1, score, score, gradients=3, seconds=0.5, trace=((2, distortion),))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("whole")
    finished = here("eval.white_box", *RUN, f"--output={folder}")
    assert finished.status == 0, finished.stderr
    return folder


class TestFolder:
    def test_two_writers_are_refused(self, tmp_path):
        first = records.Results(tmp_path, {"model": "a"}, metrics.Record)
        with pytest.raises(ValueError, match="another process is writing results to"):
            records.Results(tmp_path, {"model": "a"}, metrics.Record)
        first.close()
        records.Results(tmp_path, {"model": "a"}, metrics.Record).close()

    def test_a_record_that_was_made_again_counts_once(self, tmp_path):
        for distortion in (1.0, 2.0):
            writer = records.Results(tmp_path, {"images": ["a"], "data": "", "attacks": {"cw": {}}}, metrics.Record)
            writer.append([record(0, distortion)])
            writer.close()
        summary = {"model": "", "dataset": "", "settings": "", "levels": None, "num_images": 1, "num_correct": 1}
        records.write(tmp_path / records.SUMMARY, summary)
        assert [one.computed.distortion for one in records.read(tmp_path).run.records] == [2.0]

    def test_records_from_before_they_had_scores_are_read(self, tmp_path):
        settings = {"images": ["a"], "data": "", "attacks": {"cw": {}}}
        now = record(0, 1.5)
        flat = {"image": 0, "attack": "cw", "label": 1, "gradients": 3, "seconds": 0.5, "trace": [[2, 1.5]]}
        names = {"success": True, "distortion": 1.5, "smoothness_energy": 0.1, "prediction": 2}
        flat |= names | {f"{name}_8bit": value for name, value in names.items()}
        other = {"source": "a", "clean": {"b": 1}}
        for folder, line, kind, expected in (
            ("white_box", flat, metrics.Record, now),
            (
                "transfer",
                {**flat, **other, "delivered": {"b": 2}},
                transfer.Record,
                transfer.Record(**vars(now), **other, predictions={"b": 2}),
            ),
        ):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / records.RECORDS).write_text(json.dumps(line) + "\n")
            (tmp_path / folder / records.SETTINGS).write_text(json.dumps(settings))
            with records.Results(tmp_path / folder, settings, kind) as results:
                assert repr(results.records) == repr([expected])

    @pytest.mark.parametrize("length", range(0, 300, 23))
    def test_cut_anywhere_only_whole_records_stay(self, tmp_path, length):
        writer = records.Results(tmp_path, {"model": "a"}, metrics.Record)
        writer.append([record(0), record(1)])
        writer.close()
        path = tmp_path / records.RECORDS
        whole = path.read_bytes()
        path.write_bytes(whole[:length])
        again = records.Results(tmp_path, {"model": "a"}, metrics.Record)
        assert len(again.records) == whole[:length].count(b"\n")
        again.append([record(1), record(2)])
        again.close()
        assert {json.loads(line)["index"] for line in path.read_text().splitlines()} >= {1, 2}

    def test_a_file_is_written_whole_or_not_at_all(self, tmp_path, monkeypatch):
        path = tmp_path / "x.json"
        records.write(path, {"a": 1})
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            records.write(path, {"a": 2})
        assert json.loads(path.read_text()) == {"a": 1}

    def test_damaged_settings_are_named(self, tmp_path):
        (tmp_path / records.SETTINGS).write_text("{")
        with pytest.raises(ValueError, match=r"settings\.json is damaged"):
            records.Results(tmp_path, {"model": "a"}, metrics.Record)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[pathlib.Path]:
    folders = [tmp_path_factory.mktemp(f"shard{part}") for part in (1, 2, 3)]
    for part, folder in enumerate(folders, start=1):
        finished = here("eval.white_box", *RUN, f"--shard={part}/3", f"--output={folder}")
        assert finished.status == 0, finished.stderr
    return folders


@pytest.mark.slow
class TestShards:
    def test_merged_they_are_the_whole_run(self, shards, whole, tmp_path):
        second, third, first = shards[1], shards[2], shards[0]
        finished = here("eval.merge", second, third, first, f"--output={tmp_path}")
        assert finished.status == 0, finished.stderr
        assert "c4: accuracy 1.000 on 24 images of mnist" in finished.stdout
        expected, found = records.read(whole), records.read(tmp_path)
        assert found.images == expected.images
        by_key = {(one.index, one.attack): one for one in found.run.records}
        assert len(by_key) == len(expected.run.records) == 48
        for one in expected.run.records:
            other = by_key[one.index, one.attack]
            assert (other.computed.success, other.label, other.gradients) == (
                one.computed.success,
                one.label,
                one.gradients,
            )
            assert other.computed.distortion == pytest.approx(
                one.computed.distortion, rel=1e-3
            )  # other batches, other last bits
            assert found.picture(one.index, one.attack).exists()

    def test_examples_keep_their_own_outcomes(self, shards, tmp_path, monkeypatch):
        """The figure shows the first shard's images, whatever stands first among all the records."""
        shutil.copytree(shards[0] / outputs.EXAMPLES, tmp_path / outputs.EXAMPLES)
        records.write(tmp_path / records.SETTINGS, records.settings_of(shards[0]))
        kept = records.read(shards[0]).run.records
        drawn = {}
        monkeypatch.setattr(
            plots, "examples", lambda *shown: drawn.update(shown[2]) or plots.sheet([[plots.Panel(None)]])
        )
        run = metrics.Run(kept[::-1], 8, 8)
        outputs.write_outputs(tmp_path, run, rich.console.Console(quiet=True))
        for attack, success in drawn.items():
            expected = [one.computed.success for one in kept if one.attack == attack][: len(success)]
            assert success.tolist() == expected

    def test_merging_again_changes_nothing(self, shards, tmp_path):
        for _ in range(2):
            assert here("eval.merge", *shards, f"--output={tmp_path}").status == 0
        assert len((tmp_path / records.RECORDS).read_text().splitlines()) == 48


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_digit(whole, tmp_path):
    """Each run is killed until it comes to its end; kills fall on its start as on its work."""
    moments = random.Random(0)
    kills = runs = 0
    while kills < 20:
        runs += 1
        folder = tmp_path / str(runs)
        ended = False
        while not ended:
            size = records_in(folder)
            process = subprocess.Popen(
                command("white_box", *RUN, f"--output={folder}"),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if moments.random() < 0.3:
                time.sleep(moments.uniform(0, 8))
            else:
                while process.poll() is None and records_in(folder) == size:
                    time.sleep(0.01)
                time.sleep(moments.uniform(0, 0.5))
            ended = process.poll() is not None
            if not ended:
                process.send_signal(signal.SIGKILL)
                kills += 1
            assert process.wait() == (0 if ended else -signal.SIGKILL)
        assert numbers(folder) == numbers(whole)
        for path in (whole / records.IMAGES).rglob("*.png"):
            assert (folder / path.relative_to(whole)).read_bytes() == path.read_bytes()


def records_in(folder: pathlib.Path) -> int:
    path = folder / records.RECORDS
    return path.stat().st_size if path.exists() else 0
