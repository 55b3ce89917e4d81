"""The tables of a run, in numbers, for a terminal and for a page: one list of columns makes all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import rich.box
import rich.markup
import rich.table

from tf_smoothadv import detection as detectors
from tf_smoothadv import metrics, robustness
from tf_smoothadv.evaluation.records import Finished
from tf_smoothadv.evaluation.rendering import published
from tf_smoothadv.evaluation.rendering.terminal import NONE, number
from tf_smoothadv.visibility import LOSSLESS, MEASURES

__all__ = [
    "COLUMNS",
    "COMPUTED",
    "DETECTION_LEGEND",
    "TRANSFER_LEGEND",
    "VISIBILITY",
    "Column",
    "attack_summary",
    "columns",
    "detected_colors",
    "detection",
    "detection_cells",
    "optimality",
    "robust_accuracy",
    "robust_cells",
    "transfer",
    "visibility",
    "white_box",
]

Scores = dict[str, dict[str, float]]

ATTACKS_ABREAST = 6  # in a terminal of 80 columns
LOSSLESS_LEGEND = " P90: P8 at a SSIMULACRA2 of at least 90, visually lossless."


class Column(NamedTuple):
    """One number of an attack.

    Attributes:
        key: its name in summary.json.
        value: from a run and an attack's name; NaN is what is not known.
        heading: in a terminal; None where it is not shown there.
        part: the heading over it on a page; None where it is not shown there.
        digits: behind the point, in a terminal.
        page_digits: on a page.
        scale: what it is multiplied by where it is shown.
        is_share: whether it is a share of the images attacked, beside which a page has its interval.
    """

    key: str
    value: Callable[[metrics.Run, str], float]
    heading: str | None
    part: str | None
    digits: int = 2
    page_digits: int = 2
    scale: float = 1
    is_share: bool = False


def _computed(name: str) -> Callable[[metrics.Run, str], float]:
    return lambda run, attack: getattr(run.outcome(attack), name)


def _delivered(name: str) -> Callable[[metrics.Run, str], float]:
    return lambda run, attack: getattr(run.outcome(attack, delivered=True), name)


def _seen(measure: str) -> Callable[[metrics.Run, str], float]:
    return lambda run, attack: run.outcome(attack, delivered=True).mean_visibility(measure)


def _mean(name: str) -> Callable[[metrics.Run, str], float]:
    return lambda run, attack: float(np.mean(getattr(run.outcome(attack), name))) or math.nan


COMPUTED, DELIVERED, COST = "as computed", "in 8 bits", "an image"
COLUMNS = (
    Column("p_suc", _computed("p_suc"), "P", COMPUTED, 3, 3, is_share=True),
    Column("mean_distortion", _computed("mean_distortion"), "D", COMPUTED),
    Column("max_distortion", _computed("max_distortion"), None, None),
    Column("p_suc_8bit", _delivered("p_suc"), "P8", DELIVERED, 3, 3, is_share=True),
    Column("mean_distortion_8bit", _delivered("mean_distortion"), "D8", DELIVERED),
    Column("smoothness_energy", _computed("mean_smoothness_energy"), "E", COMPUTED, 2, 3),
    Column("smoothness_energy_8bit", _delivered("mean_smoothness_energy"), None, DELIVERED, 2, 3),
    Column("gradients_per_image", _mean("gradients"), "grads", COST, 0, 0),
    Column("seconds_per_image", _mean("seconds"), "ms", COST, 0, 0, scale=1000),
    Column("mean_margin_8bit", _delivered("mean_margin"), None, None),
    Column("faulty_images", lambda run, attack: run.faulty(attack)[0], None, None),
    Column("masked_images", lambda run, attack: run.masked(attack), None, None),
)
OPTIMALITY = (  # of several attacks
    Column("optimality", lambda run, attack: run.optimality()[attack], None, "optimality", 3, 3),
    Column("optimality_8bit", lambda run, attack: run.optimality(delivered=True)[attack], None, "optimality", 3, 3),
)
P_LOSSLESS = Column("p_lossless", _delivered("p_lossless"), "P90", DELIVERED, 3, 3, is_share=True)
VISIBILITY = {name: Column(name, _seen(name), None, None, row.digits, row.digits) for name, row in MEASURES.items()}


def columns(run: metrics.Run) -> list[Column]:
    """The columns that a run has: of visibility what was measured, optimality where there are attacks to compare."""
    compared = OPTIMALITY if len(run.attacks) > 1 else ()
    lossless = [P_LOSSLESS] if LOSSLESS[0] in run.measures else []
    return [*COLUMNS, *compared, *lossless, *(VISIBILITY[name] for name in run.measures)]


def attack_summary(run: metrics.Run, attack: str) -> dict[str, float]:
    """One attack in numbers; distortions, energies and visibility are means over its successes, NaN is unknown."""
    return {column.key: column.value(run, attack) for column in columns(run)}


def white_box(run: metrics.Run, made_with: Mapping[str, Any]) -> rich.table.Table:
    """The paper's table of P_suc and D, with what it cost and, where the paper has the network, its own numbers."""
    paper = published.on(made_with["dataset"], made_with["model"])
    result = rich.table.Table(
        title=f"{made_with['model']}: accuracy {run.accuracy:.3f} on {run.num_images} images of {made_with['dataset']}",
        caption="P: share of the correctly classified images whose class the attack changes. D: mean L2 distortion of "
        "those. P8, D8: of the images rounded to 8 bits. E: smoothness energy, 0 is smooth like the image. "
        "grads, ms: an image." + LOSSLESS_LEGEND * (LOSSLESS[0] in run.measures),
        box=rich.box.SIMPLE,
    )
    shown = [column for column in columns(run) if column.heading]
    result.add_column("attack", no_wrap=True)
    for heading in [column.heading for column in shown] + ["paper P", "D"] * bool(paper):
        result.add_column(str(heading), justify="right", no_wrap=True)
    for attack in run.attacks:
        cells = [number(column.scale * column.value(run, attack), column.digits) for column in shown]
        result.add_row(rich.markup.escape(attack), *cells, *(f"{value:.2f}" for value in paper.get(attack, ())))
    return result


