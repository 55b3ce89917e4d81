"""What a JPEG file costs: its least perturbation beside that of a PNG file, both for a network that is linear.

    python -m benchmarks.lattice DIR --model=net.keras       for DIR/*.jpg of 4:4:4

The network is replaced by its tangent at the original: a perturbation r is adversarial where g r >= c. Told are

    PNG     the least |r| of whole levels of pixels;
    steps   that of whole steps of a file's coefficients, before a decoder rounds to bytes;
    nearest the least of the nearest coefficients along g, decoded to bytes;
    JPEG    the least of what `Jpeg` finds by its search, from there, decoded to bytes.

The first two are known but for a bracket: for a multiplier lambda the point of a lattice of least |r|^2 - lambda g r is
found coefficient by coefficient, exactly; where it reaches c it is a perturbation, and whatever lambda,
|r|^2 + lambda (c - g r) is below the square of all of them (Everett 1963, https://doi.org/10.1287/opre.11.3.399). That
pixels end at 0 and 255 is left out.
"""

from __future__ import annotations

import itertools
import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl.flags import DEFINE_integer, DEFINE_string, FlagValues

import models
from models import console
from tf_smoothadv import criteria, jpeg, jpeg_transform, resizing
from tf_smoothadv.evaluation.data import photographs

BISECTIONS = 40  # of the multiplier
SEARCHES = 10  # each from where the one before has ended, as in an attack
AROUND = 3  # steps of Cb and Cr that are tried around the least point of all reals

FLAGS = FlagValues()
DEFINE_string("model", None, "A Keras file; as eval.photo takes it.", flag_values=FLAGS)
DEFINE_integer("photographs", 24, "How many, the first by name.", lower_bound=1, flag_values=FLAGS)


class Least(NamedTuple):
    """Between what the least |r| lies.

    Attributes:
        below: no perturbation is smaller.
        found: one is so large.
    """

    below: float
    found: float


Point = Callable[[float], tuple[float, float]]


def least(point: Point, needed: float) -> Least:
    """The least |r| of a lattice with g r >= `needed`, which is positive.

    Args:
        point: for a multiplier the |r|^2 and the g r of the point of least |r|^2 - lambda g r; both grow with it.

    Raises:
        ValueError: no multiplier is large enough.
    """
    low, high = 0.0, 1e-12
    while point(high)[1] < needed:
        low, high = high, 2 * high
        if high > 1e30:
            raise ValueError("no perturbation of the lattice is large enough")
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if point(middle)[1] >= needed else (middle, high)
    energy, gain = point(high)
    return Least(math.sqrt(max(energy + high * (needed - gain), 0)), math.sqrt(energy))


def of_pixels(slope: np.ndarray) -> Point:
    """The lattice of whole levels, for g in units of a level."""

    def point(multiplier: float) -> tuple[float, float]:
        steps = np.round(multiplier * slope / 2)
        return float(np.sum(steps**2)), float(np.sum(steps * slope))

    return point


def of_coefficients(slopes: np.ndarray, tables: np.ndarray) -> Point:
    """The lattice of a file of 4:4:4.

    Args:
        slopes: g along Y, Cb and Cr at each frequency of each block, [..., 8, 8, 3], per unit of the coefficient.
        tables: their steps, [8, 8, 3].

    Raises:
        ValueError: a coefficient of chroma that is further than `AROUND` steps from where all reals would have it.
    """
    colors = jpeg_transform.FROM_YCC.T @ jpeg_transform.FROM_YCC  # the transform is orthonormal, colours are not
    grams = tables[..., :, None] * colors * tables[..., None, :]
    slopes = slopes * tables
    grams = np.broadcast_to(grams, (*slopes.shape, 3)).reshape(-1, 3, 3)
    slopes, smallest = slopes.reshape(-1, 3), np.linalg.eigvalsh(grams)[:, 0]
    inverses = np.linalg.inv(grams)
    around = np.arange(-AROUND, AROUND + 1.0)

    def point(multiplier: float) -> tuple[float, float]:
        moving = multiplier * np.abs(slopes).max(1) > smallest  # elsewhere 0 is least: steps are whole
        g, gram = slopes[moving], grams[moving]
        real = multiplier / 2 * np.einsum("nij,nj->ni", inverses[moving], g)
        best = np.full([4, len(g)], np.inf)  # |r|^2 - lambda g r, |r|^2, g r, and how far chroma is from the reals'
        for move in itertools.product(around, around):
            chroma = np.round(real[:, 1:]) + move
            y = np.round((multiplier * g[:, 0] / 2 - np.sum(gram[:, 0, 1:] * chroma, 1)) / gram[:, 0, 0])
            steps = np.concatenate([y[:, None], chroma], 1)
            energy, gain = np.einsum("ni,nij,nj->n", steps, gram, steps), np.einsum("ni,ni->n", steps, g)
            value = energy - multiplier * gain
            here = np.stack([value, energy, gain, np.full_like(y, np.abs(move).max())])
            best = np.where(value < best[0], here, best)
        if (best[3] == AROUND).any():
            raise ValueError(f"a coefficient of chroma goes {AROUND} steps from the reals': more of them must be tried")
        return float(best[1].sum()), float(best[2].sum())

    return point


