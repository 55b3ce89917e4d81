"""What the binaries show while they run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.markup
import rich.progress

__all__ = ["NONE", "compact", "number", "print_settings", "progress"]

NONE = "\N{EN DASH}"


def progress(terminal: rich.console.Console) -> rich.progress.Progress:
    """A bar that counts images times attacks."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description:6}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _ImagesPerSecond(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=terminal,
        speed_estimate_period=600,
    )


class _ImagesPerSecond(rich.progress.ProgressColumn):
    """Images attacked in a second."""

    def render(self, task: rich.progress.Task) -> str:
        return f"{task.completed / task.elapsed if task.elapsed else 0:.1f} images/s"


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