def visibility(run: metrics.Run) -> Iterator[rich.table.Table]:
    """What the eye makes of the images as delivered, a row a measure; a table for every few attacks."""
    for first in range(0, len(run.attacks) if run.measures else 0, ATTACKS_ABREAST):
        attacks = run.attacks[first : first + ATTACKS_ABREAST]
        result = rich.table.Table(title="As the eye sees it, in 8 bits: means over the successes", box=rich.box.SIMPLE)
        result.add_column("measure", no_wrap=True)
        result.add_column("less visible", no_wrap=True)
        for attack in attacks:
            result.add_column(rich.markup.escape(attack), justify="right", overflow="fold", min_width=len("0.99999"))
        for name in run.measures:
            row, column = MEASURES[name], VISIBILITY[name]
            cells = (number(column.value(run, attack), column.digits) for attack in attacks)
            result.add_row(f"{row.heading}, {row.unit}", "larger" if row.larger_is_better else "smaller", *cells)
        yield result


ALL = "all together"
LEGIBLE = 72  # columns of a table with a legend
ROBUST_LEGEND = (
    "The share of all the images that the network gets right, and that the attack leaves so within an L2 distortion of "
    "epsilon; those that it gets wrong unattacked count as lost. With 95 % confidence intervals (Wilson)."
)


def robust_accuracy(run: metrics.Run) -> Iterator[rich.table.Table]:
    """What each attack leaves of the accuracy within each epsilon of the run, if it has any."""
    if run.epsilons:
        result = rich.table.Table(
            title="Robust accuracy", caption=ROBUST_LEGEND, box=rich.box.SIMPLE, min_width=LEGIBLE
        )
        result.add_column("attack", overflow="fold")
        for heading in (part for epsilon in run.epsilons for part in (f"at {epsilon:g}", "95 %")):
            result.add_column(heading, justify="right", no_wrap=True)
        for attack in (*run.attacks, *[ALL] * (len(run.attacks) > 1)):
            result.add_row(rich.markup.escape(attack), *robust_cells(run, attack))
        yield result


def robust_cells(run: metrics.Run, attack: str) -> list[str]:
    """For each epsilon the robust accuracy and its interval, by an attack or by ALL; dashes for one that is not there.

    Of a network whose gradients are masked it is a bound, and not called robust accuracy.
    """
    if attack not in (*run.attacks, ALL):
        return [NONE] * 2 * len(run.epsilons)
    name = None if attack == ALL else attack
    found = [run.robust_accuracy(name, epsilon) for epsilon in run.epsilons]
    if run.masked(name):
        return [cell for estimate in found for cell in ("masked", f"at most {estimate.value:.3f}")]
    return _with_intervals(found)


def compared_cells(one: metrics.Run, two: metrics.Run, attack: str, epsilons: Iterable[float]) -> list[str]:
    """For each epsilon on how many images the one alone is robust, the other alone, and McNemar's p-value."""
    cells = []
    for epsilon in epsilons:
        first, second = one.robust(attack, epsilon), two.robust(attack, epsilon)
        images = sorted(first | second)
        p = robustness.mcnemar([image in first for image in images], [image in second for image in images])
        cells += [str(len(first - second)), str(len(second - first)), f"{p:.2g}"]
    return cells


