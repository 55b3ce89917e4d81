"""The flags of the binaries about one network: which one, which classes it shall leave, what is kept of the images."""

from __future__ import annotations

from typing import Any

from absl import flags

import models
from eval import data
from tf_smoothadv.attacks import core

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model",
    "c4",
    f"{', '.join(models.FORMS)}, or the path of a .keras or .h5 file or of a SavedModel folder: a model from images in "
    "[0, 1] to logits.",
)
flags.DEFINE_enum(
    "labels",
    "given",
    ["given", "predicted"],
    "The classes to leave: the dataset's, or what the model predicts, for images without a class or a network that has "
    "learnt nothing.",
)
flags.DEFINE_bool(
    "save_images",
    False,
    "Also write the images as PNG, to OUTPUT/images/original/ and OUTPUT/images/ATTACK/, for eval.report.",
)


def loaded(dataset: data.Dataset, gradients: bool = True) -> tuple[core.Model, data.Dataset]:
    """The network, and the images with the classes that it shall leave.

    Args:
        dataset: the images, on the first batch of which the network is checked.
        gradients: as `models.check` takes it.
    """
    model = models.load(FLAGS.model)
    if FLAGS.labels == "predicted":
        dataset = data.labelled_by(model, dataset)
    models.check(model, *next(iter(dataset)), gradients=gradients)
    return model, dataset


def made_with(model: core.Model) -> dict[str, Any]:
    """What records depend on of the network."""
    return {"model": FLAGS.model, "weights": models.fingerprint(model), "labels": FLAGS.labels}
