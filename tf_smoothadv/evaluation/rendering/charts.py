"""Charts of a run that a page draws itself: lines as vectors, and the numbers at every place of the axis."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from tf_smoothadv import metrics, robustness
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.rendering.styles import styles
from tf_smoothadv.evaluation.rendering.tables import ALL
from tf_smoothadv.evaluation.rendering.terminal import NONE
from tf_smoothadv.evaluation.rendering.vectors import SIDE, Axis, Chart, Line, line, outline, stops
from tf_smoothadv.visibility import LOSSLESS, MEASURES

__all__ = ["characteristic", "charts", "over_gradients", "plane", "robust_accuracy", "visibility"]

PLACES = 200  # of a slider under a chart
TOGETHER = ("#7A3DB8", "*")  # how all attacks together look
Curves = Mapping[str, list[np.ndarray]]  # by attack
SHARE = Axis("share of images", 0, 1)


def charts(run: metrics.Run) -> Iterator[Chart]:
    """All charts that a run has the numbers for."""
    yield characteristic(run)
    if run.epsilons:
        yield robust_accuracy(run)
    yield from over_gradients(run)
    for measure in run.measures[:1]:
        yield visibility(run, measure)
    yield plane(run)


def characteristic(run: metrics.Run) -> Chart:
    """The operating characteristic P(D) (21) as computed and as delivered."""
    limit = np.nanmax([run.outcome(attack).max_distortion for attack in run.attacks] + [1e-3])
    distortion = np.linspace(0, limit, PLACES + 1)

    curves = {
        attack: [run.outcome(attack, delivered=delivered).characteristic(distortion) for delivered in (False, True)]
        for attack in run.attacks
    }
    columns = ["as computed", "in 8 bits"]
    caption = "Success at a distortion of at most D; thin: in 8 bits"
    return _curves(run, caption, Axis("D", 0, limit), SHARE, distortion, columns, curves)


def robust_accuracy(run: metrics.Run) -> Chart:
    """The share of all images that the model is robust on over epsilon, with its 95 % interval."""
    limit = 1.5 * max(run.epsilons)
    epsilons = np.unique([*np.linspace(0, limit, PLACES // 2 + 1)[1:], *run.epsilons])
    estimate = functools.cache(lambda count: robustness.wilson(count, run.num_images))
    masked = [attack for attack in run.attacks if run.masked(attack)]
    told = [attack for attack in run.attacks if attack not in masked]
    names = [*told, *[ALL] * (len(told) > 1 and not masked)]
    axis, looks, lines = Axis("epsilon", 0, limit), styles({"": run}), []
    for number, name in enumerate(names):
        color, marker = looks.get(name, TOGETHER)
        found = [estimate(len(run.robust(None if name == ALL else name, epsilon))) for epsilon in epsilons]
        texts = [[f"{one.value:.3f}", f"{one.low:.3f}{NONE}{one.high:.3f}"] for one in found]
        lines.append(
            line(name, color, marker, number, axis, SHARE, epsilons, [np.array([v.value for v in found])], texts)
        )
    note = f"Not of {', '.join(map(presets.label, masked))}: masked gradients." if masked else ""
    caption = "Robust accuracy: the share of all images that an attack leaves right within epsilon"
    return Chart(caption, axis, SHARE, ["share", "95 %"], lines, stops(axis, epsilons), note)


def over_gradients(run: metrics.Run) -> Iterator[Chart]:
    """Success, and the least distortion so far, after any number of gradients, as computed."""
    most = max(run.outcome(attack).gradients.max() for attack in run.attacks)
    if most <= 1:  # nobody counted, or there is nothing to show
        return
    gradients = np.unique(np.geomspace(1, most, PLACES + 1).round().astype(int))
    progress = {attack: run.progress(attack) for attack in run.attacks if run.outcome(attack).gradients.max()}
    median = {attack: [one.median_distortion(gradients)] for attack, one in progress.items()}
    axis = Axis("gradients", 1, most, logarithmic=True)
    caption = "Success within so many gradients, as computed"
    shares = {attack: [one.p_suc(gradients)] for attack, one in progress.items()}
    yield _curves(run, caption, axis, SHARE, gradients, ["share"], shares)
    finite = [value for values in median.values() for value in values[0] if np.isfinite(value)]
    if finite:
        caption = "Median of the least distortions so far, from where half of the images have a success"
        y = Axis("median D", 0, 1.05 * max(finite))
        yield _curves(run, caption, axis, y, gradients, ["median D"], median)


def visibility(run: metrics.Run, measure: str) -> Chart:
    """(21) with a measure of visibility in place of D, as delivered; more is seen to the right."""
    row = MEASURES[measure]
    outcomes = [run.outcome(attack, delivered=True) for attack in run.attacks]
    seen = np.concatenate([row.seen(outcome.visibility[measure][outcome.success]) for outcome in outcomes])
    ideal = row.seen(row.ideal)
    limits = row.seen(np.linspace(ideal, np.max(seen, initial=ideal + 1e-3), PLACES + 1))
    caption = f"Success at a {row.heading} of at {'least' if row.larger_is_better else 'most'} v, in 8 bits"
    note = f"{LOSSLESS[1]:g} is visually lossless." if measure == LOSSLESS[0] else ""
    axis = Axis("v", limits[0], limits[-1])
    curves = {
        attack: [run.outcome(attack, delivered=True).visibility_characteristic(measure, limits)]
        for attack in run.attacks
    }
    return _curves(run, caption, axis, SHARE, limits, ["share"], curves)._replace(note=note)


def plane(run: metrics.Run) -> Chart:
    """Smoothness energy against mean distortion, a point an attack as computed, an open one in 8 bits."""
    looks = styles({"": run})
    both = {attack: (run.outcome(attack), run.outcome(attack, delivered=True)) for attack in run.attacks}
    pairs = {
        attack: [(one.mean_distortion, one.mean_smoothness_energy) for one in outcomes]
        for attack, outcomes in both.items()
    }
    known = np.array([pair for points in pairs.values() for pair in points if _drawable(pair)])
    ends = [(column.min() / 1.2, column.max() * 1.2) for column in known.T] if len(known) else [(0.1, 10), (0.01, 2)]
    x, y = (Axis(name, *limits, logarithmic=True) for name, limits in zip(("D", "E"), ends))
    lines = []
    for attack, points in pairs.items():
        drawn = [
            (float(x.places([d])[0]), float(y.places([e])[0]), bool(at))
            for at, (d, e) in enumerate(points)
            if _drawable((d, e))
        ]
        joined = "M" + "L".join(f"{SIDE * d:.1f} {SIDE * (1 - e):.1f}" for d, e, _ in drawn) if drawn else ""
        texts = [
            f"{value:.{digits}f}" if value == value else NONE for d, e in points for value, digits in ((d, 2), (e, 3))
        ]
        lines.append(Line(attack, looks[attack][0], outline(looks[attack][1]), ["", joined], drawn, [texts]))
    caption = "Small and smooth: mean distortion D and smoothness energy E; open: in 8 bits"
    return Chart(caption, x, y, ["D", "E", "D, 8 bits", "E, 8 bits"], lines, [])


def _drawable(pair: tuple[float, float]) -> bool:
    """Whether logarithmic axes have a place for it."""
    return all(0 < value < np.inf for value in pair)


def _curves(
    run: metrics.Run, caption: str, x: Axis, y: Axis, at: np.ndarray, columns: list[str], curves: Curves
) -> Chart:
    """Curves over values [L] of the first axis: a line an attack, thin ones for all but its first."""
    lines, looks = [], styles({"": run})
    for number, (attack, made) in enumerate(curves.items()):
        texts = [[f"{value:.3f}" if np.isfinite(value) else NONE for value in values] for values in zip(*made)]
        lines.append(line(attack, *looks[attack], number, x, y, at, made, texts))
    return Chart(caption, x, y, columns, lines, stops(x, at))
