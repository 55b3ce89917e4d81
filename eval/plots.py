"""Figures from what a run leaves behind. The only file that knows matplotlib."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from tf_smoothadv import protocol

STYLES = {
    "fgsm": ("#999999", "-"),
    "ifgsm": ("#E69F00", "-"),
    "pgd2": ("#0072B2", "-"),
    "cw": ("#D55E00", "-"),
    "spgd2": ("#0072B2", "--"),
    "scw": ("#D55E00", "--"),
}
LABELS = {"fgsm": "FGSM", "ifgsm": "I-FGSM", "pgd2": "PGD₂", "cw": "C&W", "spgd2": "sPGD₂", "scw": "sC&W"}


def label(name: str) -> str:
    """An attack's name as matplotlib shows it: no part of it is a formula."""
    return LABELS.get(name, name).replace("$", r"\$")


def characteristic(run: protocol.Run, path: pathlib.Path) -> None:
    """The operating characteristic P(D) (21) of every attack, as in figure 2: as computed and, thin, as delivered."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    outcomes = {name: run.outcome(name) for name in run.attacks}
    limit = np.nanmax([outcome.max_distortion for outcome in outcomes.values()] + [1.0])
    distortion = np.linspace(0, limit, 1000)
    for name, outcome in outcomes.items():
        color, line = STYLES.get(name, (None, "-"))
        axes.plot(distortion, outcome.characteristic(distortion), line, color=color, label=label(name))
        delivered = run.outcome(name, delivered=True).characteristic(distortion)
        axes.plot(distortion, delivered, line, color=color, linewidth=0.6)
    axes.set(xlabel="distortion D", ylabel="P(D)", xlim=(0, limit), ylim=(0, 1.02))
    axes.set_title("Success probability at a distortion of at most D; thin: delivered in 8 bits", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def examples(images: np.ndarray, attacked: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
    """A sheet with a row for each image: the original, then for each attack the adversarial image and its perturbation.

    Args:
        images: [B, H, W, C] in [0, 1].
        attacked: by attack, [B, H, W, C]; a perturbation is scaled to its own largest value, grey for none.
    """
    columns = [("original", images)]
    for name, adversarial in attacked.items():
        r = adversarial - images
        norms = np.sqrt(np.sum(r**2, axis=(1, 2, 3)))
        peak = np.maximum(np.max(np.abs(r), axis=(1, 2), keepdims=True), 1e-12)
        columns.append((label(name), adversarial))
        columns.append((f"perturbation, D = {norms.mean():.2f}", 0.5 + 0.5 * r / peak))
    rows = len(images)
    figure, axes = plt.subplots(
        rows, len(columns), figsize=(1.5 * len(columns), 1.5 * rows + 0.3), squeeze=False, layout="constrained"
    )
    for column, (title, pictures) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        for row, picture in enumerate(pictures):
            shown = picture[..., 0] if picture.shape[-1] == 1 else picture
            axes[row, column].imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes[row, column].axis("off")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def growth(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """Seconds of the bare gradients, C&W and sC&W against what grows: a panel each for "grows" of the rows."""
    kinds = list(dict.fromkeys(row["grows"] for row in rows))
    figure, panels = plt.subplots(1, len(kinds), figsize=(4 * len(kinds), 3.2), squeeze=False, layout="constrained")
    for axes, kind in zip(panels[0], kinds):
        points = [row for row in rows if row["grows"] == kind]
        for name, color, line in (
            ("gradient", "#999999", ":"),
            ("C&W", STYLES["cw"][0], "-"),
            ("sC&W", STYLES["scw"][0], "--"),
        ):
            values, times = [row["value"] for row in points], [row[name] for row in points]
            axes.loglog(values, times, line, color=color, marker="o", markersize=3, label=name)
        axes.set(xlabel=kind, ylabel="seconds")
        axes.grid(alpha=0.3, which="both")
    panels[0, 0].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
