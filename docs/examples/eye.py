"""What the eye sees of noise, and of as much noise behind a mask: the maps of FLIP.

python docs/examples/eye.py eye.webp
"""

from __future__ import annotations

import pathlib
import sys

import flip_evaluator
import numpy as np
import skimage.data

import tf_smoothadv as sa
from tf_smoothadv.evaluation.rendering.pictures import Panel


def picture(size: int = 300, distortion: float = 12.0) -> sa.plots.Figure:
    """A row each for plain and masked noise of one norm: the image with it, and FLIP's map, 0 black, 0.2 white."""
    image = skimage.data.chelsea()[:size, 75 : 75 + size] / np.float32(255)
    noise = np.random.default_rng(0).normal(size=[1, *image.shape]).astype(np.float32)
    masked = sa.Masking().guided_by(image[None])(noise).numpy()
    rows = []
    for name, r in (("plain", noise[0]), ("masked", masked[0])):
        changed = np.clip(image + distortion * r / np.linalg.norm(r), 0, 1)
        changed = np.round(255 * changed).astype(np.float32) / 255
        seen, mean, _ = flip_evaluator.evaluate(image, changed, "LDR", applyMagma=False)
        shown = Panel(np.clip(seen / 0.2, 0, 1), f"FLIP, mean {mean:.3f}")
        rows.append([Panel(changed, f"{name}, D = {np.linalg.norm(changed - image):.1f}"), shown])
    return sa.plots.sheet(rows, side=2.4)


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
