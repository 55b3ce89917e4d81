"""What a run leaves in its folder: of each batch, and at its end."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from tf_smoothadv import metrics, protocol
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.rendering import plots, tables

__all__ = [
    "DEAD_LETTERS",
    "EXAMPLES",
    "failed",
    "keep_examples",
    "keep_images",
    "kept_examples",
    "summary",
    "tell_failures",
    "write_failures",
    "write_outputs",
]

DEAD_LETTERS = "dead_letters.jsonl"
EXAMPLES = "examples"  # a folder of arrays: the first images, what each attack made of them, and where it succeeded
NUM_EXAMPLES = 6


def keep_images(folder: pathlib.Path, batch: protocol.Batch, names: Sequence[str] | Mapping[int, str]) -> None:
    """Writes the originals and the delivered images of a batch as PNG; `names` are those of its images, by index."""
    chosen = [names[record.index] for record in batch.records]
    records.write_images(folder / records.IMAGES / records.ORIGINAL, batch.images, chosen)
    records.write_images(folder / records.IMAGES / batch.attack, batch.delivered, chosen)


def keep_examples(folder: pathlib.Path, batch: protocol.Batch) -> None:
    """The first images of a batch, the originals and the adversarial ones, for the figure."""
    success = np.array([record.computed.success for record in batch.records[:NUM_EXAMPLES]])
    with records.writing(folder / EXAMPLES):
        (folder / EXAMPLES).mkdir(exist_ok=True)
        np.save(folder / EXAMPLES / f"{records.ORIGINAL}.npy", batch.images[:NUM_EXAMPLES])
        np.savez(folder / EXAMPLES / f"{batch.attack}.npz", images=batch.adversarial[:NUM_EXAMPLES], success=success)


def write_outputs(
    folder: pathlib.Path,
    run: metrics.Run,
    terminal: rich.console.Console,
    failures: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes summary.json and the figures of the records in a folder, beside their settings; prints the table.

    Args:
        folder: the folder.
        run: of its records.
        terminal: what to print on.
        failures: images that could not be read, whose attack is None, or that an attack could not be made on.
    """
    made_with = records.settings_of(folder)
    counts = {"dead_letters": failed(failures)} if failures else {}
    records.write(folder / records.SUMMARY, {**summary(run, made_with), **counts})
    named = {made_with["model"]: run}
    figures = {"characteristic": plots.characteristic(named), "budget": plots.budget(named, epsilons=run.epsilons)}
    if run.measures:
        figures["visibility"] = plots.visibility(named, run.measures[0])
    for name, figure in figures.items():
        plots.save(figure, folder / f"{name}.png")
    shown = [name for name in run.attacks if not failures or (folder / EXAMPLES / f"{name}.npz").exists()]
    if shown:
        plots.save(plots.examples(*kept_examples(folder, shown)), folder / "examples.png")
    terminal.print(
        tables.white_box(run, made_with),
        *tables.robust_accuracy(run),
        *tables.optimality(run),
        *tables.visibility(run),
    )
    for name in run.attacks:
        images, gradients = run.faulty(name)
        if images:
            terminal.print(
                f"{name}: on {images} of the {run.num_correct} images {gradients} gradients were not finite, or zero; "
                "where these images are failures, the network is not robust for that",
                markup=False,
                soft_wrap=True,
            )
        if run.masked(name):
            terminal.print(
                f"{name}: the network's gradients are masked: on {run.masked(name)} of the {run.num_correct} images an "
                "attack without gradients succeeded and none with them did; do not trust its robust accuracy: find "
                "what hides them, such as quantisation or noise, and attack the network without it",
                markup=False,
                soft_wrap=True,
            )
    tell_failures(terminal, failures)
    drawn = ", ".join(f"{name}.png" for name in figures)
    terminal.print(f"summary.json, records.jsonl, {drawn} and examples.png are in {folder}")


def write_failures(folder: pathlib.Path, failures: Sequence[Mapping[str, Any]]) -> None:
    """The dead letters of a pipeline, one a line; no file where there is none."""
    path = folder / DEAD_LETTERS
    with records.writing(path):
        if failures:
            path.write_text("".join(json.dumps(failure) + "\n" for failure in failures))
        else:
            path.unlink(missing_ok=True)


def tell_failures(terminal: rich.console.Console, failures: Sequence[Mapping[str, Any]]) -> None:
    """Says which images are missing in what is shown, if any."""
    if failures:
        told = ", ".join(f"{count} of {name}" for name, count in failed(failures).items())
        terminal.print(
            f"not in these numbers, because they could not be made: {told}; {DEAD_LETTERS} has the reasons, and the "
            "same command tries them again",
            markup=False,
            soft_wrap=True,
        )


def failed(failures: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many images could not be read, under "images", or not be attacked, by attack."""
    return dict(collections.Counter(failure["attack"] or "images" for failure in failures))


def kept_examples(
    folder: pathlib.Path, attacks: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What `keep_examples` kept: the originals; by attack, the adversarial images and where it succeeded.

    Raises:
        ValueError: files that cannot be read.
    """
    attacked, success = {}, {}
    try:
        originals = np.load(folder / EXAMPLES / f"{records.ORIGINAL}.npy", allow_pickle=False)
        for name in attacks:
            with np.load(folder / EXAMPLES / f"{name}.npz", allow_pickle=False) as kept:
                attacked[name], success[name] = kept["images"], kept["success"]
    except Exception as error:  # zipfile, zlib, EOF, key, OS and value errors, by what is wrong with a file
        raise ValueError(
            f"{folder / EXAMPLES} does not hold the examples of {', '.join(attacks)}: {error}; without them there is "
            f"no figure of examples, {records.SUMMARY} and {records.RECORDS} are written"
        ) from error
    return originals, attacked, success


def summary(run: metrics.Run, made_with: Mapping[str, Any]) -> dict[str, Any]:
    """The run in numbers, and what it was made with."""
    return {
        "model": made_with["model"],
        "dataset": made_with["dataset"],
        "accuracy": run.accuracy,
        "num_images": run.num_images,
        "num_correct": run.num_correct,
        "settings": made_with["settings"],
        "levels": made_with["levels"],
        "attacks": {
            name: {
                **tables.attack_summary(run, name),
                **_robust_accuracy(run, name),
                "settings": made_with["attacks"][name],
            }
            for name in run.attacks
        },
    }


def _robust_accuracy(run: metrics.Run, attack: str) -> dict[str, Any]:
    """By epsilon, with its interval; nothing where the run names no epsilon."""
    found = {f"{epsilon:g}": dataclasses.asdict(run.robust_accuracy(attack, epsilon)) for epsilon in run.epsilons}
    return {"robust_accuracy": found} if found else {}
