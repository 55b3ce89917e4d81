"""Charts of a page: their numbers are those of the run, and what is drawn is what they say."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.rendering import charts, styles, tables, vectors
from tf_smoothadv.evaluation.rendering.terminal import NONE
from tf_smoothadv.metrics import Record, Run, Score


def record(index: int, attack: str, distortion: float, energy: float, success: bool = True) -> Record:
    computed = Score(success, distortion, energy, 1)
    delivered = Score(success, 1.1 * distortion, 2 * energy, 1, visibility={"ssimulacra2": 100 - 10 * distortion})
    trace = ((3, 2 * distortion), (8, distortion)) if success else ()
    return Record(index, attack, 0, computed, delivered, 10 if attack == "fmn" else 20, 0.1, trace)


@pytest.fixture
def run(rng) -> Run:
    records = [
        record(index, attack, float(distortion), float(energy), success=index % 4 > 0)
        for attack in ("fmn", "own")
        for index, (distortion, energy) in enumerate(rng.uniform(0.1, 2, [12, 2]))
    ]
    return Run(tuple(records), 15, 12, (0.5, 1.0))


def drawn(path: str) -> list[tuple[float, float]]:
    """The corners of a staircase, x and y in [0, 1], upwards."""
    corners: list[tuple[float, float]] = []
    for letter, numbers in re.findall(r"([MHV])([\d. ]+)", path):
        values = [float(value) / 1000 for value in numbers.split()]
        x, y = corners[-1] if corners else (0, 0)
        corners.append(
            {"M": lambda v, *_: (v[0], 1 - v[1]), "H": lambda v, y=y: (v[0], y), "V": lambda v, x=x: (x, 1 - v[0])}[
                letter
            ](values)
        )
    return corners


def value(corners: list[tuple[float, float]], x: float) -> float:
    """The height of a staircase at x, of the stair that begins there at the latest."""
    return [y for left, y in corners if left <= x + 1e-9][-1]


def test_the_characteristic_is_that_of_the_run_in_text_and_in_drawing(run):
    chart = charts.characteristic(run)
    for line in chart.lines:
        outcomes = run.outcome(line.name), run.outcome(line.name, delivered=True)
        for stop, (place, text) in enumerate(chart.stops):
            distortion = chart.x.high * stop / (len(chart.stops) - 1)
            assert float(text) == pytest.approx(distortion, rel=1e-3)
            expected = [float(outcome.characteristic(distortion)) for outcome in outcomes]
            assert line.values[stop] == [f"{share:.3f}" for share in expected]
            for path, share in zip(line.paths, expected):
                assert value(drawn(path), place) == pytest.approx(share, abs=1e-3)
    assert [line.values[-1][0] for line in chart.lines] == [f"{run.p_suc[name]:.3f}" for name in run.attacks]


def test_robust_accuracy_has_every_epsilon_with_its_interval(run):
    chart = charts.robust_accuracy(run)
    assert [line.name for line in chart.lines] == ["fmn", "own", tables.ALL]
    texts = [text for _, text in chart.stops]
    for line in chart.lines:
        for epsilon in run.epsilons:
            found = run.robust_accuracy(None if line.name == tables.ALL else line.name, epsilon)
            told = line.values[texts.index(f"{epsilon:g}")]
            assert told == [f"{found.value:.3f}", f"{found.low:.3f}{NONE}{found.high:.3f}"]


def test_masked_gradients_have_no_robust_accuracy(run):
    masked = tuple(dataclasses.replace(one, masked=one.attack == "own") for one in run.records)
    chart = charts.robust_accuracy(dataclasses.replace(run, records=masked))
    assert [line.name for line in chart.lines] == ["fmn"]
    assert chart.note == "Not of own: masked gradients."


def test_over_gradients_is_what_the_traces_tell(run):
    success, median = charts.over_gradients(run)
    for chart in (success, median):
        assert chart.stops[0] == (0, "1")
        assert chart.stops[-1] == (1, "20")
    for shares, medians in zip(success.lines, median.lines):
        progress = run.progress(shares.name)
        for stop, (_, gradients) in enumerate(success.stops):
            assert shares.values[stop] == [f"{progress.p_suc(int(gradients)):.3f}"]
            least = float(progress.median_distortion(int(gradients)))
            assert medians.values[stop] == [f"{least:.3f}" if np.isfinite(least) else NONE]


def test_attacks_whose_gradients_nobody_counted_have_no_line_there(run):
    uncounted = tuple(dataclasses.replace(one, gradients=0, trace=()) for one in run.records if one.attack == "own")
    counted = tuple(one for one in run.records if one.attack == "fmn")
    both = charts.over_gradients(dataclasses.replace(run, records=(*counted, *uncounted)))
    assert [[line.name for line in chart.lines] for chart in both] == [["fmn"]] * 2
    assert list(charts.over_gradients(dataclasses.replace(run, records=uncounted))) == []


def test_more_is_seen_to_the_right(run):
    chart = charts.visibility(run, "ssimulacra2")
    assert (chart.x.low, chart.stops[0][1]) == (100, "100")
    assert chart.x.high < 100
    outcome = run.outcome("fmn", delivered=True)
    shares = [f"{outcome.visibility_characteristic('ssimulacra2', limit):.3f}" for limit in (100, chart.x.high)]
    assert [chart.lines[0].values[stop][0] for stop in (0, -1)] == shares
    assert chart.note == "90 is visually lossless."


def test_the_plane_has_a_point_as_computed_and_an_open_one_in_8_bits(run):
    chart = charts.plane(run)
    for line in chart.lines:
        outcomes = run.outcome(line.name), run.outcome(line.name, delivered=True)
        for (across, up, is_open), outcome, open_expected in zip(line.points, outcomes, (False, True)):
            assert is_open == open_expected
            assert across == pytest.approx(float(chart.x.places([outcome.mean_distortion])[0]))
            assert up == pytest.approx(float(chart.y.places([outcome.mean_smoothness_energy])[0]))
            assert 0 < across < 1
            assert 0 < up < 1


def test_a_run_without_success_has_charts_with_dashes(run):
    failures = tuple(record(index, "fmn", 1.0, float("nan"), success=False) for index in range(3))
    made = list(charts.charts(dataclasses.replace(run, records=failures)))
    assert [chart.caption.split()[0] for chart in made] == ["Success", "Robust", "Success", "Success", "Small"]
    assert made[-1].lines[0].values == [[NONE] * 4]
    assert made[-1].lines[0].points == []


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 4.83, False, [0, 1, 2, 3, 4]),
        (100, 93.7, False, [94, 96, 98, 100]),
        (0, 0.03, False, [0, 0.01, 0.02, 0.03]),
        (1, 300, True, [1, 10, 100]),
        (1, 25, True, [1, 2, 5, 10, 20]),
        (0.09, 0.31, True, [0.1, 0.15, 0.2, 0.25, 0.3]),
        (1.2, 3.3, True, [1.5, 2, 2.5, 3]),
        (1e-9, 1, True, [1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]),
    ],
)
def test_ticks_are_round_numbers(low, high, logarithmic, expected):
    axis = vectors.Axis("", low, high, logarithmic)
    ticks = axis.ticks()
    assert [float(text) for _, text in ticks] == expected
    assert [place for place, _ in ticks] == pytest.approx(axis.places(expected).tolist())


def test_every_marker_of_the_figures_has_an_outline_of_its_own():
    used = {entry.marker for entry in presets.ENTRIES.values()} | {marker for _, marker in styles.OTHERS} | {"*"}
    outlines = {marker: vectors.outline(marker) for marker in used}
    assert len(set(outlines.values())) == len(used)
    for path in outlines.values():
        numbers = [float(one) for one in re.findall(r"-?[\d.]+", path)]
        assert max(map(abs, numbers)) == pytest.approx(5, abs=1.5)
