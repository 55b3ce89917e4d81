"""What a magnifier shows of noise, and of as much noise made smooth like the image.

python docs/examples/magnifier.py magnifier.webp
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import skimage.data

import tf_smoothadv as sa
from tf_smoothadv.evaluation.rendering import pictures
from tf_smoothadv.evaluation.rendering.pictures import Panel


def picture(size: int = 300, distortion: float = 4.0) -> sa.plots.Figure:
    """Above the images, below the same magnified (22), all to one range."""
    original = skimage.data.chelsea()[:size, 75 : 75 + size]
    image = original / np.float32(255)
    noise = np.random.default_rng(0).normal(size=[1, *image.shape]).astype(np.float32)
    smooth = sa.Smoothing(alpha=0.997, gamma=10).guided_by(image[None]).apply(noise).numpy()
    shown = {"original": original}
    for name, r in (("noise", noise[0]), ("smooth", smooth[0])):
        changed = np.clip(image + distortion * r / np.linalg.norm(r), 0, 1)
        shown[f"{name}, D = {np.linalg.norm(changed - image):.1f}"] = np.round(255 * changed).astype(np.uint8)
    above = [Panel(pixels, name) for name, pixels in shown.items()]
    below = [Panel(pixels, "magnified") for pixels in pictures.magnified(list(shown.values()))]
    return sa.plots.sheet([above, below], side=2.4)


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
