"""Joins what a binary with --shard=i/n left in n folders into what one run over all the images leaves.

    python -m eval.white_box --shard=1/2 --output=first
    python -m eval.white_box --shard=2/2 --output=second        on another machine, or at another time
    python -m eval.merge first second --output=whole
    python -m eval.front --output=whole ...                     where eval.front made the parts: the same flags, to pick

Writes to --output what eval.white_box writes, images included. Pixels and numbers are the shards' own.
"""

from __future__ import annotations

from eval import flags
from models import console
from tf_smoothadv.evaluation.merge import merge

FLAGS = flags.values(output="results/merged")


def main(folders: list[str]) -> None:
    """Joins the folders."""
    if not folders:
        raise ValueError("name the folders of all the shards; received none")
    merge(folders, FLAGS.output)


if __name__ == "__main__":
    console.run(main, FLAGS)
