"""The paper's networks for ImageNet (section 5.2), and the others that Keras has with ImageNet weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_smoothadv import checks

APPLICATIONS = tuple(name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction))
OWN_SIZE = {  # of the networks whose layers depend on it; the others take images of any size
    "NASNetLarge": 331,
    "NASNetMobile": 224,
    "VGG16": 224,
    "VGG19": 224,
}


def inception_v3(weights: str | None = "imagenet", image_size: int | None = 299) -> keras.Model:
    """InceptionV3 (Szegedy et al. 2016) of `keras.applications`; 23,851,784 parameters.

    Args:
        weights: "imagenet", Keras's own download; the path of a file with this network's weights or with the whole
            model (.weights.h5, .h5, .keras), saved from here or from `keras.applications`; None, random ones.
        image_size: side of the images in pixels, or None for any.

    Returns:
        A Keras model from images [B, H, W, 3] in [0, 1] to logits [B, 1000].

    Raises:
        ValueError: weights that cannot be had or do not fit, or a size that is too small for the network.
    """
    return _network("InceptionV3", weights, image_size)


def resnet_v2_50(weights: str | None = "imagenet", image_size: int | None = 299) -> keras.Model:
    """ResNetV2-50 (He et al. 2016) of `keras.applications`; 25,613,800 parameters.

    Arguments, result and errors are those of `inception_v3`.
    """
    return _network("ResNet50V2", weights, image_size)


def application(name: str, weights: str | None = "imagenet", image_size: int | None = None) -> keras.Model:
    """Any network of `keras.applications`, by its name there.

    Args:
        name: one of APPLICATIONS, like "MobileNetV2".
        weights: "imagenet", Keras's own download, or None, random ones.
        image_size: side of the images in pixels; None for any, or, where the network's layers depend on it, for its
            own (OWN_SIZE).

    Returns:
        A Keras model from images [B, H, W, 3] in [0, 1] to logits [B, 1000].

    Raises:
        ValueError: an unknown name, weights that cannot be had, or a size that the network cannot have.

    >>> application("MobileNet", weights=None, image_size=64).output_shape
    (None, 1000)
    """
    checks.one_of("application", name, APPLICATIONS)
    checks.one_of("weights", weights, ("imagenet", None))
    return _network(name, weights, OWN_SIZE.get(name) if image_size is None else image_size)


def _network(name: str, weights: str | None, image_size: int | None) -> keras.Model:
    if image_size is not None:
        checks.count("image_size", image_size, at_least=32)
    constructor = getattr(keras.applications, name)
    images = keras.Input((image_size, image_size, 3), name="images")
    try:
        network = constructor(
            weights=weights, input_tensor=preprocessed(images, constructor), classifier_activation=None
        )
    except Exception as error:  # what the download raises is a bare Exception
        raise ValueError(
            f"cannot make {name} for image_size={image_size} with weights={weights!r}: {checks.first_line(error)}"
        ) from error
    return keras.Model(images, network.output, name=name)


def preprocessed(images: Any, constructor: Callable[..., keras.Model]) -> Any:
    """Images [B, H, W, 3] in [0, 1] as a network of `keras.applications` expects them, by standard layers.

    The network's own `preprocess_input`, from [0, 255], is affine in each channel, some with the channels reversed: it
    is told from what it makes of black, red, green and blue.

    Raises:
        ValueError: a `preprocess_input` that is something else.
    """
    module: Any = inspect.getmodule(constructor)
    black, *colors = module.preprocess_input(255 * np.eye(4, 3, k=-1).reshape(4, 1, 1, 3))[:, 0, 0]
    matrix = np.stack(colors) - black  # from channels in [0, 1], the rows
    if not matrix.diagonal().all():
        matrix = matrix[::-1]
        images = images[:, :, :, ::-1]
    scale = matrix.diagonal()
    if not np.array_equal(matrix, np.diag(scale)):
        raise ValueError(f"{module.__name__}.preprocess_input is not one scale and offset for each channel")
    return keras.layers.Rescaling(scale.tolist(), black.tolist())(images)
