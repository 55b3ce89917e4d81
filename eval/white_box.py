"""White-box evaluation: attacks a network and tells how often and at what distortion it errs (section 5.3).

    python -m eval.white_box                                      C4 on the 200 digits that ship with the project
    python -m eval.white_box --data=mnist.npz --num_images=1000   on the first 1,000 test digits
    python -m eval.white_box --attacks=cw,scw --settings=paper    two attacks with the paper's parameters
    python -m eval.white_box --model=net.keras                    your own network: [0, 1] to logits
    python -m eval.white_box --model=net.keras --dataset=nips2017 --data=DIR    on other images
    python -m eval.white_box --shard=1/4 --output=a               a quarter of the images; eval.merge joins the parts

Writes to --output: summary.json, records.jsonl (one line an image and attack), settings.json, characteristic.png,
budget.png, examples.png. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

import rich.console
from absl import flags

import models
from eval import data, inputs, settings, tensorboard
from eval.finish import finish, keep_examples
from eval.results import IMAGES, ORIGINAL, SHARD, Results, write_images
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
flags.DEFINE_string(
    "shard", "1/1", "i/n, from 1/n to n/n: attack only every n-th image; eval.merge joins the n folders of results."
)

flags.register_validator(
    "shard",
    lambda value: (found := SHARD.fullmatch(value)) is not None and int(found[1]) <= int(found[2]),
    message="shard must be i/n with i from 1 to n",
)


def main() -> None:
    """Runs what the flags say."""
    attacks = settings.preset(FLAGS.dataset, FLAGS.settings, FLAGS.attacks, FLAGS.levels)
    reference = settings.reference(FLAGS.dataset, FLAGS.settings)
    dataset = inputs.dataset(shard_of(FLAGS.shard))
    model = models.load(FLAGS.model)
    if FLAGS.labels == "predicted":
        dataset = data.labelled_by(model, dataset)
    models.check(model, *next(iter(dataset)))
    folder = console.output_folder(FLAGS.output)
    dataset = inputs.batched(dataset, [model], folder)
    made_with = {
        "model": FLAGS.model,
        "weights": models.fingerprint(model),
        "labels": FLAGS.labels,
        "shard": FLAGS.shard,
        **inputs.made_with(dataset, attacks),
    }
    results = Results(folder, made_with, protocol.Record)

    terminal = rich.console.Console(highlight=False)
    print_settings(terminal, attacks)
    correct = protocol.CorrectImages(model, dataset)
    board = tensorboard.Board(str(console.output_folder(FLAGS.tensorboard))) if FLAGS.tensorboard else None
    with progress(terminal) as bar:
        task = bar.add_task("", total=len(dataset.names) * len(attacks), completed=len(results.records))
        for batch in protocol.attack_batches(model, correct, attacks, reference=reference, done=results.done):
            if FLAGS.save_images:
                names = [dataset.names[record.image] for record in batch.records]
                write_images(folder / IMAGES / ORIGINAL, batch.images, names)
                write_images(folder / IMAGES / batch.attack, batch.delivered, names)
            if not any(image < batch.records[0].image for _, image in results.done):
                keep_examples(folder, batch)
            results.append(batch.records)
            if board:
                board.write(batch, correct.logits_of(batch.adversarial))
            bar.update(task, description=batch.attack, advance=len(batch.records))
        bar.update(task, completed=len(dataset.names) * len(attacks))
    run = protocol.finished(results.records, correct)

    finish(folder, run, terminal)


def shard_of(flag: str) -> tuple[int, int]:
    """(i, n) of "i/n"."""
    part, _, parts = flag.partition("/")
    return int(part), int(parts)


if __name__ == "__main__":
    console.run(main)
