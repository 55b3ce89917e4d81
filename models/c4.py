"""C4, the paper's network for MNIST (section 5.2)."""

from __future__ import annotations

import pathlib

import keras

from tf_smoothadv import checks

WEIGHTS = pathlib.Path(__file__).parent / "weights"
NAMES = ("clean", "adversarial")


def c4(weights: str | None = "clean") -> keras.Model:
    """Three convolutions and a fully connected layer: 64 8x8/2, 128 6x6/2, 128 5x5/1, 10 logits; 710,218 parameters.

    The first convolution is padded, the others are not: 28 x 28 becomes 14 x 14, 5 x 5, 1 x 1.

    Args:
        weights: "clean", "adversarial" (both shipped, see the model cards in models/weights) or None, fresh ones.

    Returns:
        A Keras model from images [B, 28, 28, 1] in [0, 1] to logits [B, 10].

    Raises:
        ValueError: other weights.

    >>> model = c4()
    >>> model.count_params(), model.output_shape
    (710218, (None, 10))
    """
    checks.one_of("weights", weights, (*NAMES, None))
    inputs = keras.Input((28, 28, 1), name="images")
    x = keras.layers.Conv2D(64, 8, strides=2, padding="same", activation="relu", name="conv1")(inputs)
    x = keras.layers.Conv2D(128, 6, strides=2, activation="relu", name="conv2")(x)
    x = keras.layers.Conv2D(128, 5, activation="relu", name="conv3")(x)
    logits = keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, logits, name="c4" if weights is None else f"c4_{weights}")
    if weights is not None:
        model.load_weights(WEIGHTS / f"c4_{weights}.weights.h5")
    return model
