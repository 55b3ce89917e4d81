"""Charts of a run that a page draws itself: lines as vectors, and the numbers at every place of the axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import markers, path, ticker

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.rendering.styles import styles
from tf_smoothadv.evaluation.rendering.tables import ALL
from tf_smoothadv.evaluation.rendering.terminal import NONE
from tf_smoothadv.visibility import LOSSLESS, MEASURES

__all__ = ["Axis", "Chart", "Line", "charts", "outline", "robust_accuracy", "staircase"]

PLACES = 200  # of a slider under a chart
SIDE = 1000  # of the square that lines are drawn in
TOGETHER = ("#7A3DB8", "*")  # how all attacks together look
MARKED = 3  # markers on a line
TICKS = 5  # about so many
MOST_TICKS = 6


class Axis(NamedTuple):
    """An axis of a chart.

    Attributes:
        name: what is on it.
        low, high: the values at its ends; the first may be the larger one.
        logarithmic: whether equal steps are equal factors.

    >>> Axis("D", 1, 100, logarithmic=True).places([1, 10, 100]).tolist()
    [0.0, 0.5, 1.0]
    >>> Axis("D", 0, 3.7).ticks()
    [(0.0, '0'), (0.27027027027027023, '1'), (0.5405405405405405, '2'), (0.8108108108108107, '3')]
    """

    name: str
    low: float
    high: float
    logarithmic: bool = False

    def places(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Where values are, 0 at the low end, 1 at the high one."""
        scaled = np.array([self.low, self.high, *values], float)
        low, high, *others = np.log(scaled) if self.logarithmic else scaled
        places: np.ndarray = (np.array(others) - low) / (high - low)
        return places

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers within it, and their places."""
        low, high = sorted((self.low, self.high))
        if self.logarithmic:
            subs = (1, 2, 5) if high / low < 60 else (1,)
            values = ticker.LogLocator(subs=subs).tick_values(low, high)
        else:
            values = ticker.MaxNLocator(TICKS, steps=[1, 2, 5, 10]).tick_values(low, high)
        shown = [value for value in values if low <= value <= high]
        shown = shown[:: -(-len(shown) // MOST_TICKS)] if shown else []
        return [(float(place), f"{value:g}") for place, value in zip(self.places(shown), shown)]


class Line(NamedTuple):
    """What a chart has of one attack.

    Attributes:
        name: of the attack.
        color: of line and markers.
        marker: the outline of its marker, an SVG path about the origin.
        paths: SVG paths in a square of SIDE, the first drawn thicker than the others.
        points: of its markers x and y in [0, 1], upwards, and whether they are open.
        values: at every place of the slider, or once, a text for each column.
    """

    name: str
    color: str
    marker: str
    paths: list[str]
    points: list[tuple[float, float, bool]]
    values: list[list[str]]


class Chart(NamedTuple):
    """A chart, drawn by the template charts.html.

    Attributes:
        caption: what it shows.
        x, y: its axes.
        columns: what is told of each line.
        lines: one an attack.
        stops: the places of the slider, in [0, 1], and their values as text; nothing without a slider.
        note: what else must be known.
    """

    caption: str
    x: Axis
    y: Axis
    columns: list[str]
    lines: list[Line]
    stops: list[tuple[float, str]]
    note: str = ""


Curves = Callable[[str], list[np.ndarray]]
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

    def curves(attack: str) -> list[np.ndarray]:
        outcomes = run.outcome(attack), run.outcome(attack, delivered=True)
        return [outcome.characteristic(distortion) for outcome in outcomes]

    columns = ["as computed", "in 8 bits"]
    caption = "Success at a distortion of at most D; thin: in 8 bits"
    return _curves(run, caption, Axis("D", 0, limit), SHARE, distortion, columns, curves)


def robust_accuracy(run: metrics.Run) -> Chart:
    """The share of all images that the model is robust on over epsilon, with its 95 % interval."""
    limit = 1.5 * max(run.epsilons)
    epsilons = np.unique([*np.linspace(0, limit, PLACES // 2 + 1)[1:], *run.epsilons])
    masked = [attack for attack in run.attacks if run.masked(attack)]
    told = [attack for attack in run.attacks if attack not in masked]
    names = [*told, *[ALL] * (len(told) > 1 and not masked)]
    axis, looks, lines = Axis("epsilon", 0, limit), styles({"": run}), []
    for number, name in enumerate(names):
        color, marker = looks.get(name, TOGETHER)
        found = [run.robust_accuracy(None if name == ALL else name, epsilon) for epsilon in epsilons]
        texts = [[f"{one.value:.3f}", f"{one.low:.3f}{NONE}{one.high:.3f}"] for one in found]
        lines.append(
            _line(name, color, marker, number, axis, SHARE, epsilons, [np.array([v.value for v in found])], texts)
        )
    note = f"Not of {', '.join(map(presets.label, masked))}: masked gradients." if masked else ""
    caption = "Robust accuracy: the share of all images that an attack leaves right within epsilon"
    return Chart(caption, axis, SHARE, ["share", "95 %"], lines, _stops(axis, epsilons), note)


def over_gradients(run: metrics.Run) -> Iterator[Chart]:
    """Success, and the least distortion so far, after any number of gradients, as computed."""
    most = max(run.outcome(attack).gradients.max() for attack in run.attacks)
    if most <= 1:  # nobody counted, or there is nothing to show
        return
    gradients = np.unique(np.geomspace(1, most, PLACES + 1).round().astype(int))
    progress = {attack: run.progress(attack) for attack in run.attacks if run.outcome(attack).gradients.max()}
    median = {attack: one.median_distortion(gradients) for attack, one in progress.items()}
    axis = Axis("gradients", 1, most, logarithmic=True)
    caption = "Success within so many gradients, as computed"
    yield _curves(run, caption, axis, SHARE, gradients, ["share"], lambda attack: [progress[attack].p_suc(gradients)])
    finite = [value for values in median.values() for value in values if np.isfinite(value)]
    if finite:
        caption = "Median of the least distortions so far, from where half of the images have a success"
        y = Axis("median D", 0, 1.05 * max(finite))
        yield _curves(run, caption, axis, y, gradients, ["median D"], lambda attack: [median[attack]])


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

    def curves(attack: str) -> list[np.ndarray]:
        return [run.outcome(attack, delivered=True).visibility_characteristic(measure, limits)]

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
    for number, attack in enumerate(run.attacks):
        made = curves(attack)
        texts = [[f"{value:.3f}" if np.isfinite(value) else NONE for value in values] for values in zip(*made)]
        lines.append(_line(attack, *looks[attack], number, x, y, at, made, texts))
    return Chart(caption, x, y, columns, lines, _stops(x, at))


def _line(
    name: str,
    color: str,
    marker: str,
    number: int,
    x: Axis,
    y: Axis,
    at: np.ndarray,
    curves: list[np.ndarray],
    texts: list[list[str]],
) -> Line:
    """A line with its markers, those of the lines of a chart at different places."""
    across, up = x.places(at), [y.places(values) for values in curves]
    marked = np.searchsorted(across, [(part + (number + 1) / 12 % 1) / MARKED for part in range(MARKED)])
    points = [(float(across[i]), float(up[0][i]), False) for i in marked if i < len(at) and np.isfinite(up[0][i])]
    return Line(name, color, outline(marker), [staircase(across, values) for values in up], points, texts)


def _stops(axis: Axis, values: np.ndarray) -> list[tuple[float, str]]:
    return [(round(float(place), 4), f"{value:.4g}") for place, value in zip(axis.places(values), values)]


def staircase(across: np.ndarray, up: np.ndarray) -> str:
    """The SVG path, in a square of SIDE, of values that last until the next one; where there is none it has a gap.

    >>> staircase(np.array([0, 0.25, 0.5, 1]), np.array([np.nan, 0.5, 0.5, 1]))
    'M250 500H1000V0'
    """
    parts, last = [], None
    for x, y in zip(across, up):
        if not np.isfinite(y):
            last = None
        elif last is None:
            parts.append(f"M{_units(x)} {_units(1 - y)}")
            last = y
        elif y != last or x == across[-1]:
            parts.append(f"H{_units(x)}" + (f"V{_units(1 - y)}" if y != last else ""))
            last = y
    return "".join(parts)


def _units(share: float) -> str:
    return f"{round(SIDE * float(share), 1):g}"


def outline(marker: str) -> str:
    """The SVG path of one of matplotlib's markers, about the origin and about 10 units wide.

    >>> outline("s")
    'M-5 5L5 5L5 -5L-5 -5Z'
    """
    style = markers.MarkerStyle(marker)
    letters = {path.Path.MOVETO: "M", path.Path.LINETO: "L", path.Path.CURVE3: "Q", path.Path.CURVE4: "C"}
    parts = []
    for vertices, code in style.get_path().transformed(style.get_transform()).iter_segments():
        if code == path.Path.CLOSEPOLY:
            parts.append("Z")
        else:
            flipped = (10 * vertices.reshape(-1, 2) * (1, -1)).round(2) + 0.0
            parts.append(letters[code] + " ".join(f"{value:g}" for value in flipped.ravel()))
    return "".join(parts)
