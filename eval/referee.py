"""Referee: scores adversarial images, whoever made them, as eval.white_box scores its own (section 5.1).

    python -m eval.referee ddn.npz mine/fmn                       two attacks on C4 and the digits that ship with it
    python -m eval.referee --model=net.keras --dataset=nips2017 --data=DIR ddn.npz        on other images
    python -m eval.referee --beam --workers=4 ddn.npz             in several processes: see eval.beam
    python -m eval.referee results/white_box/images/*cw           what eval.white_box --save_images wrote, once more
    python -m benchmarks.adversaries --library=foolbox --attack=DDN --output=ddn.npz      makes one by another library

Each argument holds what one attack made of the dataset's images; the last part of its path is the attack's name:

    a folder of PNG files      NAME.png, where NAME is the image's in the dataset: 00000.png is the first digit
    a .npz file                images [N, H, W, C], uint8 or floats in [0, 1], and indices [N], the images' indices in
                               the dataset; without indices they are the first N

Floats are judged as they are and as delivered, rounded to 8 bits. Only images that the model classifies correctly
count; one of them without an adversarial image is a failure, whose record is that of the original itself. What an
attack cost is not known here. Writes to --output what eval.white_box writes, for eval.report and eval.figures.
"""

from __future__ import annotations

import functools
import pathlib

from eval import flags
from models import console
from tf_smoothadv import command
from tf_smoothadv.evaluation.referee import referee

FLAGS = flags.values(
    flags.images,
    flags.settings,
    flags.network,
    flags.saving,
    flags.visibility,
    flags.shard,
    flags.by_beam,
    flags.tensorboard,
    output="results/referee",
)


def main(arguments: list[str]) -> None:
    """Scores what lies at the paths."""
    paths = [argument for argument in arguments if not argument.startswith("--")]
    if not paths:
        raise ValueError("name at least one folder of PNG files or .npz file; received none")
    config, submitted = flags.config(FLAGS), map(pathlib.Path, paths)
    where = flags.where_by_beam(FLAGS, [argument for argument in arguments if argument not in paths])
    if where is None:
        referee(flags.load_one(config), config, submitted)
        return
    from tf_smoothadv.evaluation import beam  # of another extra than the rest

    load = functools.partial(command.called, "eval.flags", "load", config, [config.model])
    beam.referee(load, config, submitted, where)


if __name__ == "__main__":
    console.run(main, FLAGS)
