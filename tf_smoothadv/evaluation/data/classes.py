"""The names of classes, from a file or from Keras's list of ImageNet."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping

import keras

from tf_smoothadv import checks
from tf_smoothadv.evaluation.records import Finished, settings_of

__all__ = ["IMAGENET", "known", "named", "read"]

IMAGENET = "imagenet"
INDEX = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"  # as Keras has it
ELSEWHERE = "/tmp/.keras"  # Keras's folder where its own is read-only


def read(where: str | None) -> dict[int, str]:
    """The names of classes by their numbers, from 0.

    Args:
        where: a file with one name a line; "imagenet" for Keras's list, which it downloads once; None for no names.

    Raises:
        ValueError: a file or a list that cannot be read, or that is empty.
    """
    if where is None:
        return {}
    try:
        if where == IMAGENET:
            path = keras.utils.get_file(pathlib.Path(INDEX).name, INDEX, cache_subdir="models")
            return _index(pathlib.Path(path))
        names = pathlib.Path(where).read_text("utf-8").splitlines()
    except Exception as error:  # Keras raises its own kinds where there is no network
        raise ValueError(f"cannot read the names of classes from {where}: {checks.first_line(error)}") from None
    if not names:
        raise ValueError(f"{where} holds no names of classes")
    return dict(enumerate(name.strip() for name in names))


def known(finished: Finished) -> Finished:
    """A run with the names of its classes, as far as they are there without a network to ask.

    Those of class folders, which it has; ImageNet's for the images of NIPS 2017 with their own labels, if Keras has
    downloaded its list before, as for `keras.applications.imagenet_utils.decode_predictions` or "imagenet" above.
    """
    if finished.dataset != "nips2017" or settings_of(finished.folder).get("labels", "given") != "given":
        return finished
    for folder in (os.environ.get("KERAS_HOME", "~/.keras"), ELSEWHERE):
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # none, or damaged: there are numbers
            path = pathlib.Path(folder).expanduser() / "models" / pathlib.PurePath(INDEX).name
            return finished._replace(class_names=_index(path))
    return finished


def _index(path: pathlib.Path) -> dict[int, str]:
    """Keras's list, {"0": ["n01440764", "tench"], ...}."""
    index = json.loads(path.read_text("utf-8"))
    return {int(number): name.replace("_", " ") for number, (_, name) in index.items()}


def named(number: int, names: Mapping[int, str]) -> str:
    """What a class is called: its name, or its number without one.

    >>> named(1, {0: "cat", 1: "dog"}), named(2, {0: "cat", 1: "dog"})
    ('dog', 'class 2')
    """
    return names.get(number, f"class {number}")
