"""The flags about how networks are used: what they return, what they expect, and what is imported to load them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from absl import flags

import models
import tf_smoothadv as sa
from tf_smoothadv import checks, classifier

NAMES = f"{', '.join(models.FORMS)}, or the path of a .keras or .h5 file or of a SavedModel folder"

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "outputs",
    "logits",
    classifier.OUTPUTS,
    "What every network returns: logits; probabilities, of all classes or of class 1 alone; or one logit, that of "
    "class 1 against class 0.",
)
flags.DEFINE_list("input_range", ["0", "1"], "LOW,HIGH: what every network expects for black and white: 0,255 or -1,1.")
flags.DEFINE_integer(
    "samples",
    1,
    "Above 1 for networks that draw random numbers: gradients are means over so many draws, and an image is "
    "adversarial if the network errs in each of so many new ones.",
    lower_bound=1,
)
flags.DEFINE_string("output_name", None, "Which of several outputs to take: its name, or its position from 0.")
flags.DEFINE_multi_string(
    "import",
    [],
    "Python modules, or paths of .py files, with the layers, models and functions of your own that a file needs; "
    "separated by commas, or the flag again for each.",
)


def ends(values: Iterable[str]) -> tuple[float, ...]:
    """The numbers of --input_range.

    Raises:
        ValueError: what is no number.
    """
    return tuple(map(float, values))


def is_range(values: Iterable[str]) -> bool:
    """Whether they are two numbers, the first below the second."""
    try:
        checks.interval("input_range", ends(values))
    except ValueError:
        return False
    return True


flags.register_validator(
    "input_range", is_range, message="input_range must be two numbers, the first below the second: 0,255 or -1,1"
)


def usage() -> dict[str, Any]:
    """The arguments of `Classifier`, by name."""
    return {
        "outputs": FLAGS.outputs,
        "input_range": ends(FLAGS.input_range),
        "samples": FLAGS.samples,
        "output_name": FLAGS.output_name,
    }


def imported() -> list[str]:
    """The modules that --import names."""
    return [module for value in FLAGS["import"].value for module in value.split(",") if module]


def load(names: Iterable[str]) -> dict[str, sa.Classifier]:
    """The networks, by name.

    Raises:
        ValueError: a module that cannot be imported, or what `models.load_classifiers` refuses.
    """
    for module in imported():
        models.import_module(module)
    return models.load_classifiers(names, **usage())


def made_with() -> dict[str, Any]:
    """What records depend on of it, without what is the default."""
    modules = imported()
    return {**sa.Classifier(tf.identity, **usage()).settings(), **({"import": modules} if modules else {})}
