"""What a run of eval.white_box or eval.referee leaves in its folder: of each batch, and at its end."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.box
import rich.console
import rich.markup
import rich.table

from eval import plots, published, results
from eval.terminal import number
from tf_smoothadv import protocol

EXAMPLES = "examples"  # a folder of arrays: the first images, what each attack made of them, and where it succeeded
NUM_EXAMPLES = 6


def keep(kept: results.Results[protocol.Record], batch: protocol.Batch, names: Sequence[str] | None = None) -> None:
    """Adds the records of a batch to those in a folder, with what else is kept there.

    Args:
        kept: the records.
        batch: what to add.
        names: of the dataset's images, to write them as PNG; None to leave that.
    """
    if names is not None:
        chosen = [names[record.image] for record in batch.records]
        results.write_images(kept.folder / results.IMAGES / results.ORIGINAL, batch.images, chosen)
        results.write_images(kept.folder / results.IMAGES / batch.attack, batch.delivered, chosen)
    if not any(image < batch.records[0].image for _, image in kept.done):
        keep_examples(kept.folder, batch)
    kept.append(batch.records)


def keep_examples(folder: pathlib.Path, batch: protocol.Batch) -> None:
    """The first images of a batch, the originals and the adversarial ones, for the figure."""
    success = np.array([record.success for record in batch.records[:NUM_EXAMPLES]])
    with results.writing(folder / EXAMPLES):
        (folder / EXAMPLES).mkdir(exist_ok=True)
        np.save(folder / EXAMPLES / f"{results.ORIGINAL}.npy", batch.images[:NUM_EXAMPLES])
        np.savez(folder / EXAMPLES / f"{batch.attack}.npz", images=batch.adversarial[:NUM_EXAMPLES], success=success)


def finish(folder: pathlib.Path, run: protocol.Run, terminal: rich.console.Console) -> None:
    """Writes summary.json and the figures of the records in a folder, beside their settings; prints the table."""
    made_with = results.settings_of(folder)
    results.write(folder / results.SUMMARY, summary(run, made_with))
    for draw in (plots.characteristic, plots.budget):
        plots.save(draw({made_with["model"]: run}), folder / f"{draw.__name__}.png")
    plots.save(plots.examples(*kept_examples(folder, run.attacks)), folder / "examples.png")
    terminal.print(table(run, made_with))
    for name in run.attacks:
        images, gradients = run.faulty(name)
        if images:
            terminal.print(
                f"{name}: on {images} of the {run.num_correct} images {gradients} gradients were not finite, or zero; "
                "where these images are failures, the network is not robust for that",
                markup=False,
                soft_wrap=True,
            )
    terminal.print(f"summary.json, records.jsonl, characteristic.png, budget.png and examples.png are in {folder}")


def kept_examples(
    folder: pathlib.Path, attacks: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What `keep_examples` kept: the originals; by attack, the adversarial images and where it succeeded.

    Raises:
        ValueError: files that cannot be read.
    """
    attacked, success = {}, {}
    try:
        originals = np.load(folder / EXAMPLES / f"{results.ORIGINAL}.npy", allow_pickle=False)
        for name in attacks:
            with np.load(folder / EXAMPLES / f"{name}.npz", allow_pickle=False) as kept:
                attacked[name], success[name] = kept["images"], kept["success"]
    except Exception as error:  # zipfile, zlib, EOF, key, OS and value errors, by what is wrong with a file
        raise ValueError(
            f"{folder / EXAMPLES} does not hold the examples of {', '.join(attacks)}: {error}; without them there is "
            f"no figure of examples, {results.SUMMARY} and {results.RECORDS} are written"
        ) from error
    return originals, attacked, success


def summary(run: protocol.Run, made_with: Mapping[str, Any]) -> dict[str, Any]:
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
            name: {**results.attack_summary(run, name), "settings": made_with["attacks"][name]} for name in run.attacks
        },
    }


def table(run: protocol.Run, made_with: Mapping[str, Any]) -> rich.table.Table:
    """The paper's table of P_suc and D, with what it cost and, where the paper has the network, its own numbers."""
    paper = published.on(made_with["dataset"], made_with["model"])
    result = rich.table.Table(
        title=f"{made_with['model']}: accuracy {run.accuracy:.3f} on {run.num_images} images of {made_with['dataset']}",
        caption="P: share of the correctly classified images whose class the attack changes. D: mean L2 distortion of "
        "those. P8, D8: of the images rounded to 8 bits. E: smoothness energy, 0 is smooth like the image. "
        "grads, ms: an image.",
        box=rich.box.SIMPLE,
    )
    headings = ["attack", "P", "D", "P8", "D8", "E", "grads", "ms"]
    for heading in headings + ["paper P", "D"] * bool(paper):
        result.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=True)
    for name in run.attacks:
        row = results.attack_summary(run, name)
        result.add_row(
            rich.markup.escape(name),
            number(row["p_suc"], 3),
            number(row["mean_distortion"], 2),
            number(row["p_suc_8bit"], 3),
            number(row["mean_distortion_8bit"], 2),
            number(row["smoothness_energy"], 2),
            number(row["gradients_per_image"], 0),
            number(1000 * row["seconds_per_image"], 0),
            *(f"{value:.2f}" for value in paper.get(name, ())),
        )
    return result
