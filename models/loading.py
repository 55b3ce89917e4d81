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
from models.imagenet import application, inception_v3, resnet_v2_50
from tf_smoothadv import folding
from tf_smoothadv.inspection import without_softmax
from tf_smoothadv.loading import read_model

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
    "MODEL+MODEL",
)
"""What `load` takes."""


def load(name: str) -> Any:
    """A model from images [B, H, W, C] in [0, 1] to logits [B, K].

    Args:
        name: one of FORMS, where NAME is one of `keras.applications` and ":random" asks for random weights instead of
            Keras's download, NETWORK one of `slim.NETWORKS`, and MODEL any name again, which gets the defence in front
            or, without a defence, is one more member of an `Ensemble`;
            or the path of a Keras file (.keras, .h5) or of a SavedModel folder. A Keras file's final softmax is left
            out, and so is the background, class 0 of 1001.

    Raises:
        ValueError: an unknown name, weights that cannot be had, a file that cannot be read, or a defence that needs
            TensorFlow Addons (median, gaussian) where it is not installed.

    >>> load("bilateral+c4").output_shape
    (None, 10)
    >>> len(load("c4+bilateral+c4").members)
    2
    """
    return load_all([name])[name]


def load_all(names: Iterable[str]) -> dict[str, Any]:
    """What `load` gives, by name; a network that several names share is loaded once. Errors are those of `load`.

    >>> models = load_all(["c4", "bilateral+c4"])
    >>> models["c4"] in models["bilateral+c4"].layers
    True
    """
    loaded = functools.cache(lambda name: _without_background(without_softmax(_undefended(name))))
    return {name: _joined(name, loaded) for name in names}


def load_classifiers(
    names: Iterable[str],
    outputs: str = "logits",
    input_range: tuple[float, float] = (0.0, 1.0),
    samples: int = 1,
    output_name: str | None = None,
) -> dict[str, sa.Classifier]:
    """The same models as classifiers, all of one kind; a defence sees images in [0, 1], whatever its network expects.

    Args:
        names: as `load` takes them.
        outputs, input_range, samples, output_name: what the networks are, see `tf_smoothadv.Classifier`. Of
            "probabilities" that are a Keras file's final softmax the logits are taken.

    Raises:
        ValueError: what `load` and `Classifier` refuse.

    >>> load_classifiers(["c4", "bilateral+c4"], input_range=(0, 255))["c4"]
    Classifier(c4_clean, input_range=(0.0, 255.0))
    """

    def classifier(name: str) -> sa.Classifier:
        network = _undefended(name)
        logits = without_softmax(network)
        told = "logits" if outputs == "probabilities" and logits is not network else outputs
        return sa.Classifier(_without_background(logits), told, input_range, samples, output_name)

    loaded = functools.cache(classifier)
    models = {name: _joined(name, loaded) for name in names}
    return {
        name: model if isinstance(model, sa.Classifier) else sa.Classifier(model, samples=samples)
        for name, model in models.items()
    }


def _joined(name: str, load_network: Callable[[str], Any]) -> Any:
    """What a name stands for: networks, each behind the defences before it, joined by plus signs to an ensemble."""
    if pathlib.Path(name).exists():  # a path with a plus sign
        return load_network(name)
    members: list[Any] = []
    defenses: list[str] = []
    for part in name.split("+"):
        if part in DEFENSES:
            defenses.append(part)
            continue
        network = load_network(part)
        while defenses:
            network = with_defense(DEFENSES[defenses.pop()](), network)
        members.append(network)
    if defenses:
        raise ValueError(f"a network must follow the defence {defenses[-1]}; received {name!r}")
    return members[0] if len(members) == 1 else sa.Ensemble(members)


class _Defended:
    """A classifier that sees images [B, H, W, C] in [0, 1] through a defence; `weights` are its model's."""

    def __init__(self, defense: Callable[[Any], Any], classifier: sa.Classifier) -> None:
        self._defense = defense
        self._classifier = classifier
        self.weights = getattr(classifier.model, "weights", None)

    def __call__(self, images: Any) -> Any:
        return self._classifier(self._defense(images))


@folding.folded.register
def _(model: _Defended) -> _Defended:
    classifier = model._classifier.folded()
    return model if classifier is model._classifier else _Defended(model._defense, classifier)


def with_defense(defense: Callable[[Any], Any], model: Any) -> Any:
    """The model that sees images through a defence: a Keras model of it if it is one whose input is known."""
    classifier = sa.Classifier.of(model)
    network = classifier.model
    if classifier.settings() or not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        return _Defended(defense, classifier)
    batch_size, *shape = network.inputs[0].shape
    images = keras.Input(shape, batch_size=batch_size)
    return keras.Model(images, network(defense(images)))


def _without_background(model: Any) -> Any:
    return slim.without_background(model) if slim.has_background(model) else model


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
        return slim.load(network, checkpoint)
    path = pathlib.Path(name)
    if not path.exists():
        raise ValueError(f"model must be one of {', '.join(FORMS)} or the path of a model; received {name!r}")
    return read_model(path)
