"""Models in files."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

COLOR = re.compile(r"\x1b\[\d*m")  # of a terminal, as in Keras's messages


def read_model(path: pathlib.Path) -> Any:
    """The model of a Keras file (.keras, .h5) or a SavedModel folder.

    Raises:
        ValueError: a file that cannot be read, or one that would run Python code of its own.
    """
    try:
        if path.is_dir():
            return saved_model(path)
        if h5py.is_hdf5(path):
            _refuse_code(path)
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py, zipfile and TensorFlow each raise their own
        raise ValueError(f"cannot read a model from {path}: {first_line(error)}") from error


def _refuse_code(path: pathlib.Path) -> None:
    """What safe mode does for .keras files; for HDF5 files Keras before 3.11.3 leaves it out (CVE-2025-9905)."""
    with h5py.File(path) as file:
        configuration = json.loads(file.attrs.get("model_config", "null"))
    if _holds(configuration, "class_name", "Lambda"):
        raise ValueError("its Lambda layer is Python code, which safe mode does not run; make it of other layers")


def _holds(values: Any, name: str, value: str) -> bool:
    """Whether JSON has a value of this name at any depth."""
    if isinstance(values, dict):
        return values.get(name) == value or any(_holds(inner, name, value) for inner in values.values())
    return isinstance(values, list) and any(_holds(inner, name, value) for inner in values)


def saved_model(folder: pathlib.Path) -> Callable[[tf.Tensor], tf.Tensor]:
    """The endpoint `serve` of a SavedModel, which Keras's `export` writes, or else the call of the module saved."""
    loaded = tf.saved_model.load(str(folder))
    endpoint = loaded.serve if hasattr(loaded, "serve") else loaded

    def call_it(images: tf.Tensor, _owner_of_the_variables: Any = loaded) -> tf.Tensor:
        return endpoint(images)

    return call_it


def fingerprint(model: Any) -> str | None:
    """A digest of a Keras model's weights in 16 hexadecimal digits; None for other models, whose weights are not known.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> same = keras.models.clone_model(model)
    >>> same.set_weights(model.get_weights())
    >>> fingerprint(model) == fingerprint(same), fingerprint(lambda images: images)
    (True, None)
    """
    weights = getattr(model, "weights", None)
    if weights is None:
        return None
    digest = hashlib.sha256()
    for variable in weights:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:16]


def first_line(error: Exception) -> str:
    """The first line of an error's message that says something, or its type where none does."""
    lines = COLOR.sub("", str(error)).splitlines()
    telling = (line.strip() for line in lines if line.strip() and not line.startswith("Exception encountered when"))
    return next(telling, type(error).__name__)
