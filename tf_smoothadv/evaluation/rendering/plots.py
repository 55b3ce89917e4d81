"""Figures from what a run leaves behind, for notebooks and files alike. The only file that knows matplotlib."""

from __future__ import annotations

import io
import itertools
import pathlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure as drawing
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from tf_smoothadv import checks, metrics
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.rendering import pictures
from tf_smoothadv.evaluation.rendering.pictures import Panel
from tf_smoothadv.evaluation.rendering.styles import LINES, OTHERS, label, styles
from tf_smoothadv.front import Front
from tf_smoothadv.visibility import LOSSLESS, MEASURES

__all__ = ["Figure", "budget", "characteristic", "examples", "front", "growth"]
__all__ += ["plane", "save", "shares", "sheet", "visibility"]

SUCCESS, FAILURE = "#007a3d", "#c8102e"


class Figure(drawing.Figure):
    """A figure that a notebook shows as a picture, without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100)
        return file.getvalue()


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure; what the path ends with says the format: .png, .pdf, .svg."""
    figure.savefig(path, dpi=150)


def characteristic(runs: Mapping[str, metrics.Run]) -> Figure:
    """The operating characteristics P(D) (21), as in figures 2 and 3: lines by network, thin as delivered.

    Args:
        runs: by network; of several only what is computed.
    """
    limit = np.nanmax([run.outcome(attack).max_distortion for run in runs.values() for attack in run.attacks] + [1e-3])
    distortion = np.linspace(0, limit, 1000)

    def curves(run: metrics.Run, attack: str) -> list[np.ndarray]:
        outcomes = [run.outcome(attack), *([run.outcome(attack, delivered=True)] if len(runs) == 1 else [])]
        return [outcome.characteristic(distortion) for outcome in outcomes]

    thin = "; thin: delivered in 8 bits" if len(runs) == 1 else ""
    figure, axes = shares(runs, distortion, curves)
    axes.set(xlabel="distortion D", ylabel="P(D)", xlim=(0, limit))
    axes.set_title(f"Success probability at a distortion of at most D{thin}", fontsize=9)
    return figure


def visibility(runs: Mapping[str, metrics.Run], measure: str = LOSSLESS[0]) -> Figure:
    """(21) with a measure of visibility, which all the runs have, in place of D: what the eye sees grows to the right.

    Raises:
        ValueError: a measure that a run does not have.
    """
    for run in runs.values():
        checks.one_of("measure", measure, run.measures)
    row = MEASURES[measure]
    outcomes = [run.outcome(attack, delivered=True) for run in runs.values() for attack in run.attacks]
    seen = np.concatenate([row.seen(outcome.visibility[measure][outcome.success]) for outcome in outcomes])
    ideal = row.seen(row.ideal)
    limits = row.seen(np.linspace(ideal, np.max(seen, initial=ideal + 1e-3), 1000))

    def curves(run: metrics.Run, attack: str) -> list[np.ndarray]:
        return [run.outcome(attack, delivered=True).visibility_characteristic(measure, limits)]

    bound = "least" if row.larger_is_better else "most"
    figure, axes = shares(runs, limits, curves)
    axes.set_title(f"Success probability at a {row.heading} of at {bound} v, delivered in 8 bits", fontsize=9)
    if measure == LOSSLESS[0]:
        axes.axvline(LOSSLESS[1], color="gray", linestyle=":")
    axes.set(xlabel=f"v: {row.heading}, {row.unit}", ylabel="P(v)", xlim=limits[[0, -1]])
    return figure


def shares(
    runs: Mapping[str, metrics.Run], limits: np.ndarray, curves: Callable[[metrics.Run, str], list[np.ndarray]]
) -> tuple[Figure, Axes]:
    """Shares of images against limits [L]: a line a run and attack, and a thin one for the second of its curves."""
    figure, looks = Figure(figsize=(7, 4), layout="constrained"), styles(runs)
    axes, lines = figure.subplots(), dict(zip(runs, itertools.cycle(LINES)))
    for number, (name, attack) in enumerate((name, attack) for name, run in runs.items() for attack in run.attacks):
        text = label(attack) if len(runs) == 1 else f"{label(attack)}, {label(name)}"
        first, *thin = curves(runs[name], attack)
        (line,) = axes.plot(limits, first, lines[name], color=looks[attack][0], label=text)
        line.set(marker=looks[attack][1], markersize=4, markevery=(20 * number, 200))
        for values in thin:
            axes.plot(limits, values, lines[name], color=looks[attack][0], linewidth=0.7)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure, axes


