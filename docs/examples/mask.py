"""Where masking lets a perturbation be large: the weights of two masks of a photograph.

python docs/examples/mask.py mask.webp
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import skimage.data

import tf_smoothadv as sa
from tf_smoothadv.evaluation.rendering.pictures import Panel


def picture(size: int = 300) -> sa.plots.Figure:
    """The photograph's middle, and each mask, white where it is largest."""
    image = skimage.data.chelsea()[:size, 75 : 75 + size]
    row = [Panel(image, "original")]
    for texture in ("hill", "deviation"):
        weights = sa.Masking(texture).guided_by(image[None] / np.float32(255)).mask.numpy()[0]
        row.append(Panel(weights / weights.max(), f"{texture}: {weights.min():.2f} to {weights.max():.2f}"))
    return sa.plots.sheet([row], side=2.4)


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
