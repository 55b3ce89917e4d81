"""Robust accuracy: Wilson's interval and McNemar's test by their closed forms, the conventions by hand."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any, ClassVar

import numpy as np
import pytest

from tf_smoothadv import robustness
from tf_smoothadv.evaluation import outputs
from tf_smoothadv.evaluation.records import Finished
from tf_smoothadv.evaluation.rendering import page_tables, tables
from tf_smoothadv.evaluation.rendering.terminal import NONE
from tf_smoothadv.metrics import Record, Run, Score


def record(index: int, distortion: float, trace: tuple[tuple[int, float], ...] = (), success: bool = True) -> Record:
    score = Score(success, distortion, 0.1, 1)
    return Record(index, "fmn", 0, score, score, 100, 0.0, trace)


class TestWilson:
    @pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
    @pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (10, 10), (360, 1000), (1, 1)])
    def test_is_where_the_score_test_just_rejects(self, successes, count, confidence):
        """The ends p solve (share - p)^2 = z^2 p (1 - p) / count."""
        z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
        found = robustness.wilson(successes, count, confidence)
        share = successes / count
        ends = np.roots([1 + z**2 / count, -2 * share - z**2 / count, share**2])
        np.testing.assert_allclose([found.low, found.high], sorted(ends.real), atol=1e-9)
        assert found.value == share

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((1, 0), "count must be an integer of at least 1; received 0"),
            ((-1, 5), "successes must be an integer of at least 0; received -1"),
            ((6, 5), "successes must be at most count; received successes=6, count=5"),
            ((1.5, 5), "successes must be an integer of at least 0; received 1.5"),
            ((1, 5, 1.0), r"confidence must be a number in \(0, 1\); received 1.0"),
        ],
    )
    def test_refuses_what_is_no_share(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            robustness.wilson(*arguments)


class TestRobustAccuracy:
    def test_counts_over_all_images_and_those_misclassified_as_lost(self):
        distortions = [0.4, 1.0, 3.0, math.inf, 0.0, math.inf]
        correct = [True, True, True, True, False, False]
        assert robustness.robust(distortions, correct, 1.0).tolist() == [False, False, True, True, False, False]
        assert robustness.robust_accuracy(distortions, correct, 1.0) == robustness.wilson(2, 6)
        assert robustness.robust_accuracy(distortions, correct, 5.0).value == 1 / 6

    def test_a_projection_to_epsilon_is_within_epsilon_whatever_float32_makes_of_its_norm(self):
        above = np.float32(2.0) + np.spacing(np.float32(2.0))
        assert not robustness.robust([above], [True], 2.0)[0]
        assert robustness.robust([2.001], [True], 2.0)[0]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([1.0], [True], 0.0), r"epsilon must be a number in \(0, inf\); received 0.0"),
            (([1.0], [True, False], 1.0), r"one shape \[N\]; received \(1,\) and \(2,\)"),
            (([[1.0]], [[True]], 1.0), r"one shape \[N\]; received \(1, 1\)"),
        ],
    )
    def test_refuses_what_is_no_image_each(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            robustness.robust_accuracy(*arguments)

    def test_of_a_run_is_over_its_images_at_every_budget(self):
        records = record(7, 1.5, ((3, 2.25), (8, 1.5))), record(2, 0.5, ((6, 0.5),)), record(4, 9.0, success=False)
        run = Run(records, num_images=5, num_correct=3)
        assert run.robust("fmn", 2.0) == {4}
        assert [run.robust("fmn", 2.0, budget) for budget in (0, 6, 8)] == [{2, 4, 7}, {4, 7}, {4}]
        assert run.robust_accuracy("fmn", 1.0) == robustness.wilson(2, 5)
        assert run.robust_accuracy("fmn", 2.5, gradients=3) == robustness.wilson(2, 5)
        assert run.robust("fmn", 1.0, 100) == run.robust("fmn", 1.0)

    def test_of_all_attacks_together_is_what_none_of_them_gets(self):
        other = (dataclasses.replace(record(index, size), attack="alma") for index, size in enumerate((3.0, 0.5, 3.0)))
        run = Run((record(0, 0.5), record(1, 1.5), record(2, 2.5), *other), num_images=4, num_correct=3)
        assert [run.robust(name, 1.0) for name in ("fmn", "alma", None)] == [{1, 2}, {0, 2}, {2}]
        assert run.robust_accuracy(None, 1.0) == robustness.wilson(1, 4)


class TestMcNemar:
    @pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (2, 9), (9, 2), (5, 5), (0, 12), (30, 14)])
    def test_is_twice_the_smaller_tail_of_fair_coins(self, only_a, only_b):
        a = [True] * only_a + [False] * only_b + [True] * 7 + [False] * 3
        b = [False] * only_a + [True] * only_b + [True] * 7 + [False] * 3
        tail = sum(math.comb(only_a + only_b, k) for k in range(min(only_a, only_b) + 1)) / 2 ** (only_a + only_b)
        assert robustness.mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)

    def test_without_a_difference_it_is_one(self):
        assert robustness.mcnemar([True, False], [True, False]) == 1.0

    def test_refuses_other_images(self):
        with pytest.raises(ValueError, match=r"a and b must have one shape \[N\]; received \(1,\) and \(2,\)"):
            robustness.mcnemar([True], [True, False])


class TestShown:
    RUN = Run((record(0, 0.5), record(1, 1.5), record(2, 2.5)), num_images=4, num_correct=3, epsilons=(1.0, 2.0))
    MADE_WITH: ClassVar[dict[str, Any]] = {
        "model": "a",
        "dataset": "b",
        "settings": "tuned",
        "levels": None,
        "attacks": {"fmn": {}},
    }

    def test_in_a_terminal_with_its_interval(self):
        assert tables.robust_cells(self.RUN, "fmn") == ["0.500", f"0.150{NONE}0.850", "0.250", f"0.046{NONE}0.699"]
        assert tables.robust_cells(self.RUN, "pgd2") == [NONE] * 4
        assert len(list(tables.robust_accuracy(self.RUN))) == 1
        assert list(tables.robust_accuracy(dataclasses.replace(self.RUN, epsilons=()))) == []

    def test_all_together_where_there_are_several(self):
        (one,) = tables.robust_accuracy(self.RUN)
        again = (dataclasses.replace(record, attack="alma") for record in self.RUN.records)
        (two,) = tables.robust_accuracy(dataclasses.replace(self.RUN, records=(*self.RUN.records, *again)))
        assert [list(table.columns[0].cells) for table in (one, two)] == [["fmn"], ["fmn", "alma", tables.ALL]]
        assert tables.robust_cells(self.RUN, tables.ALL) == tables.robust_cells(self.RUN, "fmn")

    def test_masked_gradients_are_called_so_and_never_robust(self):
        records = (*self.RUN.records[:2], dataclasses.replace(self.RUN.records[2], masked=True))
        run = dataclasses.replace(self.RUN, records=records)
        for attack in ("fmn", tables.ALL):
            assert tables.robust_cells(run, attack) == ["masked", "at most 0.500", "masked", "at most 0.250"]
        assert outputs.summary(run, self.MADE_WITH)["attacks"]["fmn"]["masked_images"] == 1

    def test_in_the_summary(self):
        found = outputs.summary(self.RUN, self.MADE_WITH)["attacks"]["fmn"]["robust_accuracy"]
        assert found == {name: dataclasses.asdict(robustness.wilson(count, 4)) for name, count in (("1", 2), ("2", 1))}

    def test_of_two_models_compared_on_a_page(self, tmp_path):
        other = dataclasses.replace(self.RUN, records=(record(0, 3.0), record(1, 1.5), record(2, 3.0)))
        names = ["0", "1", "2", "3"]
        runs = {
            name: Finished(tmp_path, name, "b", "tuned", None, names, "c", {"fmn": {}}, run)
            for name, run in (("one", self.RUN), ("two", other))
        }
        robust, compared = [table for table in page_tables.white_box(runs) if "Robust" in table.caption]
        assert robust.rows["fmn"][0] == tables.robust_cells(self.RUN, "fmn")
        assert compared.rows["fmn"] == [["0", "1", "1", "0", "1", "1"]]
