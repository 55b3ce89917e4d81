"""The flag of the binaries that keep images only when they are asked to."""

from __future__ import annotations

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_bool(
    "save_images",
    False,
    "Also write the images as PNG, to OUTPUT/images/original/ and OUTPUT/images/ATTACK/, for eval.report.",
)
