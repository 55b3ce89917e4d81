"""What a plain and a smooth attack add to digits.

python docs/examples/perturbations.py perturbations.png
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

import models
import tf_smoothadv as sa
from tf_smoothadv.evaluation import data


def picture(num_images: int = 3, steps: int = 100) -> sa.plots.Figure:
    """A row a digit: the original, and for each attack the adversarial image and the perturbation."""
    images, labels = next(iter(data.load("mnist", None, num_images)))
    plain = sa.attacks.FMN(steps, delivery=sa.Levels())
    smooth = plain.replaced(smoothing=sa.Smoothing(alpha=0.94, gamma=3))
    results = {name: attack(models.c4(), images, labels) for name, attack in (("fmn", plain), ("sfmn", smooth))}
    adversarial = {name: result.adversarial.numpy() for name, result in results.items()}
    success = {name: result.success.numpy() for name, result in results.items()}
    return sa.plots.examples(np.asarray(images), adversarial, success)


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
