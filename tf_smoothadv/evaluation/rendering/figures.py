"""The paper's figures of several runs, as files."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence

from tf_smoothadv.evaluation.records import Finished
from tf_smoothadv.evaluation.rendering import plots, sheets
from tf_smoothadv.visibility import MEASURES

__all__ = ["draw"]


def draw(
    runs: Mapping[str, Finished],
    output: pathlib.Path,
    formats: Sequence[str] = ("png", "pdf"),
    within: Sequence[float] = (),
    magnified: int = 3,
) -> list[str]:
    """Draws them, and returns their names.

    Args:
        runs: by the name to show.
        output: the folder to write NAME.FORMAT to.
        formats: any that matplotlib writes.
        within: distortions at most which the figure of budgets shows success.
        magnified: how many images the magnified sheet shows.
    """
    run = {name: finished.run for name, finished in runs.items()}
    drawn = {
        "characteristic": plots.characteristic(run),
        "plane": plots.plane(run),
        "budget": plots.budget(run, within),
    }
    common = [name for name in MEASURES if all(name in one.measures for one in run.values())]
    if common:
        drawn["visibility"] = plots.visibility(run, common[0])
    for name, finished in runs.items():
        suffix = "_" + re.sub(r"[^\w.-]+", "_", name) if len(runs) > 1 else ""
        for kind, rows in (("worst", sheets.worst(finished)), ("magnified", sheets.magnified(finished, magnified))):
            if rows:
                drawn[kind + suffix] = plots.sheet(rows)
    for kind in formats:
        for name, figure in drawn.items():
            plots.save(figure, output / f"{name}.{kind}")
    return list(drawn)
