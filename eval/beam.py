"""White-box evaluation by Apache Beam: on all the cores of this machine, or on many machines.

    python -m eval.beam                                           C4 on the digits that ship, a process for each core
    python -m eval.beam --workers=8 --model=net.keras --dataset=folder --data=DIR    your own network on eight cores
    python -m eval.beam --attacks=fmn --alphas=0,0.9,0.99 --gradients=100     what eval.front then picks from
    python -m eval.beam --runner=DataflowRunner --store=gs://BUCKET/run ... -- --project=ID ...    on many machines

Flags, records and figures are those of eval.white_box, and so are the numbers. What stands after -- are flags of Beam
and of its runner; docs/beam.md has whole commands. Workers write what they make to --store, batch by batch: a pipeline
that is started again goes on from there. Once it has ended, --output holds what eval.white_box writes, and besides
pipeline.json, Beam's counters, and dead_letters.jsonl, which images could not be read or attacked, with the reason.
"""

from __future__ import annotations

import functools

from absl.flags import DEFINE_list

from eval import flags
from models import console
from tf_smoothadv import command
from tf_smoothadv.evaluation import beam
from tf_smoothadv.evaluation.config import BYTES

FLAGS = flags.values(*flags.WHITE_BOX, flags.beam, output="results/beam")
DEFINE_list("alphas", [], "Each attack at these bandwidths of (6), see eval.front.", flag_values=FLAGS)
DEFINE_list("maskings", [], "And under these maskings.", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    """Runs what the flags say."""
    alphas, maskings = tuple(flags.numbers("alphas", FLAGS.alphas)) or None, tuple(FLAGS.maskings)
    front = {"delivery": BYTES, "save_images": True} if alphas else {}
    config = flags.config(FLAGS, aim=FLAGS.targets, alphas=alphas, maskings=maskings, **front)
    load = functools.partial(command.called, "eval.flags", "load", config, [config.model])
    beam.white_box(load, config, flags.where(FLAGS, arguments))


if __name__ == "__main__":
    console.run(main, FLAGS)