def of_file(file: jpeg.Jpeg, slope: np.ndarray, searches: int) -> Point:
    """What the file near lambda g / 2 is decoded to, after so many searches; in levels, as `of_pixels` has them."""

    def point(multiplier: float) -> tuple[float, float]:
        x = file.images + multiplier * slope / 510
        delivered = file.delivered(x)
        for _ in range(searches):
            delivered = file.searched(x, before=delivered.code)
        r = 255 * (delivered.images - file.images)
        return float(tf.reduce_sum(r**2)), float(tf.reduce_sum(r * slope))

    return point


class Compared(NamedTuple):
    """The least perturbations of a file, in [0, 1]; see above.

    Attributes:
        png, steps: between what they lie.
        nearest, jpeg: what is found.
    """

    png: Least
    steps: Least
    nearest: float
    jpeg: float


def compared(model: Any, path: pathlib.Path) -> Compared:
    """What the least perturbations are by the network's tangent at a file.

    Raises:
        ValueError: a file that is not of 4:4:4.
    """
    file = jpeg.Jpeg([path])
    if file.form.planes != 3 or file.form.sampling != (1, 1):
        raise ValueError(f"{path} must be of 4:4:4; it is {file.form}")
    label = tf.argmax(model(file.images), axis=1, output_type=tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(file.images)
        margin = criteria.margin(model(file.images), label)
    slope, needed = -tape.gradient(margin, file.images), 255 * float(margin[0])
    along = [
        jpeg._transformed(tf.tensordot(slope, tf.constant(color, tf.float32), 1)) for color in jpeg_transform.FROM_YCC.T
    ]
    tables = np.moveaxis(file.tensors()[0][0].numpy(), 0, -1).astype(np.float64)
    points = (
        of_pixels(slope.numpy().astype(np.float64)),
        of_coefficients(np.stack(along, -1).astype(np.float64), tables),
        of_file(file, slope, 0),
        of_file(file, slope, SEARCHES),
    )
    png, steps, nearest, found = (Least(*(value / 255 for value in least(point, needed))) for point in points)
    return Compared(png, steps, nearest.found, found.found)


def main(folders: list[str]) -> None:
    """Compares the files of each folder."""
    if FLAGS.model is None or not folders:
        raise ValueError("name --model and at least one folder")
    model = resizing.behind(models.load(FLAGS.model))
    for folder in folders:
        paths = [path for path in photographs.photos([folder]) if path.suffix == ".jpg"][: FLAGS.photographs]
        found = [compared(model, path) for path in paths]
        means = np.mean([(one.png.found, one.steps.below, one.nearest, one.jpeg) for one in found], axis=0)
        png, *others = means
        told = [
            f"{name} {mean:.3f} ({mean / png:.2f} times)" for name, mean in zip(("steps", "nearest", "JPEG"), others)
        ]
        print(f"{folder}: {len(found)} files, for the tangent D of PNG {png:.3f}, {', '.join(told)}")


if __name__ == "__main__":
    console.run(main, FLAGS)
