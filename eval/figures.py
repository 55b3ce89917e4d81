"""The paper's figures from results of eval.white_box, as PNG and PDF.

    python -m eval.white_box --save_images --output=results/c4     first a run, with images for the sheets
    python -m eval.figures results/c4                              its figures, in results/c4/figures
    python -m eval.figures results/lite0 results/lite2             two networks in one figure, as in figure 3
    python -m eval.figures results/c4 --within=1.4 --within=1.6    success within these distortions, by budget

characteristic: P(D) of every attack (figures 2 and 3). plane: mean distortion against smoothness energy. budget:
success and distortion by the gradients taken. For each run with images, worst: the image that each attack distorted
most, under all attacks, and the perturbations (figures 4 and 5); magnified: images, and the same magnified, original
and attacked (figure 1).
"""

from __future__ import annotations

import pathlib

from absl.flags import DEFINE_integer, DEFINE_list, DEFINE_multi_float, DEFINE_string

from eval import flags
from models import console
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.rendering import figures

FLAGS = flags.values()
DEFINE_string(
    "output",
    None,
    "Folder for the figures; by default figures/ in the first folder of results.",
    flag_values=FLAGS,
)
DEFINE_list("formats", ["png", "pdf"], "File formats, any that matplotlib writes: png, pdf, svg.", flag_values=FLAGS)
DEFINE_multi_float(
    "within",
    [],
    "A distortion D: budget also shows success at a distortion of at most D; may be repeated.",
    lower_bound=0,
    flag_values=FLAGS,
)
DEFINE_integer("magnified", 3, "How many images the magnified sheet shows.", lower_bound=1, flag_values=FLAGS)


def main(folders: list[str]) -> None:
    """Draws the figures of the folders."""
    if not folders:
        raise ValueError("folders must name at least one folder of results; received none")
    if not FLAGS.formats:
        raise ValueError("formats must name at least one file format; received none")
    runs = records.named([records.read(pathlib.Path(folder)) for folder in dict.fromkeys(folders)])
    output = records.output_folder(FLAGS.output or next(iter(runs.values())).folder / "figures")
    for finished in runs.values():
        if not finished.pictured:
            print(f"{finished.folder} holds no images for sheets: eval.white_box --save_images keeps them")
    drawn = figures.draw(runs, output, FLAGS.formats, FLAGS.within, FLAGS.magnified)
    print(f"{', '.join(drawn)} ({', '.join(FLAGS.formats)}) are in {output}")


if __name__ == "__main__":
    console.run(main, FLAGS)
