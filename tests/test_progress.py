"""What a run tells while it goes on."""

from __future__ import annotations

import io
import itertools
import re

import pytest
import rich.console

from tf_smoothadv.evaluation.rendering import terminal
from tf_smoothadv.evaluation.rendering.terminal import is_due, progress_text


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"done": 0, "total": 1000}, "0 of 1,000 images"),
        ({"done": 0, "total": 1000, "seconds": 5.0}, "0 of 1,000 images"),
        ({"done": 7, "total": 7, "seconds": 5.0, "known": 7}, "7 of 7 images"),
        ({"done": 1, "total": 3, "seconds": 100.0}, "1 of 3 images, 0.010 images/s, 0:03:20 left"),
        (
            {"done": 30_000, "total": 1_500_000, "seconds": 2e4, "gradients": 2_000_000, "known": 10_000},
            "30,000 of 1,500,000 images, 1.0 images/s, 2,000,000 gradients, 17 d 0:20:00 left",
        ),
    ],
)
def test_the_rate_is_of_what_this_run_made_and_the_rest_goes_on_like_it(counts, expected):
    assert progress_text(**counts) == expected


def test_lines_become_rarer():
    """One each ten seconds at first; in a month a few hundred, and never more than a twentieth of the time apart."""
    told = [0.0]
    for second in itertools.chain(range(1000), range(1000, 30 * 24 * 3600, 60)):
        if is_due(second, told[-1]):
            told.append(second)
    assert told[1:4] == [10, 20, 30]
    assert 150 < len(told) < 250
    assert all(later - before <= max(11, 0.05 * before + 60) for before, later in itertools.pairwise(told))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_bar_on_a_terminal_and_lines_elsewhere(is_terminal):
    file, clock = io.StringIO(), Clock()
    console = rich.console.Console(file=file, force_terminal=is_terminal, width=80)
    bar = terminal.progress(console)
    bar.get_time = clock
    bar.live.auto_refresh = False
    with bar:
        task = terminal.begin(bar, "", total=40, known=8)
        for seconds, name in ((4, "fmn"), (4, "fmn"), (4, "sfmn"), (4, "sfmn")):
            clock.seconds += seconds
            terminal.advance(bar, task, 8, 800, total=40, name=name)
        bar.refresh()
        text = file.getvalue()
    lines = [line for line in text.splitlines() if line.startswith("sfmn: ")]
    told = "32 of 40 images, 2.0 images/s, 2,400 gradients, 0:00:04 left"
    assert lines == ([] if is_terminal else [f"sfmn: {told}"])
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", file.getvalue()).splitlines()[-1].split("  ")
    assert shown[0].strip().startswith("sfmn")
    assert shown[-1].strip().endswith("40 of 40 images, 2.0 images/s, 3,200 gradients, 0:00:00 left")


@pytest.mark.parametrize("seen", [True, False])
def test_one_line_says_what_is_being_done_where_somebody_sees_it(seen, monkeypatch, capsys):
    monkeypatch.setattr(rich.console.Console, "is_terminal", seen)
    with terminal.doing("loading [one]") as tell:
        tell("judging [another]")
    told = capsys.readouterr().out
    assert ("judging [another]" in told) == seen
    assert bool(told) == seen
