"""What the binaries show while they run."""

from __future__ import annotations

from typing import Any

import rich.console
import rich.progress

from eval import settings


def progress(terminal: rich.console.Console) -> rich.progress.Progress:
    """A bar that counts images times attacks."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description:6}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        ImagesPerSecond(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=terminal,
        speed_estimate_period=600,
    )


class ImagesPerSecond(rich.progress.ProgressColumn):
    """Images attacked in a second."""

    def render(self, task: rich.progress.Task) -> str:
        return f"{task.completed / task.elapsed if task.elapsed else 0:.1f} images/s"


def print_settings(terminal: rich.console.Console, attacks: settings.Preset) -> None:
    """The parameters of each attack."""
    for name, variants in attacks.items():
        terminal.print(f"[bold]{name}[/bold] {compact(settings.described(variants))}", soft_wrap=True)


def compact(values: Any) -> str:
    """Settings as text: key=value, without what is not set."""
    if isinstance(values, dict):
        return ", ".join(f"{key}={compact(value)}" for key, value in values.items() if value is not None)
    if isinstance(values, (list, tuple)):
        return f"[{values[0]:.3g} to {values[-1]:.3g} in {len(values)}]"
    return f"{values:.4g}" if isinstance(values, float) else str(values)
