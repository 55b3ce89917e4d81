"""What attacks have come to after any number of gradients.

python docs/examples/budget.py budget.png
"""

from __future__ import annotations

import pathlib
import sys

import models
import tf_smoothadv as sa
from tf_smoothadv.evaluation import data


def picture(num_images: int = 40, steps: int = 100) -> sa.plots.Figure:
    """Success, and the median of the least distortions so far, over the gradients that each attack took."""
    digits = data.load("mnist", None, num_images)
    fmn = sa.attacks.FMN(steps)
    attacks = {
        "fmn": fmn,
        "sfmn": fmn.replaced(smoothing=sa.Smoothing(alpha=0.94, gamma=3)),
        "pgd2": sa.attacks.PGD2(epsilon=2.0, step_size=0.5, steps=steps),
        "cw": sa.attacks.CarliniWagner(max(steps // 3, 1), 3, learning_rate=0.5, initial_const=1),
    }
    return sa.plots.budget({"C4": sa.evaluate(models.c4(), digits, attacks)})


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
