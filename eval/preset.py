"""The flag of the binaries that know the paper's parameters beside tuned ones."""

from __future__ import annotations

from typing import Any

from absl import flags

from eval import settings
from tf_smoothadv import smoothing

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "settings",
    "tuned",
    settings.NAMES,
    "The best parameters found, or the paper's: of attacks, and of the graph that measures smoothness energies.",
)


def reference() -> smoothing.Smoothing:
    """The smoothing whose graph measures the energy of every perturbation."""
    return settings.reference(FLAGS.dataset, FLAGS.settings)


def made_with() -> dict[str, Any]:
    """What records depend on of it."""
    return {"settings": FLAGS.settings, "reference": reference().get_config()}
