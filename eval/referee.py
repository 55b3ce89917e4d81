"""Referee: scores adversarial images, whoever made them, as eval.white_box scores its own (section 5.1).

    python -m eval.referee ddn.npz mine/fmn                       two attacks on C4 and the digits that ship with it
    python -m eval.referee --model=net.keras --dataset=nips2017 --data=DIR ddn.npz        on other images
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

import pathlib

from eval import flags
from models import console
from tf_smoothadv.evaluation.run import referee

FLAGS = flags.values(
    flags.images,
    flags.settings,
    flags.network,
    flags.saving,
    flags.visibility,
    flags.shard,
    flags.tensorboard,
    output="results/referee",
)


def main(paths: list[str]) -> None:
    """Scores what lies at the paths."""
    if not paths:
        raise ValueError("name at least one folder of PNG files or .npz file; received none")
    config = flags.config(FLAGS)
    referee(flags.load_one(config), config, map(pathlib.Path, paths))


if __name__ == "__main__":
    console.run(main, FLAGS)
