"""Which coefficients of JPEG files an attack changes.

python docs/examples/jpeg_coefficients.py jpeg_coefficients.png
"""

from __future__ import annotations

import io
import pathlib
import sys

import numpy as np
import PIL.Image

import models
import tf_smoothadv as sa
from tf_smoothadv import jpeg_files
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.rendering.pictures import Panel


def picture(num_images: int = 2, steps: int = 100, quality: int = 90) -> sa.plots.Figure:
    """A row a digit: as a JPEG file, as the adversarial file, and the changes, in each block of 8 x 8 by frequency."""
    digits, labels = next(iter(data.load("mnist", None, num_images)))
    files = []
    for digit in np.asarray(digits):
        buffer = io.BytesIO()
        PIL.Image.fromarray(np.round(255 * digit[..., 0]).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
        files.append(buffer.getvalue())
    delivery = sa.Jpeg(files)
    result = sa.attacks.FMN(steps, delivery=delivery)(models.c4(), delivery.images, labels)
    rows = []
    for place, file in enumerate(delivery.encode(result.code)):
        before, after = (jpeg_files.read(content).planes[0].astype(int) for content in (files[place], file))
        change = (after - before).transpose(0, 2, 1, 3)  # blocks of frequencies beside each other
        change = change.reshape(change.shape[0] * 8, -1, 1)
        shown = Panel(
            0.5 + 0.5 * change / max(np.abs(change).max(), 1), f"{np.sum(change != 0)} of {change.size} changed"
        )
        adversarial = Panel(
            result.adversarial[place].numpy(), f"D = {result.distortion[place]:.2f}", bool(result.success[place])
        )
        rows.append([Panel(delivery.images[place].numpy(), "JPEG file"), adversarial, shown])
    return sa.plots.sheet(rows, side=1.8)


if __name__ == "__main__":
    sa.plots.save(picture(), pathlib.Path(sys.argv[1]))
