"""A study in one file: attacks on networks and datasets, each run in a folder of its own, and one report over all.

    python -m eval.study --example > study.toml    a file to begin with, with all its keys explained
    python -m eval.study study.toml                makes what is missing, then the report, results/study/report.html
    python -m eval.study study.toml                again: goes on where it was stopped
    python -m eval.study --beam study.toml         in several processes, or on many machines: see eval.beam
    python -m eval.export results/study            afterwards: all records as one table

Attacks, networks, datasets and images may be added to the file at any time: what is there is not made again. A run that
fails does not keep the others from being made. OUTPUT/DATASET/NETWORK/GROUP holds what eval.white_box or eval.front
writes, OUTPUT/DATASET/TRANSFER what eval.transfer does. With --beam what stands after -- are flags of Beam.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl.flags import DEFINE_bool

from eval import flags
from models import console
from tf_smoothadv import command
from tf_smoothadv.evaluation import study, study_file
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.study_example import EXAMPLE

if TYPE_CHECKING:
    from tf_smoothadv import Classifier
    from tf_smoothadv.evaluation.beam import Where

FLAGS = flags.values(flags.devices, flags.by_beam)
DEFINE_bool("example", False, "Print a file to begin with, and do nothing else.", flag_values=FLAGS)


def main(paths: list[str]) -> None:
    """Makes the study of a file."""
    if FLAGS.example:
        print(EXAMPLE, end="")
        return
    files = [path for path in paths if not path.startswith("--")]
    if len(files) != 1:
        raise ValueError(f"name one study's file, as --example prints one; received {' '.join(files) or 'none'}")
    where = flags.where_by_beam(FLAGS, [path for path in paths if path not in files])
    asked = study_file.read(files[0])
    with flags.scope(FLAGS):
        study.evaluate(asked, flags.load, functools.partial(spread, where) if where else None)


def spread(where: Where, step: study_file.Run | study_file.Transfer) -> None:
    """Makes the records of a run or a transfer by Beam."""
    from tf_smoothadv.evaluation import beam  # of another extra than the rest

    where = dataclasses.replace(where, store=where.store and f"{where.store}/{step.config.output}")
    models = step.models if isinstance(step, study_file.Transfer) else {step.network: step.model}
    load = functools.partial(command.called, "eval.study", "networks", step.config, models)
    if isinstance(step, study_file.Transfer):
        beam.transfer(load, step.sources, step.config, where)
    else:
        beam.white_box(load, step.config, where)


def networks(config: Config, models: Mapping[str, str]) -> dict[str, Classifier]:
    """By these names, the networks that --model takes so."""
    loaded = flags.load(config, list(models.values()))
    return {name: loaded[model] for name, model in models.items()}


if __name__ == "__main__":
    console.run(main, FLAGS)
