"""Visibility in what runs leave behind: records, summary, tables, figures, report, and what the front picks."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import threading

import numpy as np
import pytest
import rich.console
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import Linear
from tests.test_evaluation import FGSM, linear  # noqa: F401 (a fixture)
from tf_smoothadv import metrics, protocol
from tf_smoothadv.evaluation import front as front_of_runs
from tf_smoothadv.evaluation import merge, records, referee, run
from tf_smoothadv.evaluation import visibility as of_runs
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import figures, gallery, page_tables, plots, report, tables
from tf_smoothadv.front import Front, over_alpha
from tf_smoothadv.visibility import MEASURES, available

pytest.importorskip("skimage")
OF_DIGITS = ["ciede2000_mean", "ciede2000_p99", "ssim", "magnified_ssim"]


def recorded(seed: int = 0, count: int = 40, attacks: tuple[str, ...] = ("fmn", "own")) -> metrics.Run:
    """A run of random numbers, with SSIMULACRA2 and FLIP of every delivered image."""
    rng = np.random.default_rng(seed)

    def score(seen: dict[str, float]) -> metrics.Score:
        return metrics.Score(bool(rng.random() < 0.7), rng.uniform(0.1, 2), rng.random(), 1, visibility=seen)

    kept = [
        metrics.Record(
            image, attack, 0, score({}), score({"ssimulacra2": rng.uniform(70, 100), "flip": rng.random()}), 10, 0.1, ()
        )
        for image in range(count)
        for attack in attacks
    ]
    return metrics.Run(tuple(kept), count, count)


def without_visibility(made: metrics.Run, images: slice = slice(None)) -> metrics.Run:
    """The same run, as of before these images were looked at."""
    blind = [
        dataclasses.replace(record, delivered=dataclasses.replace(record.delivered, visibility={}))
        if record.index in range(made.num_images)[images]
        else record
        for record in made.records
    ]
    return dataclasses.replace(made, records=tuple(blind))


class TestOutcome:
    @pytest.mark.parametrize("measure", ["ssimulacra2", "flip"])
    def test_p_of_visibility_is_the_share_that_succeeds_no_more_visibly(self, measure):
        made = recorded()
        outcome = made.outcome("fmn", delivered=True)
        scores = [record.delivered for record in made.records if record.attack == "fmn"]
        for limit in [*outcome.visibility[measure], 0.5, 90.0]:
            passed = [
                score.success
                and (
                    score.visibility[measure] >= limit
                    if measure == "ssimulacra2"
                    else score.visibility[measure] <= limit
                )
                for score in scores
            ]
            assert outcome.visibility_characteristic(measure, limit) == np.mean(passed)

    def test_it_ends_at_p_suc_and_its_number_at_90_is_p_lossless(self):
        outcome = recorded().outcome("own", delivered=True)
        ends = outcome.visibility_characteristic("ssimulacra2", [-np.inf, 90.0, 100.1])
        assert ends.tolist() == [outcome.p_suc, outcome.p_lossless, 0]
        assert outcome.mean_visibility("flip") == np.mean(outcome.visibility["flip"][outcome.success])

    def test_what_nobody_looked_at_is_unknown(self):
        made = recorded()
        for outcome in (made.outcome("fmn"), without_visibility(made).outcome("fmn", delivered=True)):
            assert np.isnan(outcome.p_lossless)
            assert np.isnan(outcome.mean_visibility("flip"))
            with pytest.raises(ValueError, match="measure must be one of ; received 'flip'"):
                outcome.visibility_characteristic("flip", 0.1)

    def test_a_run_has_the_measures_of_all_its_records(self):
        made = recorded()
        assert made.measures == ["ssimulacra2", "flip"]
        assert without_visibility(made, slice(0, 1)).measures == []
        assert "P90" in repr(made)
        assert "P90" not in repr(without_visibility(made))


@pytest.fixture(scope="module")
def seen(linear, tmp_path_factory) -> pathlib.Path:  # noqa: F811
    """A finished run on digits with the measures that can judge them."""
    folder = tmp_path_factory.mktemp("seen")
    config = Config(model="linear", visibility=True, num_images=8, batch_size=3, save_images=True, output=folder)
    run.white_box(linear, config, FGSM)
    return folder


def shown(*items: object) -> str:
    console = rich.console.Console(file=io.StringIO(), width=80)
    console.print(*items)
    return console.file.getvalue()


class TestRun:
    def test_records_have_the_visibility_of_the_files(self, seen):
        finished = records.read(seen)
        assert finished.run.measures == OF_DIGITS
        assert len(finished.run.records) > 4
        for record in finished.run.records:
            files = (decoding.read(finished.picture(record.index, name)) for name in (records.ORIGINAL, "fgsm"))
            pair = (pixels[np.newaxis] / np.float32(255) for pixels in files)
            assert record.delivered.visibility == sa.visibility(*pair, OF_DIGITS).of_images()[0]
            assert record.computed.visibility == {}

    def test_summary_tables_and_report_have_every_measure(self, seen):
        finished = records.read(seen)
        outcome = finished.run.outcome("fgsm", delivered=True)
        summary = json.loads((seen / records.SUMMARY).read_text())["attacks"]["fgsm"]
        text = shown(*tables.visibility(finished.run))
        _, table = page_tables.white_box({"linear": finished})
        better = {heading: part for part, columns in table.groups[0].parts.items() for heading in columns}
        found = dict(zip(better, table.rows["fgsm"][0]))
        for name in OF_DIGITS:
            cell = f"{outcome.mean_visibility(name):.{MEASURES[name].digits}f}"
            assert summary[name] == outcome.mean_visibility(name)
            assert cell in text
            assert found[MEASURES[name].heading] == cell
            larger = better[MEASURES[name].heading] == "larger is less visible"
            assert larger is MEASURES[name].larger_is_better
        assert "Delta E" in text
        assert "as the eye sees them" in report.page({"linear": finished})
        assert (seen / "visibility.png").exists()

    def test_a_run_that_goes_on_keeps_to_its_measures(self, linear, seen, tmp_path):  # noqa: F811
        config = Config(model="linear", num_images=8, batch_size=3, save_images=True, output=seen)
        before = (seen / records.RECORDS).read_bytes()
        run.white_box(linear, config, FGSM)
        assert (seen / records.RECORDS).read_bytes() == before
        with pytest.raises(
            ValueError, match=r"with visibility=.*these would have visibility=None: name another --output"
        ):
            run.white_box(linear, dataclasses.replace(config, visibility=False), FGSM)
        blind = dataclasses.replace(config, output=tmp_path)
        run.white_box(linear, blind, FGSM)
        assert records.read(tmp_path).run.measures == []
        assert not (tmp_path / "visibility.png").exists()
        assert set(OF_DIGITS).isdisjoint(json.loads((tmp_path / records.SUMMARY).read_text())["attacks"]["fgsm"])
        with pytest.raises(ValueError, match="with visibility=None, these would have"):
            run.white_box(linear, dataclasses.replace(blind, visibility=True), FGSM)

    def test_shards_come_together(self, linear, seen, tmp_path):  # noqa: F811
        parts = [tmp_path / str(part) for part in (1, 2)]
        for part, folder in enumerate(parts, start=1):
            config = Config(model="linear", visibility=True, num_images=8, batch_size=3, output=folder, shard=(part, 2))
            run.white_box(linear, config, FGSM)
        merge.merge(parts, tmp_path / "merged")
        found, expected = (
            {record.index: record.delivered.visibility for record in records.read(folder).run.records}
            for folder in (tmp_path / "merged", seen)
        )
        assert list(found) == list(expected)
        for image in found:
            assert found[image] == pytest.approx(expected[image])

    def test_the_referee_sees_the_same(self, linear, seen, tmp_path):  # noqa: F811
        config = Config(model="linear", visibility=True, num_images=8, batch_size=3, output=tmp_path)
        found = referee.referee(linear, config, [seen / records.IMAGES / "fgsm"])
        for one, other in zip(found.records, records.read(seen).run.records):
            assert one.delivered.visibility == pytest.approx(other.delivered.visibility)

    def test_records_from_before_and_damaged_ones(self, seen):
        values = json.loads((seen / records.RECORDS).read_text().splitlines()[0])
        key = lambda record: record.index  # noqa: E731
        for name in ("computed", "delivered"):
            del values[name]["visibility"]
        (old,) = records.parsed(seen, json.dumps(values).encode(), metrics.Record, key).values()
        assert old.delivered.visibility == {}
        values["delivered"]["visibility"] = {"ssim": "high"}
        with pytest.raises(ValueError, match=r"delivered: visibility must be of the type dict\[str, float\]"):
            records.parsed(seen, json.dumps(values).encode(), metrics.Record, key)


class TestMeasuresOfARun:
    def test_photographs_are_looked_at_and_small_images_are_not(self, tmp_path):
        config, photographs, digits = Config(output=tmp_path), (80, 80, 3), (28, 28, 1)
        assert set(OF_DIGITS) < set(of_runs.measures(config, photographs)) == set(available(photographs))
        assert of_runs.measures(dataclasses.replace(config, visibility=False), photographs) == ()
        assert of_runs.measures(config, digits) == of_runs.measures(config, (32, 32, 3)) == ()
        assert of_runs.measures(dataclasses.replace(config, visibility=True), digits) == tuple(OF_DIGITS)

    def test_a_package_that_is_missing_leaves_them_out_and_asked_for_is_told(self, tmp_path, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setenv("PATH", "")
        assert of_runs.measures(Config(output=tmp_path), (80, 80, 3)) == ()
        with pytest.raises(ValueError, match="needs the package skimage, which is not here"):
            of_runs.measures(Config(output=tmp_path, visibility=True), (28, 28, 1))

    @pytest.mark.parametrize("begun", ["ssim", ["psnr"], ["flip"], [1]])
    def test_settings_that_name_no_measures_of_these_images(self, tmp_path, begun):
        (tmp_path / records.SETTINGS).write_text(json.dumps({of_runs.SETTING: begun}))
        with pytest.raises(ValueError, match=r"must be a list|measure must be one of|flip judges"):
            of_runs.measures(Config(output=tmp_path), (28, 28, 1))

    def test_they_are_taken_beside_the_next_attack_and_come_in_order(self, monkeypatch):
        """The first batch is judged only once the second has been made, which a run in turns would wait for in vain."""
        second = threading.Event()

        def judge(batch: str, names: list[str]) -> str:
            assert second.wait(60)
            return f"{batch} by {', '.join(names)}"

        def batches():
            yield "first"
            second.set()
            yield "second"

        monkeypatch.setattr(protocol, "with_visibility", judge)
        assert list(of_runs.beside(batches(), ["ssim"])) == ["first by ssim", "second by ssim"]
        assert list(of_runs.beside(batches(), [])) == ["first", "second"]

    def test_a_measure_that_cannot_judge_an_image_is_left_out(self):
        images = protocol.CorrectImages(
            lambda x: tf.reshape(x, [-1, 400]) @ ([[1.0, -1.0]] * 400), [(tf.fill([1, 20, 20, 1], 0.5), [0])]
        )
        (batch,) = protocol.attack_batches(images._model, images, {"fgsm": sa.attacks.FGSM(epsilon=0.6)})
        (record,) = protocol.with_visibility(batch, ["flip", "ssim"]).records
        assert set(record.delivered.visibility) == {"ssim"}
        (record,) = protocol.with_visibility(batch, ["flip"]).records
        assert record.delivered.visibility == {}

    def test_an_error_of_a_measure_ends_the_run(self, monkeypatch):
        def judge(batch: str, names: list[str]) -> str:
            raise ValueError("butteraugli gives no number: it is broken")

        monkeypatch.setattr(protocol, "with_visibility", judge)
        with pytest.raises(ValueError, match="it is broken"):
            list(of_runs.beside(iter(["first", "second"]), ["butteraugli"]))


class TestFigures:
    @pytest.mark.parametrize("measure", ["ssimulacra2", "flip"])
    def test_the_curve_is_p_of_visibility_from_unseen_to_the_worst(self, measure):
        made = recorded()
        (axes,) = plots.visibility({"c4": made}, measure).axes
        lines = {line.get_label(): line for line in axes.lines}
        for name in made.attacks:
            limits, share = lines[plots.label(name)].get_data()
            outcome = made.outcome(name, delivered=True)
            np.testing.assert_array_equal(share, outcome.visibility_characteristic(measure, limits))
            assert limits[0] == MEASURES[measure].ideal
            assert share[-1] == pytest.approx(outcome.p_suc)
        assert axes.get_xlim() == (limits[0], limits[-1])

    def test_a_run_that_was_not_looked_at_is_refused(self):
        with pytest.raises(ValueError, match="measure must be one of ; received 'ssimulacra2'"):
            plots.visibility({"c4": without_visibility(recorded())})

    def test_no_success_is_no_error(self, tmp_path):
        made = recorded()
        failed = [
            dataclasses.replace(record, delivered=dataclasses.replace(record.delivered, success=False))
            for record in made.records
        ]
        plots.save(plots.visibility({"c4": dataclasses.replace(made, records=tuple(failed))}), tmp_path / "v.png")

    def test_eval_figures_draws_it_where_all_runs_have_it(self, seen, tmp_path):
        assert "visibility" in figures.draw({"c4": records.read(seen)}, tmp_path, ["png"])
        assert (tmp_path / "visibility.png").exists()


def test_tables_have_the_share_that_is_visually_lossless():
    made = recorded()
    text = shown(tables.white_box(made, {"model": "a", "dataset": "b"}), *tables.visibility(made))
    for name in made.attacks:
        p_lossless = made.outcome(name, delivered=True).p_lossless
        assert f"{p_lossless:.3f}" in text
        assert tables.attack_summary(made, name)["p_lossless"] == p_lossless
    assert "P90: P8 at a SSIMULACRA2 of at least 90" in " ".join(text.split())
    assert "points of 100" in text
    assert "larger" in text


def test_many_attacks_are_several_tables_of_80_columns():
    made = recorded(count=4, attacks=tuple(f"a{number}" for number in range(14)))
    found = list(tables.visibility(made))
    assert [len(table.columns) for table in found] == [8, 8, 4]
    assert "…" not in shown(*found)


class TestFront:
    @pytest.mark.parametrize("measure", ["ssimulacra2", "flip"])
    def test_least_visible_is_the_best_success_of_each_image(self, measure):
        made = recorded(attacks=tuple("abcd"))
        front = Front.of(made)
        scores = {(record.attack, record.index): record.delivered for record in made.records}
        best = max if measure == "ssimulacra2" else min
        for image, place in enumerate(front.least_visible(measure)):
            candidates = [score for (_, at), score in scores.items() if at == image and score.success]
            if not candidates:
                assert place == -1
            else:
                picked = scores[front.attacks[place], image]
                assert picked.success
                assert picked.visibility[measure] == best(score.visibility[measure] for score in candidates)
        assert "SSIMULACRA2" in repr(front)

    def test_a_measure_that_was_not_taken(self):
        with pytest.raises(ValueError, match="measure must be one of 'ssimulacra2', 'flip'; received 'ssim'"):
            Front.of(recorded()).least_visible("ssim")

    @pytest.mark.slow
    def test_from_python_of_a_linear_model(self):
        model = Linear(3, (16, 16, 1))
        attacks = over_alpha(sa.attacks.FMN(5, delivery=sa.Levels()), [0.0, 0.9])
        found = sa.front(model, model.images, model.labels, attacks, measures=["ssim"])
        for place in range(2):
            expected = sa.visibility(model.images, found.delivered[place], "ssim")["ssim"]
            assert found.visibility["ssim"][place].tolist() == expected.tolist()

    @pytest.mark.slow
    def test_over_a_folder(self, linear, tmp_path):  # noqa: F811
        config = Config(
            num_images=6,
            attacks=("fmn",),
            alphas=(0.0, 0.95),
            gradients=8,
            delivery="8bit",
            save_images=True,
            output=tmp_path,
        )
        front, picked, made = front_of_runs.evaluate(linear, config, 1.5, "ssim")
        assert made.measures == OF_DIGITS
        np.testing.assert_array_equal(picked, front.least_visible("ssim"))
        kept = json.loads((tmp_path / "front.json").read_text())
        assert kept["pick"] == "ssim"
        assert "premium" not in kept
        for name in front.attacks:
            assert kept["attacks"][name]["ssim"] == made.outcome(name, delivered=True).mean_visibility("ssim")
        chosen = front.chosen(front.visibility["ssim"], picked)
        assert f" SSIM {np.mean(chosen):.5f}," in front_of_runs.means(front, picked)
        with pytest.raises(ValueError, match="ssimulacra2 judges images of at least 225 pixels a side"):
            front_of_runs.evaluate(linear, config, 1.5, "ssimulacra2")
        with pytest.raises(ValueError, match="pick must be one of 'smoothest', 'ssimulacra2'"):
            front_of_runs.evaluate(linear, config, 1.5, "best")


def test_evaluate_takes_measures_too():
    model = Linear(2, (16, 16, 1))
    made = sa.evaluate(model, [(model.images, model.labels)], {"fgsm": sa.attacks.FGSM(0.1)}, measures=["ssim"])
    assert made.measures == ["ssim"]


def test_cards_of_the_gallery_have_ssimulacra2_where_it_is_known(seen):
    finished = records.read(seen)
    pixels = np.zeros([28, 28, 1], np.uint8)
    for score, expected in ((98.5, 98.5), (None, None)):
        known = {} if score is None else {"ssimulacra2": score}
        record = finished.run.records[0]
        record = dataclasses.replace(record, delivered=dataclasses.replace(record.delivered, visibility=known))
        card = gallery.card(gallery.Entry("a", finished, record), pixels, pixels, {})
        assert card["visibility"] == expected
