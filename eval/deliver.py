"""Delivery: rounds adversarial images, whoever made them, to 8 bits such that they stay adversarial.

    python -m eval.deliver ddn.npz mine/fmn                       two attacks on C4 and the digits that ship with it
    python -m eval.deliver --model=net.keras --dataset=nips2017 --data=DIR ddn.npz        on other images
    python -m benchmarks.adversaries --library=foolbox --attack=DDN --output=ddn.npz      makes one by another library

Each argument holds what one attack made of the dataset's images, as eval.referee takes it: a folder of PNG files, or a
.npz file with floats in [0, 1]. A perturbation that rounding to the nearest level would undo is rounded down the slope
of the margin where that is needed, at a gradient and some calls of the model an image; the least distorted images that
the model errs on are kept. Images that are of 8 bits already stay as they are.

Writes to --output the images, OUTPUT/images/ATTACK/NAME.png, and what eval.referee writes, for eval.report and
eval.figures. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

import pathlib

from eval import flags
from models import console
from tf_smoothadv.evaluation import deliver

FLAGS = flags.values(
    flags.images,
    flags.settings,
    flags.network,
    flags.visibility,
    flags.shard,
    flags.tensorboard,
    output="results/deliver",
)


def main(paths: list[str]) -> None:
    """Delivers what lies at the paths."""
    if not paths:
        raise ValueError("name at least one folder of PNG files or .npz file; received none")
    config = flags.config(FLAGS)
    deliver.evaluate(flags.load(config, [config.model])[config.model], config, map(pathlib.Path, paths))


if __name__ == "__main__":
    console.run(main, FLAGS)
