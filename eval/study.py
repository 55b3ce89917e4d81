"""A study in one file: attacks on networks and datasets, each run in a folder of its own, and one report over all.

    python -m eval.study --example > study.toml    a file to begin with, with all its keys explained
    python -m eval.study study.toml                makes what is missing, then the report, results/study/report.html
    python -m eval.study study.toml                again: goes on where it was stopped
    python -m eval.export results/study            afterwards: all records as one table

Attacks, networks, datasets and images may be added to the file at any time: what is there is not made again. A run that
fails does not keep the others from being made. OUTPUT/DATASET/NETWORK/GROUP holds what eval.white_box or eval.front
writes, OUTPUT/DATASET/TRANSFER what eval.transfer does.
"""

from __future__ import annotations

from absl.flags import DEFINE_bool

from eval import flags
from models import console
from tf_smoothadv.evaluation import study, study_file
from tf_smoothadv.evaluation.study_example import EXAMPLE

FLAGS = flags.values(flags.devices)
DEFINE_bool("example", False, "Print a file to begin with, and do nothing else.", flag_values=FLAGS)


def main(paths: list[str]) -> None:
    """Makes the study of a file."""
    if FLAGS.example:
        print(EXAMPLE, end="")
        return
    if len(paths) != 1:
        raise ValueError(f"name one study's file, as --example prints one; received {' '.join(paths) or 'none'}")
    asked = study_file.read(paths[0])
    with flags.scope(FLAGS):
        study.evaluate(asked, flags.load)


if __name__ == "__main__":
    console.run(main, FLAGS)
