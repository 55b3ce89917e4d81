"""Lines, axes and markers of charts as vectors that a page draws itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["SIDE", "Axis", "Chart", "Line", "line", "outline", "staircase", "stops"]

SIDE = 1000  # of the square that lines are drawn in
MARKED = 3  # markers on a line
MOST_TICKS = 6
FACTORS = ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 2, 5), (1,))  # of powers of ten, those of ticks
# Markers by the names of matplotlib: corners, the angle of the first in degrees, and how far in those between them lie.
STARS = {
    "o": (24, 0, None),
    "s": (4, 45, None),
    "D": (4, 0, None),
    "d": (2, 90, 0.6),
    "^": (3, 90, None),
    "v": (3, 270, None),
    "<": (3, 180, None),
    ">": (3, 0, None),
    "p": (5, 90, None),
    "h": (6, 90, None),
    "H": (6, 0, None),
    "8": (8, 22.5, None),
    "*": (5, 90, 0.4),
    "P": (4, 90, 0.4),
    "X": (4, 45, 0.4),
    "1": (3, 270, 0.25),
    "2": (3, 90, 0.25),
    "3": (3, 180, 0.25),
}


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
            powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
            among = [_within(np.outer(powers, factors).ravel(), low, high) for factors in FACTORS]
            shown = next((values for values in among if len(values) <= MOST_TICKS), among[-1])
        else:
            power = 10.0 ** np.floor(np.log10(high - low) - 1)
            steps = (power * factor for factor in (1, 2, 5, 10, 20, 50))
            step = next(step for step in steps if (high - low) / step < MOST_TICKS)
            shown = _within(step * np.arange(np.floor(low / step), np.ceil(high / step) + 1), low, high)
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
    """The SVG path of a marker of STARS, about the origin, of radius 5.

    >>> outline("D")
    'M5 0L0 -5L-5 0L0 5Z'
    """
    corners, first, inner = STARS[marker]
    radii = [5] if inner is None else [5, 5 * inner]
    angles = np.deg2rad(first + 360 / (corners * len(radii)) * np.arange(corners * len(radii)))
    points = [
        (radius * np.cos(angle), -radius * np.sin(angle)) for radius, angle in zip(itertools.cycle(radii), angles)
    ]
    return "M" + "L".join(f"{round(x, 2) + 0.0:g} {round(y, 2) + 0.0:g}" for x, y in points) + "Z"


def _within(values: np.ndarray, low: float, high: float) -> list[float]:
    """The values from low to high, up to rounding errors."""
    slack = 1e-9 * (high - low)
    return [float(value) for value in values if low - slack <= value <= high + slack]
