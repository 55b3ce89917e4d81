"""TF-Slim's networks with the variables of a TF-Slim checkpoint.

model = slim.load("ens4_adv_inception_v3", "ens4_adv_inception_v3.ckpt")
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from models.slim_networks import CLASSES, NETWORKS, build
from tf_smoothadv import checks

__all__ = ["NETWORKS", "assign", "build", "has_background", "load", "read", "without_background"]

AVERAGE = "ExponentialMovingAverage"
VARIABLES = {"kernel": "weights", "bias": "biases"}  # Keras's word: TF-Slim's, where they differ
IGNORED = re.compile(
    r"global_step|beta[12]_power|[^/]+/AuxLogits/.+"
    rf"|.+/({AVERAGE}|RMSProp|Momentum|Adagrad|Adadelta|Adam|Ftrl)(_\d+)?"
)
V2_FILE = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def load(
    network: str, checkpoint: str | os.PathLike[str], scope: str = "", moving_averages: bool = False
) -> keras.Model:
    """A TF-Slim network with the variables of a checkpoint.

    Args:
        network: one of NETWORKS.
        checkpoint: see `read`.
        scope, moving_averages: see `assign`.

    Returns:
        A Keras model, see `slim_networks.build`.

    Raises:
        ValueError: an unknown network, a file that is missing or no checkpoint, or one that does not fit the network.
    """
    model = build(network)
    assign(model, read(checkpoint), scope, moving_averages)
    return model


def without_background(model: keras.Model) -> keras.Model:
    """The 1000 logits of the classes 1 to 1000 of a model with 1001, in the same order: class k becomes k - 1.

    Raises:
        ValueError: another number of classes.

    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, layers.Dense(CLASSES)(inputs))
    >>> x = tf.ones([1, 4])
    >>> bool(tf.reduce_all(without_background(model)(x) == model(x)[:, 1:]))
    True
    """
    if not has_background(model):
        shapes = ", ".join(str(tuple(output.shape)) for output in model.outputs)
        raise ValueError(f"model must give logits [B, {CLASSES}]; received {shapes}")
    logits = layers.Reshape((CLASSES, 1))(model.outputs[0])
    logits = layers.Flatten()(layers.Cropping1D((1, 0))(logits))
    return keras.Model(model.inputs[0], logits, name=model.name)


def has_background(model: Any) -> bool:
    """Whether it is a Keras model that gives logits [B, 1001].

    >>> has_background(keras.Sequential([keras.Input((4,)), layers.Dense(CLASSES)]))
    True
    """
    return [tuple(output.shape) for output in getattr(model, "outputs", None) or ()] == [(None, CLASSES)]


def read(checkpoint: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The variables of a TensorFlow checkpoint by their names.

    Args:
        checkpoint: a V1 file; the prefix of a V2 checkpoint, or one of its files (.index, .data-00000-of-00001, .meta);
            or a folder with one checkpoint, or with a file `checkpoint` that names the newest.

    Raises:
        ValueError: a file that is missing or no checkpoint, or a folder of several.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prefix = os.path.join(folder, "model.ckpt")
    ...     _ = tf.raw_ops.SaveV2(
    ...         prefix=prefix, tensor_names=["biases"], shape_and_slices=[""], tensors=[tf.constant([1.0, 2.0])]
    ...     )
    ...     read(prefix)
    {'biases': array([1., 2.], dtype=float32)}
    """
    try:
        reader = tf.train.load_checkpoint(_prefix(os.fspath(checkpoint)))
        return {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"cannot read a checkpoint from {checkpoint} (a V1 file, a V2 checkpoint's path, or a folder of one): "
            f"{checks.first_line(error)}"
        ) from error


def checkpoints(folder: pathlib.Path) -> set[pathlib.Path]:
    """The paths of the V1 checkpoints in a folder, and the prefixes of the V2 ones."""
    return {*folder.glob("*.ckpt"), *(path.with_suffix("") for path in folder.glob("*.index"))}


def _prefix(path: str) -> str:
    """What TensorFlow reads a checkpoint by."""
    if not os.path.isdir(path):
        return V2_FILE.sub("", path)
    newest, there = tf.train.latest_checkpoint(path), sorted(map(str, checkpoints(pathlib.Path(path))))
    if newest is None and len(there) != 1:
        raise ValueError(f"the folder holds {', '.join(there) or 'none'}" + "; name one of them" * bool(there))
    return newest or there[0]


def assign(
    model: keras.Model, values: Mapping[str, np.ndarray], scope: str = "", moving_averages: bool = False
) -> list[str]:
    """Sets every variable of a network, or fails before it sets any.

    Args:
        model: a network of `build`, whose layers have TF-Slim's names.
        values: the variables of a checkpoint by their names.
        scope: what stands in the checkpoint before the network's own scope, as in SCOPE/InceptionV3/...; the variables
            outside are of other networks and are ignored.
        moving_averages: take .../ExponentialMovingAverage instead of the values; for the means and variances of batch
            normalisation, which are moving averages themselves, where there is one.

    Returns:
        The names that were ignored: the auxiliary logits, the global step, an optimiser's variables, the moving
        averages or else the values that they stand for, and what is outside the scope.

    Raises:
        ValueError: a variable of the model that is missing or has another shape, or one of the checkpoint that is
            neither used nor ignored.

    >>> model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="Net.Logits")])
    >>> values = {"Net/Logits/weights": np.ones([3, 2]), "Net/Logits/biases": np.zeros(2), "global_step": np.array(7)}
    >>> assign(model, values)
    ['global_step']
    >>> model(tf.ones([1, 3])).numpy()
    array([[3., 3.]], dtype=float32)
    """
    prefix = f"{scope.strip('/')}/" if scope else ""
    variables = {}
    replaced = set()
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.name.split("/")[-1].split(":")[0]
            name = f"{prefix}{layer.name.replace('.', '/')}/{VARIABLES.get(kind, kind)}"
            average = f"{name}/{AVERAGE}"
            if moving_averages and (average in values or not kind.startswith("moving_")):
                replaced.add(name)
                name = average
            variables[name] = variable

    missing = [name for name in variables if name not in values]
    misshapen = [
        f"{name} {list(values[name].shape)} for {list(variable.shape)}"
        for name, variable in variables.items()
        if name in values and tuple(values[name].shape) != tuple(variable.shape)
    ]
    unused = [name for name in values if name not in variables]
    surplus = [
        name
        for name in unused
        if name.startswith(prefix) and name not in replaced and not IGNORED.fullmatch(name.removeprefix(prefix))
    ]
    problems = {"lacks": missing, "has other shapes:": misshapen, "has what the network has not:": surplus}
    if any(problems.values()):
        told = "; ".join(f"it {problem} {_first(names)}" for problem, names in problems.items() if names)
        raise ValueError(f"the checkpoint does not fit {model.name}: {told}")
    for name, variable in variables.items():
        variable.assign(values[name])
    return unused


def _first(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