def budget(
    runs: Mapping[str, metrics.Run], distortions: Sequence[float] = (), epsilons: Sequence[float] = ()
) -> Figure:
    """Success and distortion against the gradients taken, as computed; a row of panels a run, a line an attack.

    Left the share of images with a success until then. Right the median over all images of the least distortion until
    then; it begins where half of them have a success, since those without count as infinitely distorted.

    Args:
        runs: by network.
        distortions: between the two, a panel each: the share with a success at a distortion of at most D.
        epsilons: behind them, a panel each: the robust accuracy at epsilon.
    """
    limits = [np.inf, *distortions]
    columns = len(limits) + 1 + len(epsilons)
    figure = Figure(figsize=(1.5 + 3.6 * columns, 3.2 * len(runs)), layout="constrained")
    lines, looks = {}, styles(runs)
    for row, (name, run) in zip(figure.subplots(len(runs), columns, squeeze=False, sharex=True), runs.items()):
        for attack in run.attacks:
            most = run.outcome(attack).gradients.max()
            if most == 0:  # nobody counted
                continue
            color, marker = looks[attack]
            progress = run.progress(attack)
            gradients = np.unique(np.geomspace(1, most, 500).round().astype(int))
            curves = [progress.p_suc(gradients, limit) for limit in limits] + [progress.median_distortion(gradients)]
            curves += [run.accuracy * (1 - progress.p_suc(gradients, epsilon)) for epsilon in epsilons]
            for axes, values in zip(row, curves):
                finite = np.isfinite(values)
                (lines[attack],) = axes.semilogx(
                    gradients[finite],
                    values[finite],
                    color=color,
                    marker=marker,
                    markersize=4,
                    markevery=0.15,
                    drawstyle="steps-post",
                    label=label(attack),
                )
        for axes, limit in zip(row, limits):
            at_most = f" at D of at most {limit:g}" if np.isfinite(limit) else ""
            axes.set(ylabel="share of images", ylim=(0, 1.02))
            axes.set_title(f"{label(name)}: success{at_most}", fontsize=9)
        row[len(limits)].set(ylabel="median distortion")
        row[len(limits)].set_title(f"{label(name)}: the least distortion so far", fontsize=9)
        for axes, epsilon in zip(row[len(limits) + 1 :], epsilons):
            axes.set(ylabel="share of all images", ylim=(0, 1.02))
            axes.set_title(f"{label(name)}: robust accuracy at {epsilon:g}", fontsize=9)
        for axes in row:
            if not axes.lines:
                axes.set(xscale="log", xlim=(1, 100))  # a logarithmic axis must have some limits
            _number_plainly(axes.xaxis)
            axes.grid(alpha=0.3)
    figure.supxlabel("gradients an image", fontsize=10)
    figure.legend(handles=list(lines.values()), loc="outside right upper", fontsize=8)
    return figure


def _number_plainly(*axes: Axis) -> None:
    """Numbers like 0.2 and 50 at logarithmic axes, instead of powers of ten."""
    for axis in axes:
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))


def plane(runs: Mapping[str, metrics.Run]) -> Figure:
    """Mean distortion against smoothness energy, a point an attack: as computed, and open as delivered in 8 bits.

    Down is smoother, left is smaller. The two points of an attack are joined: what rounding does to it. An attack
    without successes has no point.
    """
    figure, looks = Figure(figsize=(7 * len(runs), 4), layout="constrained"), styles(runs)
    for axes, (name, run) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items()):
        for attack in run.attacks:
            color, marker = looks[attack]
            outcomes = [run.outcome(attack), run.outcome(attack, delivered=True)]
            points = [(outcome.mean_distortion, outcome.mean_smoothness_energy) for outcome in outcomes]
            computed, delivered = (f"{outcome.p_suc:.2f}" for outcome in outcomes)
            text = f"{label(attack)}\nP {computed}, in 8 bits {delivered}"
            axes.loglog(*zip(*points), color=color, linewidth=0.7)
            axes.loglog(*points[0], marker, color=color, markersize=7, label=text)
            axes.loglog(*points[1], marker, color=color, markersize=7, markerfacecolor="white")
        axes.set(xlabel="mean distortion D", ylabel="smoothness energy E")
        if not any(np.isfinite(line.get_xdata()).any() for line in axes.lines):
            axes.set(xlim=(0.1, 10), ylim=(0.01, 2))  # a logarithmic axis must have some limits
        _number_plainly(axes.xaxis, axes.yaxis)
        axes.set_title(f"{label(name)}; open: delivered in 8 bits", fontsize=9)
        axes.margins(0.15)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=8)
    return figure


