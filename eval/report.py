"""A report to look at: one HTML file of results, with everything in it, for any browser, offline.

    python -m eval.white_box --save_images --output=results/c4       first a run, with images for the gallery
    python -m eval.report results/c4                                 its report, results/c4/report.html
    python -m eval.report results/c4 results/c4_adversarial          several runs; networks on one dataset side by side
    python -m eval.report results/c4 results/transfer                with the tables of eval.transfer
    python -m eval.report --num_images=50 results/c4                 more images whole, and a larger file

It has the tables of the paper with the published numbers beside one's own, with intervals, sorted by any column; curves
to point at; and a gallery in which original and adversarial image take each other's place, or attacks stand side by
side, down to the pixel. Whole in the file are the image that each attack had to distort most and further ones, spread
evenly from the weakest to the strongest, as far as they fit; all others it shows from their files in images/, if it
lies where it was written, else by a preview. It computes their perturbation and the magnified view from these files,
which browsers let it read on a web server (python -m http.server), or once you open the folder in it. The page's
address tells what is seen, and opens it again.
"""

from __future__ import annotations

import pathlib

from absl.flags import DEFINE_integer, DEFINE_string

from eval import flags
from models import console
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import classes
from tf_smoothadv.evaluation.rendering.report import page

FLAGS = flags.values()
DEFINE_string("output", None, "The file to write; by default report.html in the first folder.", flag_values=FLAGS)
DEFINE_integer(
    "num_images",
    None,
    "At most so many images whole in the file, each with all attacks; by default as many as keep it under 20 MB.",
    lower_bound=1,
    flag_values=FLAGS,
)
DEFINE_string(
    "classes",
    None,
    "File with the names of the classes, one a line; or 'imagenet', Keras's list, which it downloads once. By default "
    "the class folders' names; for nips2017 Keras's list, if it is there.",
    flag_values=FLAGS,
)


def main(folders: list[str]) -> None:
    """Writes the report of the folders."""
    if not folders:
        raise ValueError("folders must name at least one folder of results; received none")
    paths = [pathlib.Path(folder) for folder in dict.fromkeys(folders)]
    transfers = [path for path in paths if (path / records.TRANSFER).exists()]
    runs = records.named([classes.known(records.read(path)) for path in paths if path not in transfers])
    names = classes.read(FLAGS.classes)
    if names:
        runs = {name: finished._replace(class_names=names) for name, finished in runs.items()}
    path = pathlib.Path(FLAGS.output or paths[0] / "report.html")
    text = page(runs, FLAGS.num_images, [records.read_transfer(folder) for folder in transfers], path.parent)
    with records.writing(path):
        path.write_text(text, encoding="utf-8")
    print(path)


if __name__ == "__main__":
    console.run(main, FLAGS)