OPTIMALITY_LEGEND = (
    "The area that an attack takes from the curve of robust accuracy over epsilon, as a share of what the best of "
    "these attacks on each image takes: 1 is the best on every image, 0 never succeeds where the best does. "
    "AttackBench's local optimality, relative to the attacks of this run alone."
)


def optimality(run: metrics.Run) -> Iterator[rich.table.Table]:
    """How near each attack comes to the best of all, if the run has several."""
    if len(run.attacks) > 1:
        result = rich.table.Table(title="Optimality", caption=OPTIMALITY_LEGEND, box=rich.box.SIMPLE, min_width=LEGIBLE)
        result.add_column("attack", overflow="fold")
        for heading in (COMPUTED, DELIVERED):
            result.add_column(heading, justify="right", no_wrap=True)
        for attack in run.attacks:
            cells = [number(column.value(run, attack), column.digits) for column in OPTIMALITY]
            result.add_row(rich.markup.escape(attack), *cells)
        yield result


DETECTION_LEGEND = (
    "N: images on which the attack succeeded. AUC: 0.5 is undetected, 1 is found. P_E: mean of the shares of false "
    "alarms and missed images, 0.5 is undetected, 0 is found. TP5: share found at 5 % false alarms. With 95 % "
    f"confidence intervals; a dash is an attack with less than {detectors.LEAST_IMAGES} successes."
)


def detection(
    finished: Finished, found: Mapping[str, Mapping[str, detectors.Detectability]]
) -> Iterator[rich.table.Table]:
    """How well a detector finds the images of each attack, a table for each kind of features."""
    for color in detected_colors(found):
        title = f"{finished.model} on {finished.dataset}, original against delivered: SPAM features of {color}"
        result = rich.table.Table(title=title, box=rich.box.SIMPLE, padding=(0, 1, 0, 0))
        result.add_column("attack", overflow="fold")
        for heading in ("N", *(part for name in ("AUC", "P_E", "TP5") for part in (name, "95 %"))):
            result.add_column(heading, justify="right", no_wrap=True)
        for attack, images in finished.successes().items():
            cells = detection_cells(found.get(attack, {}).get(color))
            result.add_row(rich.markup.escape(attack), str(len(images)), *cells)
        yield result


def detected_colors(found: Mapping[str, Mapping[str, detectors.Detectability]]) -> list[str]:
    """What the features are of that attacks were detected by."""
    return list(dict.fromkeys(color for by_color in found.values() for color in by_color))


def detection_cells(found: detectors.Detectability | None) -> list[str]:
    """Each number and its interval; dashes where there are none."""
    if found is None:
        return [NONE] * 6
    return _with_intervals((found.auc, found.error, found.true_positives))


def _with_intervals(numbers: Iterable[detectors.Estimate]) -> list[str]:
    return [cell for one in numbers for cell in (f"{one.value:.3f}", f"{one.low:.3f}{NONE}{one.high:.3f}")]


TRANSFER_LEGEND = """\
P: share of the images that the source classifies correctly and the target gets wrong, once attacked and delivered in 8
bits. D: mean L2 distortion of those. P*: P over the images that the target gets right unattacked."""


def transfer(summary: Mapping[str, Any]) -> Iterator[rich.table.Table]:
    """The paper's table 3 for each source; for several, also the matrix of sources and targets for each attack."""
    scores, accuracy = summary["transfer"], summary["accuracy"]
    for source, by_attack in scores.items():
        title = f"{summary['num_correct'][source]} images of {summary['dataset']}, attacked on {source}"
        yield _on_targets(title, "attack", by_attack, accuracy)
    if len(scores) > 1:
        for attack in summary["attacks"]:
            rows = {source: by_attack[attack] for source, by_attack in scores.items()}
            yield _on_targets(f"{attack}, from source to target", "source", rows, accuracy)


def _on_targets(
    title: str, heading: str, rows: Mapping[str, Scores], accuracy: Mapping[str, float]
) -> rich.table.Table:
    """A row for each name, a column for each target."""
    result = rich.table.Table(title=title, box=rich.box.SIMPLE)
    result.add_column(heading, overflow="fold")
    for target, value in accuracy.items():
        name = f"{target}\naccuracy {value:.3f}\n{'P':5} {'D':>5} {'P*':>5}"
        result.add_column(name, justify="right", overflow="fold", max_width=len("0.000 00.00 0.000"))
    for name, scores in rows.items():
        cells = [(one["p_suc"], one["mean_distortion"], one["p_suc_correct"]) for one in scores.values()]
        result.add_row(name, *(f"{p:.3f} {distortion:5.2f} {p_correct:5.3f}" for p, distortion, p_correct in cells))
    return result
