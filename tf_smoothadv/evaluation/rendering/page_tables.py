"""The tables of a page: rows, groups of columns, cells as text."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from tf_smoothadv import metrics, robustness
from tf_smoothadv.detection import Detectability
from tf_smoothadv.evaluation.records import Finished, read_blind, read_detectability
from tf_smoothadv.evaluation.rendering import blind_tables, published, tables
from tf_smoothadv.evaluation.rendering.terminal import NONE, number
from tf_smoothadv.visibility import MEASURES

__all__ = [
    "HEADINGS",
    "P_E",
    "Table",
    "blind",
    "cells",
    "compared",
    "detection",
    "interval",
    "shown",
    "transfer",
    "white_box",
]

INTERVAL = "95 %"
P_SUC = Markup("P<sub>suc</sub>")
P_E = Markup("P<sub>E</sub>")
HEADINGS = {
    "p_suc": P_SUC,
    "mean_distortion": "D",
    "smoothness_energy": "E",
    "p_suc_8bit": P_SUC,
    "mean_distortion_8bit": "D",
    "smoothness_energy_8bit": "E",
    "gradients_per_image": "gradients",
    "seconds_per_image": "ms",
    "p_lossless": P_SUC + "90",
    "optimality": tables.COMPUTED,
    "optimality_8bit": tables.DELIVERED,
}


class _Group(NamedTuple):
    """Columns of a table under one heading.

    Attributes:
        heading: the network.
        note: its accuracy.
        parts: columns by what they have in common.
    """

    heading: str
    note: str
    parts: dict[str, list[str]]


class Table(NamedTuple):
    """A table of the paper.

    Attributes:
        caption: what it is about.
        groups: its columns but the first.
        rows: by their heading, for each group a cell a column.
    """

    caption: str
    groups: list[_Group]
    rows: dict[str, list[list[str]]]


def white_box(runs: Mapping[str, Finished]) -> list[Table]:
    """Tables 1 and 2 of the paper, and what the eye sees: for a dataset, a row an attack, a group of columns a run."""
    by_dataset = collections.defaultdict(list)
    for name, finished in runs.items():
        by_dataset[finished.dataset].append((name, finished))
    made = []
    for dataset, group in by_dataset.items():
        seen = {name: finished for name, finished in group if finished.run.measures}
        told = {name: finished for name, finished in group if finished.run.epsilons}
        made += [_white_box_table(dataset, dict(group)), *([_robust_table(dataset, told)] if told else [])]
        made += [*compared(dataset, told), *([_visibility_table(dataset, seen)] if seen else [])]
    return made


def _visibility_table(dataset: str, runs: Mapping[str, Finished]) -> Table:
    """The measures that each run took, those of which larger is less visible first."""
    groups = []
    rows: dict[str, list[list[str]]] = {attack: [] for finished in runs.values() for attack in finished.run.attacks}
    for name, finished in runs.items():
        measures = sorted(finished.run.measures, key=lambda measure: not MEASURES[measure].larger_is_better)
        parts: dict[str, list[str]] = {}
        for row in (MEASURES[measure] for measure in measures):
            parts.setdefault(f"{'larger' if row.larger_is_better else 'smaller'} is less visible", []).append(
                row.heading
            )
        groups.append(_Group(name, "means over the successes", parts))
        for attack, groups_of_cells in rows.items():
            groups_of_cells.append(cells(finished, attack, [tables.VISIBILITY[measure] for measure in measures]))
    return Table(f"White-box attacks on {dataset} as the eye sees them, in 8 bits", groups, rows)


def _robust_table(dataset: str, runs: Mapping[str, Finished]) -> Table:
    """Robust accuracy at the epsilons of each run."""
    attacks = dict.fromkeys(attack for finished in runs.values() for attack in finished.run.attacks)
    groups = [
        _Group(
            name,
            f"of {finished.run.num_images} images",
            {f"at {epsilon:g}": ["share", INTERVAL] for epsilon in finished.run.epsilons},
        )
        for name, finished in runs.items()
    ]
    names = [*attacks, *[tables.ALL] * (len(attacks) > 1)]
    rows = {name: [tables.robust_cells(one.run, name) for one in runs.values()] for name in names}
    return Table(f"Robust accuracy on {dataset}, L2", groups, rows)


def compared(dataset: str, runs: Mapping[str, Finished]) -> list[Table]:
    """For every two runs on the same images, on how many of these the one is robust and the other is not.

    The p-value is that of McNemar's exact test, for models that are equally robust.
    """
    made = []
    for (name, one), (other, two) in itertools.combinations(runs.items(), 2):
        epsilons = [epsilon for epsilon in one.run.epsilons if epsilon in two.run.epsilons]
        attacks = [attack for attack in one.run.attacks if attack in two.run.attacks]
        if (one.data, one.images) == (two.data, two.images) and epsilons and attacks:
            rows = {attack: [tables.compared_cells(one.run, two.run, attack, epsilons)] for attack in attacks}
            parts = {f"at {epsilon:g}": ["first", "second", "p"] for epsilon in epsilons}
            group = _Group(f"{name}, then {other}", "images that it alone is robust on", parts)
            made.append(Table(f"Robust accuracy compared on {dataset}, McNemar", [group], rows))
    return made


def _white_box_table(dataset: str, runs: Mapping[str, Finished]) -> Table:
    """P_suc, distortion and energy of every attack, what it costs, and what the paper has."""
    groups = []
    attacks = dict.fromkeys(attack for finished in runs.values() for attack in finished.run.attacks)
    rows: dict[str, list[list[str]]] = {attack: [] for attack in attacks}
    for name, finished in runs.items():
        run = finished.run
        paper = published.on(dataset, finished.model)
        parts = {**_own_parts(run), **_published_part(paper)}
        note = f"accuracy {run.accuracy:.3f}: {run.num_correct} of {run.num_images} images"
        groups.append(_Group(name, note, parts))
        for attack, groups_of_cells in rows.items():
            groups_of_cells.append(cells(finished, attack, shown(run)) + _published_cells(paper, attack))
    return Table(f"White-box attacks on {dataset}", groups, rows)


def _own_parts(run: metrics.Run) -> dict[str, list[str]]:
    """The headings of an attack's own numbers, by what is over them."""
    parts: dict[str, list[str]] = {}
    for column in shown(run):
        parts.setdefault(str(column.part), []).extend([HEADINGS[column.key], *[INTERVAL] * column.is_share])
    return parts


