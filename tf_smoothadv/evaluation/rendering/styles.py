"""How attacks and networks look in figures: names, colours, markers, lines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import presets

__all__ = ["LINES", "OTHERS", "label", "styles"]

OTHERS = (  # attacks of other names, in turns
    ("#F0E442", "p"),
    ("#0072B2", "h"),
    ("#D55E00", "d"),
    ("#56B4E9", "8"),
    ("#E69F00", "H"),
    ("#CC79A7", "1"),
    ("#000000", "2"),
    ("#999999", "3"),
)
LINES = ("-", ":", "--", "-.")  # a network each, as in figure 3


def label(name: str) -> str:
    """An attack's name as matplotlib shows it: no part of it is a formula."""
    return presets.label(name).replace("$", r"\$")


def styles(runs: Mapping[str, metrics.Run]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each attack of the runs."""
    attacks = dict.fromkeys(attack for run in runs.values() for attack in run.attacks)
    others = dict(zip((attack for attack in attacks if attack not in presets.ENTRIES), itertools.cycle(OTHERS)))
    return {name: (entry.color, entry.marker) for name, entry in presets.ENTRIES.items()} | others
