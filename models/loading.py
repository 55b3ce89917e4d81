"""A network by its name or from a file, with or without a defence in front."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import keras

import tf_smoothadv as sa
from models import slim
from models.c4 import c4
from models.files import read_model
from models.imagenet import application, inception_v3, resnet_v2_50
from models.inspection import without_softmax
from tf_smoothadv.attacks import core

C4 = {"c4": "clean", "c4_adversarial": "adversarial"}
IMAGENET = {"inception_v3": inception_v3, "resnet_v2_50": resnet_v2_50}
KERAS = "keras:"
RANDOM = ":random"
SLIM = "slim:"
DEFENSES: dict[str, Callable[[], Any]] = {
    "bilateral": sa.defenses.BilateralFilter,
    "median": sa.addons.MedianFilter,
    "gaussian": sa.addons.GaussianFilter,
}
FORMS = (
    *C4,
    *(f"{name}[{RANDOM}]" for name in IMAGENET),
    f"{KERAS}NAME[{RANDOM}]",
    f"{SLIM}NETWORK:CHECKPOINT",
    *(f"{name}+MODEL" for name in DEFENSES),
)


def load(name: str) -> Any:
    """A model from images [B, H, W, C] in [0, 1] to logits [B, K].

    Args:
        name: one of FORMS, where NAME is one of `keras.applications` and ":random" asks for random weights instead of
            Keras's download, NETWORK one of `slim.NETWORKS`, and MODEL any name again, which gets the defence in front;
            or the path of a Keras file (.keras, .h5) or of a SavedModel folder. A Keras file's final softmax is left
            out, and so is the background, class 0 of 1001.

    Raises:
        ValueError: an unknown name, weights that cannot be had, a file that cannot be read, or a defence that needs
            TensorFlow Addons (median, gaussian) where it is not installed.

    >>> load("bilateral+c4").output_shape
    (None, 10)
    """
    return load_all([name])[name]


def load_all(names: Iterable[str]) -> dict[str, Any]:
    """What `load` gives, by name; a network that several names share is loaded once. Errors are those of `load`.

    >>> models = load_all(["c4", "bilateral+c4"])
    >>> models["c4"] in models["bilateral+c4"].layers
    True
    """
    loaded = functools.cache(_undefended)
    return {name: _defended(name, loaded) for name in names}


def _defended(name: str, load_network: Callable[[str], Any]) -> Any:
    defense, plus, rest = name.partition("+")
    if not plus or defense not in DEFENSES:
        return load_network(name)
    return in_front(DEFENSES[defense](), _defended(rest, load_network))


def in_front(defense: Callable[[Any], Any], model: core.Model) -> core.Model:
    """The model that sees images through a defence: a Keras model of it if it is one whose input is known."""
    if not getattr(model, "inputs", None):
        return lambda images: core.logits_of(model, defense(images))
    images = keras.Input(model.inputs[0].shape[1:])  # type: ignore[attr-defined]
    return keras.Model(images, model(defense(images)))


def _undefended(name: str) -> Any:
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
