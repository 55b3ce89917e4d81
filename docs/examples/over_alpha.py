"""From the smallest perturbation to the smoothest: FMN over alpha.

python docs/examples/over_alpha.py over_alpha.png
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

import models
import tf_smoothadv as sa
from tf_smoothadv.evaluation import data
from tf_smoothadv.front import over_alpha

ALPHAS = (0, 0.5, 0.8, 0.9, 0.95, 0.98)


def picture(num_images: int = 40, steps: int = 100, alphas: Sequence[float] = ALPHAS) -> sa.plots.Figure:
    """Mean distortion against smoothness energy, a point an alpha, and what is best of all of them."""
    images, labels = next(iter(data.load("mnist", None, num_images)))
    smoothing = sa.Smoothing(gamma=3)
    attacks = over_alpha(sa.attacks.FMN(steps, delivery=sa.Levels()), alphas, smoothing)
    return sa.plots.front(sa.front(models.c4(), images, labels, attacks, reference=smoothing))


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
