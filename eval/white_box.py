"""White-box evaluation: attacks a network and tells how often and at what distortion it errs (section 5.3).

    python -m eval.white_box                                      C4 on the 200 digits that ship with the project
    python -m eval.white_box --data=mnist.npz --num_images=1000   on the first 1,000 test digits
    python -m eval.white_box --attacks=cw,scw --settings=paper    two attacks with the paper's parameters
    python -m eval.white_box --attacks=fmn,alma --gradients=25    two attacks with fewer steps
    python -m eval.white_box --model=net.keras                    your own network: [0, 1] to logits
    python -m eval.white_box --model=net.keras --input_range=0,255 --outputs=probabilities    bytes to probabilities
    python -m eval.white_box --model=net.keras --dataset=nips2017 --data=DIR    on other images
    python -m eval.white_box --shard=1/4 --output=a               a quarter of the images; eval.merge joins the parts

Writes to --output: summary.json, records.jsonl (one line an image and attack), settings.json, characteristic.png,
budget.png, examples.png. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

from absl import flags

from eval import attacking, inputs, network, preset, running, saving, settings, shard, tensorboard
from eval.results import Results
from models import console
from tf_smoothadv import protocol

FLAGS = flags.FLAGS
for module in (inputs, preset, attacking, network, saving, shard):
    flags.adopt_module_key_flags(module)
flags.DEFINE_integer(
    "gradients",
    None,
    "Of the network, at most, for each image and each of an attack's settings; by default as many as these say.",
    lower_bound=1,
)
flags.DEFINE_string("output", "results/white_box", "Folder for the results.")
flags.DEFINE_string(
    "tensorboard", None, "Folder for TensorBoard: loss, distortion, successes and images of each batch as it comes."
)


def main() -> None:
    """Runs what the flags say."""
    attacks = settings.preset(FLAGS.dataset, FLAGS.settings, FLAGS.attacks, FLAGS.levels, FLAGS.gradients)
    model, dataset = network.loaded(inputs.dataset(shard.part()))
    folder = console.output_folder(FLAGS.output)
    dataset = inputs.batched(dataset, [model], folder)
    made_with = {
        **network.made_with(model),
        **shard.made_with(),
        **inputs.made_with(dataset),
        **preset.made_with(),
        **attacking.made_with(attacks),
    }
    board = tensorboard.Board(str(console.output_folder(FLAGS.tensorboard))) if FLAGS.tensorboard else None
    results = Results(folder, made_with, protocol.Record)
    running.attacked(model, dataset, attacks, results, preset.reference(), save_images=FLAGS.save_images, board=board)


if __name__ == "__main__":
    console.run(main)
