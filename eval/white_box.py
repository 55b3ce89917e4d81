"""White-box evaluation: attacks a network and tells how often and at what distortion it errs (section 5.3).

    python -m eval.white_box                                      C4 on the 200 digits that ship with the project
    python -m eval.white_box --data=mnist.npz --num_images=1000   on the first 1,000 test digits
    python -m eval.white_box --attacks=cw,scw --settings=paper    two attacks with the paper's parameters
    python -m eval.white_box --model=net.keras                    your own network: [0, 1] to logits
    python -m eval.white_box --model=net.keras --dataset=nips2017 --data=DIR    on other images

Writes to --output: summary.json, records.jsonl (one line an image and attack), settings.json, characteristic.png,
examples.png. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import rich.box
import rich.console
import rich.table
from absl import flags

import models
from eval import data, inputs, plots, published, settings, tensorboard
from eval.results import IMAGES, ORIGINAL, Results, attack_summary, finite, write_images
from eval.terminal import print_settings, progress
from models import console
from tf_smoothadv import protocol

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(inputs)
flags.DEFINE_string(
    "model",
    "c4",
    f"{', '.join(models.FORMS)}, or the path of a .keras or .h5 file or of a SavedModel folder: a model from images in "
    "[0, 1] to logits.",
)
flags.DEFINE_enum(
    "labels",
    "given",
    ["given", "predicted"],
    "The classes to leave: the dataset's, or what the model predicts, for images without a class or a network that has "
    "learnt nothing.",
)
flags.DEFINE_string("output", "results/white_box", "Folder for the results.")
flags.DEFINE_bool(
    "save_images",
    False,
    "Also write the images as PNG, to OUTPUT/images/original/ and OUTPUT/images/ATTACK/, for eval.report.",
)
flags.DEFINE_string(
    "tensorboard", None, "Folder for TensorBoard: loss, distortion, successes and images of each batch as it comes."
)

EXAMPLES = 6  # images of the figure


def main() -> None:
    """Runs what the flags say."""
    attacks = settings.preset(FLAGS.dataset, FLAGS.settings, FLAGS.attacks, FLAGS.levels)
    reference = settings.reference(FLAGS.dataset, FLAGS.settings)
    dataset = inputs.dataset()
    model = models.load(FLAGS.model)
    if FLAGS.labels == "predicted":
        dataset = data.labelled_by(model, dataset)
    models.check(model, *next(iter(dataset)))
    dataset = inputs.batched(dataset, [model])
    made_with = {
        "model": FLAGS.model,
        "weights": models.fingerprint(model),
        "labels": FLAGS.labels,
        **inputs.made_with(dataset, attacks),
    }
    results = Results(pathlib.Path(FLAGS.output), made_with, protocol.Record)

    terminal = rich.console.Console(highlight=False)
    print_settings(terminal, attacks)
    correct = protocol.CorrectImages(model, dataset)
    board = tensorboard.Board(FLAGS.tensorboard) if FLAGS.tensorboard else None
    with progress(terminal) as bar:
        task = bar.add_task("", total=len(dataset.names) * len(attacks), completed=len(results.records))
        for batch in protocol.attack_batches(model, correct, attacks, reference=reference, done=results.done):
            if FLAGS.save_images:
                names = [dataset.names[record.image] for record in batch.records]
                write_images(results.folder / IMAGES / ORIGINAL, batch.images, names)
                write_images(results.folder / IMAGES / batch.attack, batch.delivered, names)
            if not any(image < batch.records[0].image for _, image in results.done):
                keep_examples(results.folder / "examples", batch)
            results.append(batch.records)
            if board:
                board.write(batch, correct.logits_of(batch.adversarial))
            bar.update(task, description=batch.attack, advance=len(batch.records))
        bar.update(task, completed=len(dataset.names) * len(attacks))
    run = protocol.finished(results.records, correct)

    (results.folder / "summary.json").write_text(json.dumps(finite(summary(run, attacks)), indent=1) + "\n")
    plots.characteristic({FLAGS.model: run}, results.folder / "characteristic.png")
    shown = {name: np.load(results.folder / "examples" / f"{name}.npy") for name in ("original", *run.attacks)}
    success = {name: run.outcome(name).success for name in run.attacks}
    plots.examples(shown.pop("original"), shown, success, results.folder / "examples.png")
    terminal.print(table(run))
    terminal.print(f"summary.json, records.jsonl, characteristic.png and examples.png are in {results.folder}")


def keep_examples(folder: pathlib.Path, batch: protocol.Batch) -> None:
    """The first images of a batch, the originals and the adversarial ones, for the figure."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "original.npy", batch.images[:EXAMPLES])
    np.save(folder / f"{batch.attack}.npy", batch.adversarial[:EXAMPLES])


def summary(run: protocol.Run, attacks: settings.Preset) -> dict[str, Any]:
    """The run in numbers, and what it was made with."""
    return {
        "model": FLAGS.model,
        "dataset": FLAGS.dataset,
        "accuracy": run.accuracy,
        "num_images": run.num_images,
        "num_correct": run.num_correct,
        "settings": FLAGS.settings,
        "levels": FLAGS.levels,
        "attacks": {
            name: {**attack_summary(run, name), "settings": settings.described(attacks[name])} for name in run.attacks
        },
    }


def table(run: protocol.Run) -> rich.table.Table:
    """The paper's table of P_suc and D, with what it cost and, where the paper has the network, its own numbers."""
    paper = published.on(FLAGS.dataset, FLAGS.model)
    result = rich.table.Table(
        title=f"{FLAGS.model}: accuracy {run.accuracy:.3f} on {run.num_images} images of {FLAGS.dataset}",
        caption="P: share of the correctly classified images whose class the attack changes. D: mean L2 distortion of "
        "those. P8, D8: of the images rounded to 8 bits. E: smoothness energy, 0 is smooth like the image. "
        "grads, ms: an image.",
        box=rich.box.SIMPLE,
    )
    headings = ["attack", "P", "D", "P8", "D8", "E", "grads", "ms"]
    for heading in headings + ["paper P", "D"] * bool(paper):
        result.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=True)
    for name in run.attacks:
        row = attack_summary(run, name)
        result.add_row(
            name,
            f"{row['p_suc']:.3f}",
            f"{row['mean_distortion']:.2f}",
            f"{row['p_suc_8bit']:.3f}",
            f"{row['mean_distortion_8bit']:.2f}",
            f"{row['smoothness_energy']:.2f}",
            f"{row['gradients_per_image']:.0f}",
            f"{1000 * row['seconds_per_image']:.0f}",
            *(f"{value:.2f}" for value in paper.get(name, ())),
        )
    return result


if __name__ == "__main__":
    console.run(main)
