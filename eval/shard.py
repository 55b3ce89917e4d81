"""The flag of the binaries whose work can be split: which part of the images is this process's."""

from __future__ import annotations

from absl import flags

from eval.results import SHARD

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "shard", "1/1", "i/n, from 1/n to n/n: attack only every n-th image; eval.merge joins the n folders of results."
)
flags.register_validator(
    "shard",
    lambda value: (found := SHARD.fullmatch(value)) is not None and int(found[1]) <= int(found[2]),
    message="shard must be i/n with i from 1 to n",
)


def part() -> tuple[int, int]:
    """(i, n) of the flag's i/n."""
    i, _, n = FLAGS.shard.partition("/")
    return int(i), int(n)


def made_with() -> dict[str, str]:
    """What records depend on of it."""
    return {"shard": FLAGS.shard}
