"""Transfer: attacks source networks, and tells how often others err on their adversarial images (section 5.4).

    python -m eval.transfer                                          C4, behind a filter and adversarially trained
    python -m eval.transfer --sources=c4,c4_adversarial              both ways: the matrix of sources and targets
    python -m eval.transfer --sources=bilateral+c4 --targets=c4      an attack that goes through the filter
    python -m eval.transfer --beam --workers=4                       in several processes: see eval.beam
    python -m eval.transfer --shard=1/2 --output=a                   half of the images; eval.merge joins the parts
    python -m eval.transfer --sources=a.keras --targets=b.keras --dataset=nips2017 --data=DIR     on other images

Every attack has one setting: the attacker does not know the target, and cannot search on it. All the networks judge the
images as delivered in 8 bits. Writes to --output: transfer.json, records.jsonl (one line a source, attack and image),
settings.json. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

import functools

from absl.flags import DEFINE_list

from eval import flags
from models import console
from tf_smoothadv import command
from tf_smoothadv.evaluation import transfer

FLAGS = flags.values(
    flags.images,
    flags.devices,
    flags.by_beam,
    flags.settings,
    flags.attacks,
    flags.gradients,
    flags.usage,
    flags.saving,
    flags.shard,
    flags.tensorboard,
    output="results/transfer",
)
DEFINE_list(
    "sources",
    ["c4"],
    f"Networks to attack: {flags.NAMES}. All networks have the same classes, and --outputs, --input_range, --samples "
    "and --output_name hold for every one of them.",
    flag_values=FLAGS,
)
DEFINE_list(
    "targets",
    ["bilateral+c4", "c4_adversarial"],
    "Networks to transfer to, beside the sources.",
    flag_values=FLAGS,
)


def main(arguments: list[str]) -> None:
    """Runs what the flags say."""
    for role in ("sources", "targets"):
        if not FLAGS[role].value:
            raise ValueError(f"{role} must name at least one model; received none")
    config, names, where = flags.config(FLAGS), [*FLAGS.sources, *FLAGS.targets], flags.where_by_beam(FLAGS, arguments)
    if where is not None:
        from tf_smoothadv.evaluation import beam  # of another extra than the rest

        load = functools.partial(command.called, "eval.flags", "load", config, names)
        beam.transfer(load, FLAGS.sources, config, where)
        return
    with flags.scope(FLAGS):
        transfer.evaluate(flags.load(config, names), FLAGS.sources, config)


if __name__ == "__main__":
    console.run(main, FLAGS)
