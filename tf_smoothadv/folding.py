"""A network whose batch normalisations are in the kernels before them: the same logits, sooner."""

from __future__ import annotations

import collections
import functools
from typing import Any

import keras
import tensorflow as tf

try:
    from keras.src.models.functional import Functional
except ImportError:  # Keras 2, whose networks stay as they are
    Functional = None

__all__ = ["folded"]

KERNELS = {  # what to scale by channels of the output
    keras.layers.Conv2D: "kernel",
    keras.layers.Dense: "kernel",
    keras.layers.DepthwiseConv2D: "kernel",
    keras.layers.SeparableConv2D: "pointwise_kernel",
}


@functools.singledispatch
def folded(model: Any) -> Any:
    """A network with each batch normalisation folded into the layer before it, where layers allow; else itself.

    Of a layer k * x + b before a normalisation, by its moving mean and variance, with scale = gamma / sqrt(variance +
    epsilon), they are one layer

        (scale k) * x + (b - mean) scale + beta.

    What is returned is for one call, or one graph, in inference mode: it holds these kernels as tensors, made now from
    the variables. A model that is made of others registers how it is folded itself (`folded.register`).

    Args:
        model: anything. Folded are sequential and functional networks of Keras 3, and those nested in them: `Conv2D`,
            `DepthwiseConv2D`, `SeparableConv2D` and `Dense` in float32, channels last, each called once, linear, and
            followed by nothing but its normalisation. Subclasses, of networks and of layers, stay as they are.

    >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    >>> network = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    >>> images = tf.random.stateless_uniform([2, 8, 8, 3], seed=[0, 0])
    >>> bool(tf.reduce_all(tf.abs(folded(network)(images) - network(images)) < 1e-5))
    True
    """
    if type(model) is keras.Sequential:
        graph = getattr(model, "_functional", None)  # none before it is built, nor in Keras 2
        faster = folded(graph)
        return model if faster is graph else _copied(model, _functional=faster)
    if Functional is None or type(model) is not Functional:
        return model
    replacements = _replacements(model)
    if not replacements:
        return model

    def run(inputs: Any, operation_fn: Any) -> Any:
        return model._run_through_graph(inputs, lambda layer: operation_fn(replacements.get(id(layer), layer)))

    return _copied(model, _run_through_graph=run)


def _replacements(network: Any) -> dict[int, Any]:
    """What is called in place of layers of a functional network, by their identities."""
    nodes = [node for depth in network._nodes_by_depth.values() for node in depth if not node.is_input]
    calls = collections.Counter(id(node.operation) for node in nodes)
    uses = collections.Counter(map(id, network.outputs))
    uses.update(id(tensor) for node in nodes for tensor in node.input_tensors)
    makers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}

    replacements: dict[int, Any] = {}
    for node in nodes:
        nested = folded(node.operation)
        if nested is not node.operation:
            replacements[id(node.operation)] = nested
        before = node.input_tensors[0] if node.input_tensors else None
        layer, normalization = makers.get(id(before)), node.operation
        once = uses[id(before)] == calls[id(layer)] == calls[id(normalization)] == 1
        if once and _can_fold(layer, normalization):
            replacements[id(layer)] = _scaled(layer, normalization)
            replacements[id(normalization)] = _unchanged
    return replacements


def _can_fold(layer: Any, normalization: Any) -> bool:
    """Whether a normalisation of a layer's output is a scale and a shift of its channels, and nothing else happens."""
    if type(layer) not in KERNELS or type(normalization) is not keras.layers.BatchNormalization:
        return False
    return (
        (layer.activation is None or layer.activation is keras.activations.linear)
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and normalization.axis in (-1, normalization.input_spec.ndim - 1)
        and not getattr(layer, "lora_enabled", False)
        # An object may have a method of its own.
        and not any({"call", "convolution_op"} & vars(one).keys() for one in (layer, normalization))
        and all(one.dtype_policy.name == "float32" for one in (layer, normalization))
    )


def _scaled(layer: Any, normalization: Any) -> Any:
    """The layer with the normalisation behind it."""
    scale = tf.math.rsqrt(normalization.moving_variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * normalization.gamma
    bias = ((layer.bias if layer.use_bias else 0.0) - normalization.moving_mean) * scale
    if normalization.center:
        bias = bias + normalization.beta

    name = KERNELS[type(layer)]
    kernel = tf.convert_to_tensor(getattr(layer, name))
    # The channels that a depthwise kernel makes are in its last two axes.
    channels = kernel.shape[-2:] if type(layer) is keras.layers.DepthwiseConv2D else [-1]
    stored = f"_{name}" if f"_{name}" in vars(layer) else name  # behind a property, which other layers do not have
    return _copied(layer, **{stored: kernel * tf.reshape(scale, channels)}, bias=bias, use_bias=True)


def _unchanged(inputs: tf.Tensor, **_: Any) -> tf.Tensor:
    return inputs


def _copied(layer: Any, **attributes: Any) -> Any:
    """Another object with the same attributes, but these; Keras, which would track them, is not told."""
    copied = object.__new__(type(layer))
    vars(copied).update(vars(layer), **attributes)
    return copied
