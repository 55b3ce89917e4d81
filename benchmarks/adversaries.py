"""Adversarial images by an attack of another library, for eval.referee to score.

    python -m benchmarks.adversaries --library=foolbox --attack=DDN --output=ddn.npz     of the 200 digits that ship
    python -m benchmarks.adversaries --library=art --attack=PGD2 --num_images=20 --output=pgd2.npz
    python -m benchmarks.adversaries --model=net.keras --dataset=nips2017 --data=DIR --output=ddn.npz
    python -m eval.referee ddn.npz                                                       scores them

Writes to --output the array `images` [N, H, W, C], one for each image of the dataset, which is attacked on what the
network says of it. Epsilons, step sizes and learning rates are those of benchmarks/peers.py.
"""

from __future__ import annotations

import pathlib

import numpy as np
import rich.progress
from absl import flags

import models
from benchmarks import adversarial_library, networks, peers
from eval import flags as shared
from models import console
from tf_smoothadv import checks
from tf_smoothadv.evaluation import records, run
from tf_smoothadv.evaluation.data import submissions

LIBRARIES = {
    "foolbox": peers.foolbox,
    "art": peers.art,
    "tf_smoothadv": peers.ours,
    adversarial_library.NAME: adversarial_library.perceptual,
}

FLAGS = shared.values(shared.images)
flags.DEFINE_enum("library", "foolbox", list(LIBRARIES), "Whose attack.", flag_values=FLAGS)
flags.DEFINE_string(
    "attack",
    "DDN",
    "FGSM, PGD2, C&W, DDN or FMN; of art PGD2 or C&W; of adversarial-library PerC-AL, ALMA of CIEDE2000 or of SSIM.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "model", "c4", f"The network: {', '.join(models.FORMS)}, or the path of a model.", flag_values=FLAGS
)
flags.DEFINE_integer("steps", 100, "Steps, of C&W for each constant.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("constants", peers.CONSTANTS, "C&W's constants.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("output", "adversaries.npz", "The file to write.", flag_values=FLAGS)


def main() -> None:
    """Writes what the flags say."""
    path = pathlib.Path(FLAGS.output)
    if path.suffix != submissions.ARRAYS:
        raise ValueError(f"output must end in {submissions.ARRAYS}; received {path}")
    records.output_folder(path.parent)
    model = models.load(FLAGS.model)
    config = shared.config(FLAGS)
    dataset = run.batched(run.loaded(config), [model], config)
    made = []
    for originals, _ in rich.progress.track(dataset, "attacking", total=-(-len(dataset.names) // dataset.batch_size)):
        problem = networks.problem(model, originals.numpy(), networks.DIGITS)
        attacks = LIBRARIES[FLAGS.library](problem, FLAGS.steps, FLAGS.constants)
        checks.one_of("attack", FLAGS.attack, attacks)
        made.append(attacks[FLAGS.attack]())
    np.savez_compressed(path, images=np.concatenate(made))
    print(path)


if __name__ == "__main__":
    console.run(main, FLAGS)
