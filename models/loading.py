"""A network by its name or from a file."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from models.c4 import c4

NAMES: dict[str, Callable[[], Any]] = {"c4": lambda: c4("clean"), "c4_adversarial": lambda: c4("adversarial")}


def load(name: str) -> Any:
    """A model from images [B, H, W, C] in [0, 1] to logits [B, K].

    Args:
        name: one of NAMES, or the path of a Keras file (.keras, .h5) or of a SavedModel folder.

    Raises:
        ValueError: an unknown name, or a file that cannot be read.
    """
    if name in NAMES:
        return NAMES[name]()
    path = pathlib.Path(name)
    if not path.exists():
        raise ValueError(f"model must be one of {', '.join(NAMES)} or the path of a model; received {name!r}")
    try:
        if path.is_dir():
            return saved_model(path)
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py, zipfile and TensorFlow each raise their own
        raise ValueError(f"cannot read a model from {path}: {first_line(error)}") from error


def saved_model(folder: pathlib.Path) -> Callable[[tf.Tensor], tf.Tensor]:
    """The endpoint `serve` of a SavedModel, which Keras's `export` writes, or else the call of the module saved."""
    loaded = tf.saved_model.load(str(folder))
    endpoint = loaded.serve if hasattr(loaded, "serve") else loaded

    def call_it(images: tf.Tensor, _owner_of_the_variables: Any = loaded) -> tf.Tensor:
        return endpoint(images)

    return call_it


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
