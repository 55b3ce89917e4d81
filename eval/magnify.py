"""Adversarial magnification (22): shows what an image may hide, from the image alone.

    python -m eval.magnify photo.png --output=seen             can you tell whether it was attacked?
    python -m eval.magnify x.png cw/x.png scw/x.png            an original and two attacks side by side, in one range
    python -m eval.magnify photo.jpg --setting=paper           with the standard deviations of the paper's text

Writes to --output each magnified image as PNG, pixel for pixel, and side_by_side.png, the images above the magnified.
"""

from __future__ import annotations

import pathlib

import PIL.Image
import rich.progress
from absl.flags import DEFINE_enum, DEFINE_float

from eval import flags
from models import console
from tf_smoothadv import magnification
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import pictures, plots

FLAGS = flags.values(output="results/magnify")
DEFINE_float(
    "beta",
    0.8,
    "Share of the local against the global deviation.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
DEFINE_enum(
    "setting",
    "code",
    list(magnification.SETTINGS),
    "Standard deviations of the bilateral filter: the authors' code's, or the text's, under which edges throw halos.",
    flag_values=FLAGS,
)

SHEET = "side_by_side"


def main(files: list[str]) -> None:
    """Magnifies the files."""
    if not files:
        raise ValueError("name at least one image file; received none")
    paths = [pathlib.Path(file) for file in dict.fromkeys(files)]
    images = [decoding.read(path) for path in rich.progress.track(paths, "reading", transient=True)]
    seen = pictures.magnified(images, FLAGS.beta, FLAGS.setting)

    folder = records.output_folder(FLAGS.output)
    names = pictures.distinct_names(paths, SHEET)
    for name, picture in zip(names, seen):
        PIL.Image.fromarray(picture.squeeze()).save(folder / f"{name}.png")
    above = [pictures.Panel(image, name) for image, name in zip(images, names)]
    plots.save(plots.sheet([above, [pictures.Panel(picture) for picture in seen]]), folder / f"{SHEET}.png")
    print(f"{', '.join(f'{name}.png' for name in names)} and {SHEET}.png are in {folder}")


if __name__ == "__main__":
    console.run(main, FLAGS)
