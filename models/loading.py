"""A network by its name or from a file."""

from __future__ import annotations

import pathlib
from typing import Any

from models import slim
from models.c4 import c4
from models.files import read_model
from models.imagenet import application, inception_v3, resnet_v2_50
from models.inspection import without_softmax

C4 = {"c4": "clean", "c4_adversarial": "adversarial"}
IMAGENET = {"inception_v3": inception_v3, "resnet_v2_50": resnet_v2_50}
KERAS = "keras:"
RANDOM = ":random"
SLIM = "slim:"
FORMS = (*C4, *(f"{name}[{RANDOM}]" for name in IMAGENET), f"{KERAS}NAME[{RANDOM}]", f"{SLIM}NETWORK:CHECKPOINT")


def load(name: str) -> Any:
    """A model from images [B, H, W, C] in [0, 1] to logits [B, K].

    Args:
        name: one of FORMS, where NAME is one of `keras.applications` and ":random" asks for random weights instead of
            Keras's download, and NETWORK one of `slim.NETWORKS`; or the path of a Keras file (.keras, .h5) or of a
            SavedModel folder. A Keras file's final softmax is left out, and so is the background, class 0 of 1001.

    Raises:
        ValueError: an unknown name, weights that cannot be had, or a file that cannot be read.
    """
    network = name.removesuffix(RANDOM)
    weights = "imagenet" if network == name else None
    if name in C4:
        return c4(C4[name])
    if network in IMAGENET:
        return IMAGENET[network](weights)
    if network.startswith(KERAS):
        return application(network.removeprefix(KERAS), weights)
    if network.startswith(SLIM):
        network, _, checkpoint = name.removeprefix(SLIM).partition(":")
        return slim.without_background(slim.load(network, checkpoint))
    path = pathlib.Path(name)
    if not path.exists():
        raise ValueError(f"model must be one of {', '.join(FORMS)} or the path of a model; received {name!r}")
    model = without_softmax(read_model(path))
    return slim.without_background(model) if slim.has_background(model) else model
