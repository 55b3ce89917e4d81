"""The flags of every binary that attacks: with which attacks."""

from __future__ import annotations

from typing import Any

from absl import flags

from eval import settings

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "attacks",
    list(settings.ATTACKS),
    f"Of {', '.join(settings.ATTACKS)}, and with tuned settings of {', '.join(settings.LATER)}.",
)
flags.DEFINE_integer(
    "levels",
    None,
    "Values of a pixel: 256 makes every attack see its images as a file of 8 bits holds them; by default they are "
    "rounded afterwards.",
    lower_bound=2,
)


def made_with(attacks: settings.Preset) -> dict[str, Any]:
    """What records depend on of the attacks."""
    return {
        "levels": FLAGS.levels,
        "attacks": {name: settings.described(variants) for name, variants in attacks.items()},
    }
