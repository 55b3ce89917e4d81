"""TF-Slim's networks, to the last padding.

The layers' names are TF-Slim's scopes, "." for "/", which Keras 3 does not allow in a name. What TF-Slim calls
InceptionV3/Conv2d_1a_3x3/weights is the kernel of the layer InceptionV3.Conv2d_1a_3x3.

Source of the architectures: https://github.com/tensorflow/models/tree/master/research/slim/nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tf_smoothadv import checks

Convolution = tuple[Any, ...]  # name, filters, kernel; then strides and padding unless 1 and "same"

CLASSES = 1001  # class 0 is the background


def build(network: str) -> keras.Model:
    """A TF-Slim network with fresh variables, of standard Keras layers only.

    Args:
        network: one of NETWORKS.

    Returns:
        A Keras model from images [B, H, W, 3] in [0, 1] to logits [B, 1001], class 0 the background. The last
        pooling is over the whole map: TF-Slim's at 299 x 299 and wherever else its network gives [B, 1001].

    Raises:
        ValueError: an unknown network.

    >>> build("resnet_v2_50").output_shape
    (None, 1001)
    """
    checks.one_of("network", network, NETWORKS)
    images = keras.Input((None, None, 3), name="images")
    logits = NETWORKS[network](layers.Rescaling(2.0, offset=-1.0)(images))
    return keras.Model(images, logits, name=network)


def inception_v3(x: Any) -> Any:
    """InceptionV3 (https://arxiv.org/abs/1512.00567), from [B, H, W, 3] in [-1, 1] to logits."""
    x = _stem(x, "InceptionV3")
    x = _mixed_5(x, "InceptionV3.Mixed_5b", 32)
    x = _mixed_5(x, "InceptionV3.Mixed_5c", 64, "Conv2d_0b_1x1", "Conv_1_0c_5x5")
    x = _mixed_5(x, "InceptionV3.Mixed_5d", 64)
    x = _reduced(
        x,
        "InceptionV3.Mixed_6a",
        [("Conv2d_1a_1x1", 384, 3, 2, "valid")],
        [("Conv2d_0a_1x1", 64, 1), ("Conv2d_0b_3x3", 96, 3), ("Conv2d_1a_1x1", 96, 3, 2, "valid")],
    )
    x = _mixed_6(x, "InceptionV3.Mixed_6b", 128)
    x = _mixed_6(x, "InceptionV3.Mixed_6c", 160)
    x = _mixed_6(x, "InceptionV3.Mixed_6d", 160)
    x = _mixed_6(x, "InceptionV3.Mixed_6e", 192)
    x = _reduced(
        x,
        "InceptionV3.Mixed_7a",
        [("Conv2d_0a_1x1", 192, 1), ("Conv2d_1a_3x3", 320, 3, 2, "valid")],
        [
            ("Conv2d_0a_1x1", 192, 1),
            ("Conv2d_0b_1x7", 192, (1, 7)),
            ("Conv2d_0c_7x1", 192, (7, 1)),
            ("Conv2d_1a_3x3", 192, 3, 2, "valid"),
        ],
    )
    x = _mixed_7(x, "InceptionV3.Mixed_7b", "Conv2d_0b_3x1")
    x = _mixed_7(x, "InceptionV3.Mixed_7c", "Conv2d_0c_3x1")
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Flatten()(layers.Conv2D(CLASSES, 1, name="InceptionV3.Logits.Conv2d_1c_1x1")(x))


def _mixed_5(x: Any, scope: str, pooled: int, reduced: str = "Conv2d_0a_1x1", wide: str = "Conv2d_0b_5x5") -> Any:
    return _mixed(
        x,
        scope,
        [("Conv2d_0a_1x1", 64, 1)],
        [(reduced, 48, 1), (wide, 64, 5)],
        [("Conv2d_0a_1x1", 64, 1), ("Conv2d_0b_3x3", 96, 3), ("Conv2d_0c_3x3", 96, 3)],
        averaged=("Conv2d_0b_1x1", pooled, 1),
    )


def _mixed_6(x: Any, scope: str, width: int) -> Any:
    return _mixed(
        x,
        scope,
        [("Conv2d_0a_1x1", 192, 1)],
        [("Conv2d_0a_1x1", width, 1), ("Conv2d_0b_1x7", width, (1, 7)), ("Conv2d_0c_7x1", 192, (7, 1))],
        [
            ("Conv2d_0a_1x1", width, 1),
            ("Conv2d_0b_7x1", width, (7, 1)),
            ("Conv2d_0c_1x7", width, (1, 7)),
            ("Conv2d_0d_7x1", width, (7, 1)),
            ("Conv2d_0e_1x7", 192, (1, 7)),
        ],
        averaged=("Conv2d_0b_1x1", 192, 1),
    )


def _mixed_7(x: Any, scope: str, tall: str) -> Any:
    branch_1 = _chain(x, f"{scope}.Branch_1", ("Conv2d_0a_1x1", 384, 1))
    branch_2 = _chain(x, f"{scope}.Branch_2", ("Conv2d_0a_1x1", 448, 1), ("Conv2d_0b_3x3", 384, 3))
    return _concatenated(
        _chain(x, f"{scope}.Branch_0", ("Conv2d_0a_1x1", 320, 1)),
        _chain(branch_1, f"{scope}.Branch_1", ("Conv2d_0b_1x3", 384, (1, 3))),
        _chain(branch_1, f"{scope}.Branch_1", (tall, 384, (3, 1))),
        _chain(branch_2, f"{scope}.Branch_2", ("Conv2d_0c_1x3", 384, (1, 3))),
        _chain(branch_2, f"{scope}.Branch_2", ("Conv2d_0d_3x1", 384, (3, 1))),
        _chain(_averaged(x), f"{scope}.Branch_3", ("Conv2d_0b_1x1", 192, 1)),
    )


def inception_resnet_v2(x: Any) -> Any:
    """Inception-ResNet-v2 (https://arxiv.org/abs/1602.07261), from [B, H, W, 3] in [-1, 1] to logits."""
    x = _stem(x, "InceptionResnetV2")
    x = _mixed(
        x,
        "InceptionResnetV2.Mixed_5b",
        [("Conv2d_1x1", 96, 1)],
        [("Conv2d_0a_1x1", 48, 1), ("Conv2d_0b_5x5", 64, 5)],
        [("Conv2d_0a_1x1", 64, 1), ("Conv2d_0b_3x3", 96, 3), ("Conv2d_0c_3x3", 96, 3)],
        averaged=("Conv2d_0b_1x1", 64, 1),
    )
    for block in range(1, 11):
        x = _block35(x, f"InceptionResnetV2.Repeat.block35_{block}")
    x = _reduced(
        x,
        "InceptionResnetV2.Mixed_6a",
        [("Conv2d_1a_3x3", 384, 3, 2, "valid")],
        [("Conv2d_0a_1x1", 256, 1), ("Conv2d_0b_3x3", 256, 3), ("Conv2d_1a_3x3", 384, 3, 2, "valid")],
    )
    for block in range(1, 21):
        x = _block17(x, f"InceptionResnetV2.Repeat_1.block17_{block}")
    x = _reduced(
        x,
        "InceptionResnetV2.Mixed_7a",
        [("Conv2d_0a_1x1", 256, 1), ("Conv2d_1a_3x3", 384, 3, 2, "valid")],
        [("Conv2d_0a_1x1", 256, 1), ("Conv2d_1a_3x3", 288, 3, 2, "valid")],
        [("Conv2d_0a_1x1", 256, 1), ("Conv2d_0b_3x3", 288, 3), ("Conv2d_1a_3x3", 320, 3, 2, "valid")],
    )
    for block in range(1, 10):
        x = layers.ReLU()(_block8(x, f"InceptionResnetV2.Repeat_2.block8_{block}", scale=0.2))
    x = _block8(x, "InceptionResnetV2.Block8", scale=1.0)
    x = _chain(x, "InceptionResnetV2", ("Conv2d_7b_1x1", 1536, 1))
    return layers.Dense(CLASSES, name="InceptionResnetV2.Logits.Logits")(layers.GlobalAveragePooling2D()(x))


def _block35(x: Any, scope: str) -> Any:
    mixed = _mixed(
        x,
        scope,
        [("Conv2d_1x1", 32, 1)],
        [("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 32, 3)],
        [("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 48, 3), ("Conv2d_0c_3x3", 64, 3)],
    )
    return layers.ReLU()(_residual(x, mixed, scope, scale=0.17))


def _block17(x: Any, scope: str) -> Any:
    mixed = _mixed(
        x,
        scope,
        [("Conv2d_1x1", 192, 1)],
        [("Conv2d_0a_1x1", 128, 1), ("Conv2d_0b_1x7", 160, (1, 7)), ("Conv2d_0c_7x1", 192, (7, 1))],
    )
    return layers.ReLU()(_residual(x, mixed, scope, scale=0.1))


def _block8(x: Any, scope: str, scale: float) -> Any:
    mixed = _mixed(
        x,
        scope,
        [("Conv2d_1x1", 192, 1)],
        [("Conv2d_0a_1x1", 192, 1), ("Conv2d_0b_1x3", 224, (1, 3)), ("Conv2d_0c_3x1", 256, (3, 1))],
    )
    return _residual(x, mixed, scope, scale)


def _residual(x: Any, mixed: Any, scope: str, scale: float) -> Any:
    residual = layers.Conv2D(x.shape[-1], 1, name=f"{scope}.Conv2d_1x1")(mixed)
    return layers.Add()([x, layers.Rescaling(scale)(residual)])


def _stem(x: Any, scope: str) -> Any:
    x = _chain(
        x,
        scope,
        ("Conv2d_1a_3x3", 32, 3, 2, "valid"),
        ("Conv2d_2a_3x3", 32, 3, 1, "valid"),
        ("Conv2d_2b_3x3", 64, 3),
    )
    x = layers.MaxPooling2D(3, 2)(x)
    x = _chain(x, scope, ("Conv2d_3b_1x1", 80, 1), ("Conv2d_4a_3x3", 192, 3, 1, "valid"))
    return layers.MaxPooling2D(3, 2)(x)


def _mixed(x: Any, scope: str, *branches: list[Convolution], averaged: Convolution | None = None) -> Any:
    """Branches side by side, each a chain of convolutions; last, if given, a convolution of 3 x 3 averages."""
    outputs = _branches(x, scope, branches)
    if averaged:
        outputs.append(_chain(_averaged(x), f"{scope}.Branch_{len(branches)}", averaged))
    return _concatenated(*outputs)


def _reduced(x: Any, scope: str, *branches: list[Convolution]) -> Any:
    """Branches that end with strides 2, and the maxima of 3 x 3."""
    return _concatenated(*_branches(x, scope, branches), layers.MaxPooling2D(3, 2)(x))


def _branches(x: Any, scope: str, branches: Sequence[list[Convolution]]) -> list[Any]:
    return [_chain(x, f"{scope}.Branch_{number}", *branch) for number, branch in enumerate(branches)]


def _chain(x: Any, scope: str, *convolutions: Convolution) -> Any:
    for name, filters, kernel, *strides_and_padding in convolutions:
        strides, padding = strides_and_padding or (1, "same")
        x = layers.Conv2D(filters, kernel, strides, padding, use_bias=False, name=f"{scope}.{name}")(x)
        x = layers.BatchNormalization(epsilon=1e-3, scale=False, name=f"{scope}.{name}.BatchNorm")(x)
        x = layers.ReLU()(x)
    return x


def _averaged(x: Any) -> Any:
    return layers.AveragePooling2D(3, 1, "same")(x)


def _concatenated(*branches: Any) -> Any:
    return layers.Concatenate()(list(branches))


def resnet_v2_50(x: Any) -> Any:
    """ResNet-v2-50 (https://arxiv.org/abs/1603.05027), from [B, H, W, 3] in [-1, 1] to logits."""
    x = _padded_convolution(x, "resnet_v2_50.conv1", 64, 7, strides=2, use_bias=True)
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for block, (depth, units, strides) in enumerate([(64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)], start=1):
        for unit in range(1, units + 1):
            scope = f"resnet_v2_50.block{block}.unit_{unit}.bottleneck_v2"
            x = _bottleneck(x, scope, depth, strides if unit == units else 1)
    x = _activated(x, "resnet_v2_50.postnorm")
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Flatten()(layers.Conv2D(CLASSES, 1, name="resnet_v2_50.logits")(x))


def _bottleneck(x: Any, scope: str, depth: int, strides: int) -> Any:
    preact = _activated(x, f"{scope}.preact")
    if x.shape[-1] != 4 * depth:
        shortcut = layers.Conv2D(4 * depth, 1, strides, name=f"{scope}.shortcut")(preact)
    else:
        shortcut = layers.MaxPooling2D(1, strides)(x) if strides > 1 else x
    residual = layers.Conv2D(depth, 1, use_bias=False, name=f"{scope}.conv1")(preact)
    residual = _activated(residual, f"{scope}.conv1.BatchNorm")
    residual = _padded_convolution(residual, f"{scope}.conv2", depth, 3, strides, use_bias=False)
    residual = _activated(residual, f"{scope}.conv2.BatchNorm")
    residual = layers.Conv2D(4 * depth, 1, name=f"{scope}.conv3")(residual)
    return layers.Add()([shortcut, residual])


def _padded_convolution(x: Any, scope: str, filters: int, kernel: int, strides: int, use_bias: bool) -> Any:
    """As much padding before as behind; "same" with strides 2 depends on whether the size is even."""
    x = layers.ZeroPadding2D(kernel // 2)(x)
    return layers.Conv2D(filters, kernel, strides, use_bias=use_bias, name=scope)(x)


def _activated(x: Any, scope: str) -> Any:
    return layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, name=scope)(x))


NETWORKS = {
    "inception_v3": inception_v3,
    "adv_inception_v3": inception_v3,
    "ens3_adv_inception_v3": inception_v3,
    "ens4_adv_inception_v3": inception_v3,
    "resnet_v2_50": resnet_v2_50,
    "inception_resnet_v2": inception_resnet_v2,
    "adv_inception_resnet_v2": inception_resnet_v2,
    "ens_adv_inception_resnet_v2": inception_resnet_v2,
}
