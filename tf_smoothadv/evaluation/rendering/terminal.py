"""What the binaries show while they run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import rich.console
import rich.markup
import rich.progress
import rich.text

__all__ = [
    "NONE",
    "advance",
    "begin",
    "compact",
    "doing",
    "is_due",
    "number",
    "print_settings",
    "progress",
    "progress_text",
]

NONE = "\N{EN DASH}"
SECONDS_BETWEEN = 10.0  # lines at first, where there is no terminal ...
SHARE_BETWEEN = 0.05  # ... and then this share of the time that has passed: some 200 lines in a month
DAY = 24 * 3600


def progress(terminal: rich.console.Console) -> rich.progress.Progress:
    """A bar for the tasks of `begin`, which `advance` moves; a line now and then where there is no terminal."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description:6}", markup=False),
        rich.progress.BarColumn(10),
        _Told(),
        console=terminal,
    )


def begin(bar: rich.progress.Progress, name: str, total: int, known: int = 0) -> rich.progress.TaskID:
    """A task of so many images times attacks, some of which are known already."""
    return bar.add_task(name, total=total, completed=known, known=known, gradients=0, told=0.0)


def advance(
    bar: rich.progress.Progress,
    task: rich.progress.TaskID,
    images: int,
    gradients: int = 0,
    total: int | None = None,
    name: str | None = None,
) -> None:
    """Moves a task of `begin` on by images that took so many gradients together.

    Args:
        bar, task: see `progress` and `begin`.
        images, gradients: which have come since.
        total: of the task, where more is known of it by now.
        name: what it is at.
    """
    one = next(other for other in bar.tasks if other.id == task)
    bar.update(
        task,
        advance=images,
        total=one.total if total is None else total,
        description=name,
        gradients=one.fields["gradients"] + gradients,
    )
    seconds = one.elapsed or 0.0
    if not bar.console.is_terminal and is_due(seconds, one.fields["told"]):
        name = f"{one.description}: " if one.description else ""
        bar.console.print(f"{name}{_text_of(one)}", markup=False, soft_wrap=True)
        bar.update(task, told=seconds)


def is_due(seconds: float, told: float) -> bool:
    """Whether it is time for a line, so long after the begin, where the last one came at `told`.

    >>> [is_due(seconds, told=0.0) for seconds in (9, 10)], [is_due(seconds, told=1000.0) for seconds in (1049, 1050)]
    ([False, True], [False, True])
    """
    return seconds - told >= max(SECONDS_BETWEEN, SHARE_BETWEEN * told)


def progress_text(done: int, total: int, seconds: float = 0.0, gradients: int = 0, known: int = 0) -> str:
    """How far a run has come, how fast it is, what it cost, and how long it will take.

    Args:
        done: images, times attacks, that have been attacked.
        total: of them.
        seconds: since this run began.
        gradients: of the network, that it took in this time.
        known: how many of `done` an earlier run had made, which took none of the time.

    >>> progress_text(150, 400, seconds=50.0, gradients=10_000, known=50)
    '150 of 400 images, 2.0 images/s, 10,000 gradients, 0:02:05 left'
    >>> progress_text(50, 400, known=50)
    '50 of 400 images'
    """
    text = f"{done:,} of {total:,} images"
    if done <= known or seconds <= 0:
        return text
    rate = (done - known) / seconds
    cost = f", {gradients:,} gradients" if gradients else ""
    return f"{text}, {rate:,.{1 if rate >= 1 else 3}f} images/s{cost}, {_duration((total - done) / rate)} left"


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds, after days where there are any.

    >>> _duration(59.6), _duration(100_000)
    ('0:01:00', '1 d 3:46:40')
    """
    days, rest = divmod(round(seconds), DAY)
    return f"{f'{days} d ' if days else ''}{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"


class _Told(rich.progress.ProgressColumn):
    """`progress_text` of a task of `begin`."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        return rich.text.Text(_text_of(task), no_wrap=True, overflow="ellipsis")


def _text_of(task: rich.progress.Task) -> str:
    fields = task.fields
    done, total = round(task.completed), round(task.total or 0)
    return progress_text(done, total, task.elapsed or 0.0, fields["gradients"], fields["known"])


@contextlib.contextmanager
def doing(what: str) -> Iterator[Callable[[str], None]]:
    """One line that says what is being done and for how long, gone at the end; nothing where there is no terminal.

    Args:
        what: is being done at first.

    Returns:
        A function that changes it. What is printed meanwhile stands above the line.
    """
    line = rich.progress.Progress(
        rich.progress.SpinnerColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.description}", markup=False),
        console=rich.console.Console(highlight=False),
        transient=True,
    )
    task = line.add_task(what, total=None)
    with line if line.console.is_terminal else contextlib.nullcontext():
        yield lambda what: line.update(task, description=what)


def print_settings(terminal: rich.console.Console, attacks: Mapping[str, Any]) -> None:
    """The parameters of each attack, plain values by name."""
    for name, values in attacks.items():
        escaped, text = rich.markup.escape(name), rich.markup.escape(compact(values))
        terminal.print(f"[bold]{escaped}[/bold] {text}", soft_wrap=True)


def number(value: float, digits: int) -> str:
    """A cell of a table; a dash for NaN."""
    return NONE if math.isnan(value) else f"{value:,.{digits}f}"


def compact(values: Any) -> str:
    """Settings as text: key=value, without what is not set."""
    if isinstance(values, dict):
        return ", ".join(f"{key}={compact(value)}" for key, value in values.items() if value is not None)
    if isinstance(values, (list, tuple)):
        return f"[{values[0]:.3g} to {values[-1]:.3g} in {len(values)}]"
    return f"{values:.4g}" if isinstance(values, float) else str(values)
