"""Converts a TF-Slim checkpoint into a Keras file.

    python -m models.convert_slim --network=inception_v3 --checkpoint=inception_v3.ckpt --output=inception_v3.keras
    python -m models.convert_slim --network=ens4_adv_inception_v3 --checkpoint=download --output=ens4.keras

The file holds a Keras model from images [B, H, W, 3] in [0, 1] to logits, of standard Keras layers: it loads anywhere.
"""

from __future__ import annotations

import pathlib

from absl.flags import DEFINE_bool, DEFINE_enum, DEFINE_string, FlagValues

from models import console, slim, slim_archives
from tf_smoothadv.evaluation.records import output_folder

DOWNLOAD = "download"

FLAGS = FlagValues()
DEFINE_enum("network", None, list(slim.NETWORKS), "The network.", required=True, flag_values=FLAGS)
DEFINE_string(
    "checkpoint",
    None,
    "A V1 checkpoint, a V2 one by its path with or without .index, a folder of one, or 'download' for that published.",
    required=True,
    flag_values=FLAGS,
)
DEFINE_string("output", None, "The Keras file to write, .keras.", required=True, flag_values=FLAGS)
DEFINE_bool("background", True, "Keep class 0, the background: 1001 logits, else 1000.", flag_values=FLAGS)
DEFINE_string("scope", "", "What stands before the network's own scope in the checkpoint's names.", flag_values=FLAGS)
DEFINE_bool(
    "moving_averages",
    False,
    "Take the variables' exponential moving averages instead of their values.",
    flag_values=FLAGS,
)


def main() -> None:
    """Converts what the flags say."""
    output = pathlib.Path(FLAGS.output)
    if output.suffix != ".keras":
        raise ValueError(f"output must end in .keras; received {FLAGS.output}")
    output_folder(output.parent)
    checkpoint = slim_archives.download(FLAGS.network) if FLAGS.checkpoint == DOWNLOAD else FLAGS.checkpoint
    values = slim.read(checkpoint)
    model = slim.build(FLAGS.network)
    ignored = slim.assign(model, values, FLAGS.scope, FLAGS.moving_averages)
    if not FLAGS.background:
        model = slim.without_background(model)
    model.save(output)
    for name in ignored:
        print(f"ignored: {name}")
    print(f"{len(values) - len(ignored)} variables of {checkpoint} are in {output}, {len(ignored)} are ignored")


if __name__ == "__main__":
    console.run(main, FLAGS)