def shown(run: metrics.Run) -> list[tables.Column]:
    """The columns of a run on a page, those of one part side by side."""
    columns = tables.columns(run)
    parts = list(dict.fromkeys(column.part for column in columns if column.part))
    return [column for part in parts for column in columns if column.part == part]


def cells(finished: Finished, attack: str, columns: Sequence[tables.Column]) -> list[str]:
    """An attack's own numbers, shares with their intervals; dashes for an attack that the run does not have."""
    run, made = finished.run, []
    for column in columns:
        value = column.value(run, attack) if attack in run.attacks else math.nan
        made.append(number(column.scale * value, column.page_digits))
        if column.is_share:
            made.append(interval(value, run.num_correct))
    return made


def interval(share: float, count: int) -> str:
    """Wilson's of 95 % of a share of so many; a dash for NaN."""
    if math.isnan(share):
        return NONE
    found = robustness.wilson(round(share * count), count)
    return f"{found.low:.3f}{NONE}{found.high:.3f}"


def detection(runs: Mapping[str, Finished]) -> list[Table]:
    """How well a detector finds the images of each attack, of the runs where `eval.detect` has measured it."""
    found = {name: detected for name, finished in runs.items() if (detected := read_detectability(finished))}
    colors = dict.fromkeys(color for detected in found.values() for color in tables.detected_colors(detected))
    return [_detection_table(color, {name: runs[name] for name in found}, found) for color in colors]


def _detection_table(
    color: str, runs: Mapping[str, Finished], found: Mapping[str, Mapping[str, Mapping[str, Detectability]]]
) -> Table:
    """The numbers of features of one kind: a row an attack, a group of columns a run."""
    told = ["value", INTERVAL]
    parts = {"": ["images"], "AUC": told, P_E: told, "found at 5 % false alarms": ["share", INTERVAL]}
    groups = [_Group(name, f"on {finished.dataset}", parts) for name, finished in runs.items()]
    successes = {name: finished.successes() for name, finished in runs.items()}
    rows = {
        attack: [
            [
                str(len(successes[name].get(attack, []))),
                *tables.detection_cells(found[name].get(attack, {}).get(color)),
            ]
            for name in runs
        ]
        for attack in dict.fromkeys(attack for finished in runs.values() for attack in finished.run.attacks)
    }
    return Table(f"Original against delivered images, told apart by SPAM features of {color}", groups, rows)


def blind(runs: Mapping[str, Finished]) -> list[Table]:
    """What persons saw, of the runs where `eval.blind` has scored their answers: a table a run, a row an attack."""
    parts, made = {"": ["answers"], "right": ["share", INTERVAL], "against chance": ["d'", "p", "verdict"]}, []
    for name, finished in runs.items():
        if findings := read_blind(finished):
            group = _Group(name, blind_tables.observers(findings), parts)
            rows = {attack: [blind_tables.cells(findings.attacks.get(attack))] for attack in finished.run.attacks}
            made.append(Table(f"Seen by persons on {finished.dataset}: {blind_tables.told(findings)}", [group], rows))
    return made


def transfer(summary: Mapping[str, Any]) -> list[Table]:
    """Table 3 of the paper for each source: a row an attack, a group of columns a network that judges."""
    dataset, result = summary["dataset"], []
    for source, by_attack in summary["transfer"].items():
        groups = []
        rows: dict[str, list[list[str]]] = {attack: [] for attack in by_attack}
        for target, accuracy in summary["accuracy"].items():
            paper = published.transferred(dataset, source, target)
            parts = {"in 8 bits": [P_SUC, INTERVAL, "D", P_SUC + "*"], **_published_part(paper)}
            groups.append(_Group(target, f"accuracy {accuracy:.3f}", parts))
            for attack, on_targets in by_attack.items():
                scores = on_targets[target]
                own = [("p_suc", 3), ("mean_distortion", 2), ("p_suc_correct", 3)]
                cells = [number(scores[key], digits) for key, digits in own]
                cells.insert(1, interval(scores["p_suc"], summary["num_correct"][source]))
                rows[attack].append(cells + _published_cells(paper, attack))
        count = f"{summary['num_correct'][source]} of {summary['num_images']} images of {dataset}"
        result.append(Table(f"Attacks on {source}, judged by each network: {count}", groups, rows))
    return result


def _published_part(paper: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of the paper's numbers, where it has any."""
    return {"paper": [P_SUC, "D"]} if paper else {}


def _published_cells(paper: Mapping[str, tuple[float, float]], attack: str) -> list[str]:
    """The cells of those columns; dashes for an attack that the paper does not have."""
    return [number(value, 2) for value in paper.get(attack, (math.nan, math.nan))] if paper else []
