"""The flags of the binaries about one network: which one, and which classes its images are to leave."""

from __future__ import annotations

from typing import Any

from absl import flags

import models
import tf_smoothadv as sa
from eval import classifiers, data

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(classifiers)
flags.DEFINE_string("model", "c4", f"The network: {classifiers.NAMES}.")
flags.DEFINE_enum(
    "labels",
    "given",
    ["given", "predicted"],
    "The class that an attack must move an image away from: the dataset's, or what the model predicts, for images "
    "without a class or a network that has learnt nothing.",
)


def loaded(dataset: data.Dataset, gradients: bool = True) -> tuple[sa.Classifier, data.Dataset]:
    """The network, and the images with the classes that attacks must move them away from.

    Args:
        dataset: the images, on the first batch of which the network is checked.
        gradients: as `models.check` takes it.

    Raises:
        ValueError: what is wrong with the network, or with the dataset's classes for it.
    """
    (model,) = classifiers.load([FLAGS.model]).values()
    images, labels = next(iter(dataset))
    if FLAGS.labels == "predicted":
        models.check(model, images, gradients=gradients)
        return model, data.labelled_by(model, dataset)
    dataset.check_classes(models.num_classes(model, images))
    models.check(model, images, labels, gradients=gradients)
    return model, dataset


def made_with(model: sa.Classifier) -> dict[str, Any]:
    """What records depend on of the network."""
    return {
        "model": FLAGS.model,
        "weights": models.fingerprint(model),
        "labels": FLAGS.labels,
        **classifiers.made_with(),
    }
