"""The names of classes, from a file or from Keras's list of ImageNet."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import keras

from tf_smoothadv import checks

__all__ = ["IMAGENET", "named", "read"]

IMAGENET = "imagenet"
INDEX = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"  # as Keras has it


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
            index = json.loads(pathlib.Path(path).read_text())
            return {int(number): name.replace("_", " ") for number, (_, name) in index.items()}
        names = pathlib.Path(where).read_text("utf-8").splitlines()
    except Exception as error:  # Keras raises its own kinds where there is no network
        raise ValueError(f"cannot read the names of classes from {where}: {checks.first_line(error)}") from None
    if not names:
        raise ValueError(f"{where} holds no names of classes")
    return dict(enumerate(name.strip() for name in names))


def named(number: int, names: Mapping[int, str]) -> str:
    """What a class is called: its name, or its number without one.

    >>> named(1, {0: "cat", 1: "dog"}), named(2, {0: "cat", 1: "dog"})
    ('dog', 'class 2')
    """
    return names.get(number, f"class {number}")
