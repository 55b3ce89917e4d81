"""Optimality by closed forms, and beside AttackBench's own formula on curves of many points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tf_smoothadv import optimality
from tf_smoothadv.evaluation.rendering import page_tables, tables
from tf_smoothadv.metrics import Record, Run, Score
from tf_smoothadv.optimality import local_optimality, overall_optimality

INF = math.inf


def record(index: int, attack: str, distortion: float, success: bool = True, delivered: float | None = None) -> Record:
    score = Score(success, distortion, 0.1, 1)
    rounded = dataclasses.replace(score, distortion=delivered or distortion)
    return Record(index, attack, 0, score, rounded, 100, 0.0, ((4, 2 * distortion), (60, distortion)) * success)


def by_trapezoids(distortions: np.ndarray, best: np.ndarray) -> float:
    """AttackBench's: areas under the points (distance, robust accuracy), the attack's clipped where the best ends."""

    def area(values: np.ndarray) -> float:
        points, counts = np.unique(values, return_counts=True)
        robust = 1 - np.cumsum(counts) / len(values)
        return float(np.sum((robust[1:] + robust[:-1]) / 2 * np.diff(points)))

    end, least = best.max(), area(best)
    return 1 - (area(np.minimum(distortions, end)) - least) / (np.mean(best > 0) * end - least)


class TestLocal:
    def test_an_attack_alone_is_the_best(self):
        assert local_optimality([[1.0, 2.0, 0.5]]).tolist() == [1.0]
        assert local_optimality([[1.0, 2.0, INF]]).tolist() == [1.0]

    def test_an_attack_that_never_succeeds_has_none(self):
        assert local_optimality([[1.0, 2.0], [INF, INF]]).tolist() == [1.0, 0.0]

    def test_curves_integrated_by_hand(self):
        """rho_best is 1 to 1, 2/3 to 2, 1/3 to 4; the second's 1 to 2, 2/3 to 3, 1/3 to the end at 4."""
        first, second = local_optimality([[1.0, 2.0, 4.0], [2.0, 3.0, 9.0]])
        best_area, second_area = 1 + 2 / 3 + 2 / 3, 2 + 2 / 3 + 1 / 3
        assert first == 1.0
        np.testing.assert_allclose(second, (4 - second_area) / (4 - best_area))

    def test_the_best_is_taken_image_by_image(self):
        """Each is best on one of two images: of 3 - 1 and 3 - 2 it takes the one and half of the other, or none."""
        np.testing.assert_allclose(local_optimality([[1.0, 2.5], [2.0, 2.0]], 3.0), [2.5 / 3, 2 / 3])

    def test_the_areas_are_those_of_the_curves(self):
        rng = np.random.default_rng(0)
        distortions = rng.uniform(0.1, 3.0, [4, 50])
        end, grid = 2.0, np.linspace(0, 2.0, 200_001)
        curves = np.array(
            [np.mean(row[:, None] > grid[None, ::50], axis=0) for row in [*distortions, distortions.min(0)]]
        )
        taken = np.mean(1 - curves, axis=1)
        np.testing.assert_allclose(local_optimality(distortions, end), taken[:-1] / taken[-1], atol=2e-3)

    def test_beside_the_trapezoids_of_attackbench_on_many_images(self):
        rng = np.random.default_rng(1)
        distortions = rng.gamma(4.0, 0.3, [3, 4000]) * np.array([[1.0], [1.2], [2.0]])
        distortions[:, :400] = 0.0  # wrong unattacked
        best = distortions.min(axis=0)
        theirs = [by_trapezoids(row, best) for row in distortions]
        np.testing.assert_allclose(local_optimality(distortions), theirs, atol=1e-3)

    def test_neither_the_order_nor_images_that_are_wrong_unattacked_change_it(self):
        rng = np.random.default_rng(2)
        distortions = rng.uniform(0.5, 2.0, [3, 30])
        expected = local_optimality(distortions)
        np.testing.assert_allclose(local_optimality(distortions[[2, 0, 1]]), expected[[2, 0, 1]])
        np.testing.assert_allclose(local_optimality(distortions[:, rng.permutation(30)]), expected)
        np.testing.assert_allclose(local_optimality(np.hstack([distortions, np.zeros([3, 5])])), expected)
        np.testing.assert_allclose(local_optimality(7 * distortions), expected)

    def test_images_that_resist_every_attack_change_nothing(self):
        distortions = np.array([[1.0, 2.0, 3.0], [1.5, 2.0, 2.0]])
        resisting = np.hstack([distortions, np.full([2, 2], INF)])
        np.testing.assert_allclose(local_optimality(resisting), local_optimality(distortions))

    def test_without_any_success_it_is_not_known(self):
        assert np.isnan(local_optimality([[INF, INF], [INF, INF]])).all()
        assert np.isnan(local_optimality([[0.0], [0.0]])).all()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([1.0, 2.0],), r"distortions must have the shape \[A, B\], at least 1 each; received \(2,\)"),
            ((np.zeros([2, 0]),), r"at least 1 each; received \(2, 0\)"),
            (([[1.0, -1.0]],), "distortions must be at least 0, infinite where there is no success"),
            (([[1.0, math.nan]],), "distortions must be at least 0, infinite where there is no success"),
            (([[0.0, 1.0], [1.0, 1.0]],), "an image of distortion 0 is wrong unattacked, and must have 0 in every row"),
            (([[1.0]], 0.0), r"epsilon_0 must be a number .*; received 0.0"),
            (([[1.0]], INF), r"epsilon_0 must be a number .*; received inf"),
        ],
    )
    def test_refuses_what_it_cannot_compare(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            local_optimality(*arguments)


class TestOverall:
    def test_is_the_mean_over_models(self):
        np.testing.assert_allclose(overall_optimality([[1.0, 0.2], [0.6, 0.4], [0.2, 0.0]]), [0.6, 0.2])

    @pytest.mark.parametrize("local", [[1.0], [[]], [[1.1]], [[math.nan]]])
    def test_refuses_what_is_no_optimality(self, local):
        with pytest.raises(ValueError, match="local must"):
            overall_optimality(local)


def test_a_gradient_is_a_forward_and_a_backward():
    assert [optimality.gradients_within(queries) for queries in (2, 3, 2000)] == [1, 1, 1000]
    with pytest.raises(ValueError, match="queries must be an integer of at least 2; received 1"):
        optimality.gradients_within(1)


class TestRuns:
    def made(self) -> Run:
        first = [record(index, "fmn", distortion, delivered=4.0) for index, distortion in enumerate((1.0, 4.0))]
        second = [record(0, "cw", 2.0), record(1, "cw", 9.0, success=False)]
        return Run((*first, *second), num_images=3, num_correct=2)

    def test_of_a_run_as_computed_delivered_and_within_a_budget(self):
        run = self.made()
        np.testing.assert_allclose(list(run.optimality().values()), [1.0, 2 / 3])
        np.testing.assert_allclose(list(run.optimality(delivered=True).values()), [0.0, 1.0])
        within = run.optimality(queries=100)  # 50 gradients: 2, 8 and 4, none
        np.testing.assert_allclose(list(within.values()), [1.0, 4 / 6])

    def test_of_the_images_that_all_attacks_have(self):
        run = self.made()
        alone = dataclasses.replace(run, records=(*run.records, record(2, "fmn", 7.0)), num_correct=3)
        assert alone.optimality() == run.optimality()

    def test_queries_have_no_trace_of_what_is_delivered(self):
        with pytest.raises(ValueError, match="queries is of what is computed: leave it out with delivered=True"):
            self.made().optimality(delivered=True, queries=100)

    def test_tables_have_it_where_there_are_attacks_to_compare(self):
        run = self.made()
        assert tables.attack_summary(run, "cw")["optimality"] == run.optimality()["cw"]
        (table,) = tables.optimality(run)
        assert [list(column.cells) for column in table.columns] == [
            ["fmn", "cw"],
            ["1.000", "0.667"],
            ["0.000", "1.000"],
        ]
        one = Run(run.records[:2], 3, 2)
        assert not list(tables.optimality(one))
        assert "optimality" not in tables.attack_summary(one, "fmn")

    def test_a_page_has_it_beside_distortion(self):
        shown = [column for column in page_tables.shown(self.made()) if column.part == "optimality"]
        assert [page_tables.HEADINGS[column.key] for column in shown] == [tables.COMPUTED, tables.DELIVERED]
