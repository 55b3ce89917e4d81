"""Lines, axes and markers of charts as vectors that a page draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import markers, path, ticker

__all__ = ["SIDE", "Axis", "Chart", "Line", "line", "outline", "staircase", "stops"]

SIDE = 1000  # of the square that lines are drawn in
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


def line(
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


def stops(axis: Axis, values: np.ndarray) -> list[tuple[float, str]]:
    """Values as the stops of a slider: their places and their text."""
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
