"""Referee: scores adversarial images, whoever made them, as eval.white_box scores its own (section 5.1).

    python -m eval.referee ddn.npz mine/fmn                       two attacks on C4 and the digits that ship with it
    python -m eval.referee --model=net.keras --dataset=nips2017 --data=DIR ddn.npz        on other images
    python -m eval.referee results/white_box/images/*cw           what eval.white_box --save_images wrote, once more
    python -m benchmarks.adversaries --library=foolbox --attack=DDN --output=ddn.npz      makes one by another library

Each argument holds what one attack made of the dataset's images; the last part of its path is the attack's name:

    a folder of PNG files      NAME.png, where NAME is the image's in the dataset: 00000.png is the first digit
    a .npz file                images [N, H, W, C], uint8 or floats in [0, 1], and indices [N], the images' positions in
                               the dataset; without indices they are the first N

Floats are judged as they are and as delivered, rounded to 8 bits. Only images that the model classifies correctly
count; one of them without an adversarial image is a failure, whose record is that of the original itself. What an
attack cost is not known here. Writes to --output what eval.white_box writes, for eval.report and eval.figures.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Mapping

import rich.console
from absl import flags

from eval import inputs, network, preset, saving, submissions
from eval.finish import finish, keep
from eval.results import Results
from eval.terminal import print_settings, progress
from models import console
from tf_smoothadv import protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.smoothing import Smoothing

FLAGS = flags.FLAGS
for module in (inputs, preset, network, saving):
    flags.adopt_module_key_flags(module)
flags.DEFINE_string("output", "results/referee", "Folder for the results.")


def main(paths: list[str]) -> None:
    """Scores what lies at the paths."""
    if not paths:
        raise ValueError("name at least one folder of PNG files or .npz file; received none")
    dataset = inputs.dataset()
    first, _ = next(iter(dataset))
    submitted = submissions.read_all(
        [pathlib.Path(path) for path in dict.fromkeys(paths)], dataset.names, tuple(first.shape[1:])
    )
    model, dataset = network.loaded(dataset, gradients=False)
    folder = console.output_folder(FLAGS.output)
    dataset = inputs.batched(dataset, [model], folder)
    made_with = {
        **network.made_with(model),
        **inputs.made_with(dataset),
        **preset.made_with(),
        "levels": None,
        "attacks": {name: submission.described() for name, submission in submitted.items()},
    }
    results = Results(folder, made_with, protocol.Record)

    terminal = rich.console.Console(highlight=False)
    print_settings(terminal, made_with["attacks"])
    correct = protocol.CorrectImages(model, dataset)
    with progress(terminal) as bar:
        task = bar.add_task("", total=len(dataset.names) * len(submitted))
        for batch in batches(model, correct, submitted, preset.reference(), results.done):
            keep(results, batch, dataset.names if FLAGS.save_images else None)
            bar.update(task, description=batch.attack, advance=len(batch.records))
        bar.update(task, completed=len(dataset.names) * len(submitted))
    run = protocol.finished(results.records, correct)
    for name, submission in submitted.items():
        missing = submission.missing([record.image for record in run.records if record.attack == name])
        if missing:
            terminal.print(
                f"{name}: {len(missing)} of the {run.num_correct} images have no adversarial image, the first of them "
                f"{dataset.names[missing[0]]}: they count as failures",
                markup=False,
                soft_wrap=True,
            )

    finish(folder, run, terminal)


def batches(
    model: core.Model,
    correct: protocol.CorrectImages,
    submitted: Mapping[str, submissions.Submission],
    reference: Smoothing,
    done: Collection[tuple[str, int]],
) -> Iterator[protocol.Batch]:
    """What `protocol.attack_batches` yields, of images that are there already."""
    for originals in correct:
        smoother = reference.guided_by(originals.images)
        for name, submission in submitted.items():
            if not all((name, int(position)) in done for position in originals.positions):
                yield protocol.judged(model, name, originals, submission.on(originals), smoother)


if __name__ == "__main__":
    console.run(main, takes_arguments=True)