def front(front: Front) -> Figure:
    """The front of distortion and smoothness energy, delivered in 8 bits: a line an attack, a point an alpha.

    Black: of every image the smoothest within a premium, over the premiums; what is best of all these attacks.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    names = [attack.split("-") for attack in front.attacks]
    looks = itertools.cycle(OTHERS[1:])
    for family, alphas in itertools.groupby(enumerate(names), key=lambda item: item[1][0]):
        places = [(place, name[-1]) for place, name in alphas]
        points = [
            (np.mean(values[place][front.success[place]]) if front.success[place].any() else np.nan)
            for place, _ in places
            for values in (front.distortion, front.smoothness_energy)
        ]
        color, marker = next(looks)
        xs, ys = points[::2], points[1::2]
        axes.loglog(xs, ys, color=color, marker=marker, markersize=5, linewidth=1, label=label(family))
        for x, y, (_, alpha) in zip(xs, ys, places):
            axes.annotate(alpha, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7, color=color)
    best = [
        [np.mean(front.chosen(values, picked)) for values in (front.distortion, front.smoothness_energy)]
        for picked in (front.smoothest(premium) for premium in np.geomspace(1, 10, 100))
        if (picked >= 0).any()
    ]
    axes.loglog(*zip(*best), color="black", linewidth=1.5, alpha=0.6, label="smoothest of each image\nwithin a premium")
    axes.set(xlabel="mean distortion D", ylabel="smoothness energy E")
    _number_plainly(axes.xaxis, axes.yaxis)
    axes.set_title("Delivered in 8 bits; the numbers are alpha", fontsize=9)
    axes.margins(0.1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def sheet(rows: Sequence[Sequence[Panel]], side: float = 1.6) -> Figure:
    """Pictures in rows, each `side` inches wide, without interpolation; small ones are enlarged."""
    columns = max(map(len, rows))
    figure = Figure(figsize=(side * columns, (side + 0.2) * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for places, row in zip(grid, rows):
        for axes, panel in zip(places, row):
            if panel.picture is None:
                continue
            shown = panel.picture[..., 0] if panel.picture.shape[-1] == 1 else panel.picture
            peak = 255 if shown.dtype == np.uint8 else 1
            axes.imshow(shown, cmap="gray", vmin=0, vmax=peak, interpolation="nearest")
            color = {None: "black", True: SUCCESS, False: FAILURE}[panel.success]
            weight = "bold" if panel.bold else "normal"
            title = textwrap.fill(panel.title.replace("$", r"\$"), round(15 * side))
            axes.set_title(title, fontsize=7, color=color, weight=weight)
    return figure


def examples(images: np.ndarray, attacked: Mapping[str, np.ndarray], success: Mapping[str, np.ndarray]) -> Figure:
    """A sheet as figure 4: a row for each image, with each attack the adversarial image and its perturbation.

    Args:
        images: [B, H, W, C] in [0, 1].
        attacked: by attack, [B, H, W, C]; a perturbation is scaled by channel to its own largest value, grey for none.
        success: by attack, [B]; D is green where it succeeded, red where it failed.
    """
    rows = []
    for place, image in enumerate(images):
        row = [Panel(image, "original")]
        for name, adversarial in attacked.items():
            r = adversarial[place] - image
            succeeded = bool(success[name][place])
            row.append(Panel(adversarial[place], presets.label(name)))
            row.append(Panel(0.5 + 0.5 * pictures.amplified(r), f"D = {np.linalg.norm(r):.2f}", succeeded))
        rows.append(row)
    return sheet(rows)


def growth(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Seconds of the bare gradients, C&W and sC&W against what grows: a panel each for "grows" of the rows."""
    kinds = list(dict.fromkeys(row["grows"] for row in rows))
    figure = Figure(figsize=(4 * len(kinds), 3.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)
    for axes, kind in zip(panels[0], kinds):
        points = [row for row in rows if row["grows"] == kind]
        for name, color, line in (
            ("gradient", presets.ENTRIES["fgsm"].color, ":"),
            ("C&W", presets.ENTRIES["cw"].color, "-"),
            ("sC&W", presets.ENTRIES["scw"].color, "--"),
        ):
            values, times = [row["value"] for row in points], [row[name] for row in points]
            axes.loglog(values, times, line, color=color, marker="o", markersize=3, label=name)
        axes.set(xlabel=kind, ylabel="seconds")
        _number_plainly(axes.xaxis, axes.yaxis)
        axes.grid(alpha=0.3, which="both")
    panels[0, 0].legend()
    return figure
