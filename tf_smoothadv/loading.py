"""Models in files."""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import json
import pathlib
import re
import sys
import types
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from tf_smoothadv.checks import first_line
from tf_smoothadv.classifier import Classifier, call, only_batch_size, signature_of

__all__ = ["SavedModel", "fingerprint", "import_module", "read_model"]

KERAS = (keras, keras.layers, keras.activations, keras.initializers, keras.regularizers, keras.constraints)
UNKNOWN = re.compile(r"(?:Could not locate \w+|Unknown [\w ]+:) '([^']+)'")  # in Keras's messages


def read_model(path: pathlib.Path) -> Any:
    """The model of a Keras file (.keras, .h5) or a SavedModel folder.

    Raises:
        ValueError: a file that cannot be read, or one that would run Python code of its own.
    """
    try:
        if path.is_dir():
            return SavedModel(path)
        if h5py.is_hdf5(path):
            _refuse_code(path)
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py, zipfile and TensorFlow each raise their own
        raise ValueError(f"cannot read a model from {path}: {_told(error, path)}") from error


def import_module(name: str) -> None:
    """Imports a module, so that Keras knows the layers, models and functions that it defines.

    One that was not registered when a model was saved stands in the file by its bare name: it is known by that too,
    unless Keras has one of that name itself.

    Args:
        name: of the module, or the path of its file, .py.

    Raises:
        ValueError: it cannot be imported.
    """
    try:
        if name.endswith(".py"):
            module = types.ModuleType(name)
            sys.modules[name] = module  # where a dataclass looks for its module
            importlib.machinery.SourceFileLoader(name, name).exec_module(module)
        else:
            module = importlib.import_module(name)
    except Exception as error:  # whatever its code raises
        raise ValueError(f"cannot import {name}: {type(error).__name__}: {first_line(error)}") from error
    for key, value in vars(module).items():
        own = callable(value) and getattr(value, "__module__", None) == module.__name__
        if own and not any(hasattr(part, key) for part in KERAS):
            keras.saving.get_custom_objects()[key] = value


def _told(error: Exception, path: pathlib.Path) -> str:
    """What is wrong with a file, and what to do, by the error of who tried to read it."""
    unknown, other = UNKNOWN.search(str(error)), _other_keras(path)
    name = unknown and unknown[1]
    remedy = "name the module or the .py file that defines it: --import=MODULE, or models.import_module(MODULE) first"
    if other:
        more = f"; where {name!r} is your own, {remedy}" if name else ""
        return (
            f"Keras {other} saved it, which Keras {keras.__version__} cannot read: model.export(FOLDER) there writes a "
            f"SavedModel, which it can{more}"
        )
    if name:
        return f"Keras does not know its {name!r}: {remedy}"
    return first_line(ValueError(str(error).split("Exception encountered: ")[-1]))  # Keras tells the cause last


def _other_keras(path: pathlib.Path) -> str | None:
    """The version of Keras that saved a file, if it is another major version than this one."""
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                version = str(file.attrs["keras_version"])
        else:
            with zipfile.ZipFile(path) as archive:
                version = str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return None if version.split(".")[0] == keras.__version__.split(".")[0] else version


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


class SavedModel:
    """A SavedModel folder as a function of images.

    It is the endpoint `serve`, which Keras's `export` writes, or else the call of the module saved, or else the
    signature `serving_default`, which returns a dictionary.

    Attributes:
        input_signature: as a `tf.function` has it; of the shape only the size of the batch is told.
        folder: where it lies.

    Raises:
        ValueError: it has none of these.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._owner_of_the_variables = loaded = tf.saved_model.load(str(folder))
        called = loaded.__call__ if callable(loaded) else None
        self._endpoint = getattr(loaded, "serve", None) or called or signature_of(loaded)
        self.input_signature = [tf.TensorSpec([only_batch_size(self._endpoint), None, None, None])]

    def __call__(self, images: tf.Tensor) -> Any:
        return call(self._endpoint, images)


def fingerprint(model: Any) -> str | None:
    """A digest of a Keras model's weights, or of a SavedModel's files, in 16 hexadecimal digits; None for other models.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> same = keras.models.clone_model(model)
    >>> same.set_weights(model.get_weights())
    >>> fingerprint(model) == fingerprint(same), fingerprint(lambda images: images)
    (True, None)
    """
    model = Classifier.of(model).model
    digest = hashlib.sha256()
    if isinstance(model, SavedModel):
        for file in sorted(file for file in model.folder.rglob("*") if file.is_file()):
            digest.update(file.read_bytes())
    elif hasattr(model, "weights"):
        for variable in model.weights:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    else:
        return None
    return digest.hexdigest()[:16]
