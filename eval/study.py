"""A study in one file: attacks on networks and datasets, each run in a folder of its own, and one report over all.

    python -m eval.study --example > study.toml    a file to begin with, with all its keys explained
    python -m eval.study study.toml                makes what is missing, then the report, results/study/report.html
    python -m eval.study study.toml                again: goes on where it was stopped
    python -m eval.study --beam study.toml         in several processes, or on many machines: see eval.beam
    python -m eval.export results/study            afterwards: all records as one table

Attacks, networks, datasets and images may be added to the file at any time: what is there is not made again. A run that
fails does not keep the others from being made. OUTPUT/DATASET/NETWORK/GROUP holds what eval.white_box or eval.front
writes, OUTPUT/DATASET/TRANSFER what eval.transfer does. With --beam transfers are made by one process all the same, and
what stands after -- are flags of Beam.
"""

from __future__ import annotations

import functools
import importlib.util

from absl.flags import DEFINE_bool

from eval import flags
from models import console
from tf_smoothadv import command
from tf_smoothadv.evaluation import study, study_file
from tf_smoothadv.evaluation.study_example import EXAMPLE

FLAGS = flags.values(flags.devices, flags.beam)
DEFINE_bool("beam", False, "Make the runs by eval.beam, whose flags are here, too.", flag_values=FLAGS)
DEFINE_bool("example", False, "Print a file to begin with, and do nothing else.", flag_values=FLAGS)


def main(paths: list[str]) -> None:
    """Makes the study of a file."""
    if FLAGS.example:
        print(EXAMPLE, end="")
        return
    files = [path for path in paths if not path.startswith("--")]
    if len(files) != 1:
        raise ValueError(f"name one study's file, as --example prints one; received {' '.join(files) or 'none'}")
    if len(paths) > 1 and not FLAGS.beam:
        raise ValueError("flags of Beam need --beam; received " + " ".join(paths[1:]))
    if FLAGS.beam and importlib.util.find_spec("apache_beam") is None:
        raise ValueError("--beam needs apache-beam: pip install 'tf_smoothadv[beam]'")
    asked = study_file.read(paths[0])
    with flags.scope(FLAGS):
        study.evaluate(asked, flags.load, functools.partial(spread, paths[1:]) if FLAGS.beam else None)


def spread(arguments: list[str], run: study_file.Run) -> None:
    """Makes the records of a run by Beam."""
    from tf_smoothadv.evaluation import beam  # of another extra than the rest

    load = functools.partial(command.called, "eval.flags", "load_one", run.config, run.model)
    store = FLAGS.store and f"{FLAGS.store}/{run.config.output}"
    beam.evaluate(load, run.config, **flags.beam_options(FLAGS), store=store, arguments=arguments)


if __name__ == "__main__":
    console.run(main, FLAGS)
