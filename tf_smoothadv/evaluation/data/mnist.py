"""MNIST (LeCun, Cortes, Burges), from a file or by Keras's own download."""

from __future__ import annotations

import keras
import numpy as np

__all__ = ["DOWNLOAD", "Digits", "load", "read"]

DOWNLOAD = "download"

Digits = tuple[np.ndarray, np.ndarray]


def load(path: str) -> tuple[Digits, Digits]:
    """The training and the test digits.

    Args:
        path: a file in Keras's form, with x_train, y_train, x_test, y_test, or "download" for Keras's own copy.

    Returns:
        (images, labels) twice: [N, H, W, 1] float32 in [0, 1] and [N] int32.

    Raises:
        ValueError: a file that is missing, truncated or something else.
    """
    if path == DOWNLOAD:
        train, test = keras.datasets.mnist.load_data()
        return _scaled(*train), _scaled(*test)
    return read(path, "train"), read(path, "test")


def read(path: str, part: str) -> Digits:
    """The digits x_{part}, y_{part} of a NumPy file; see `load`."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return _scaled(file[f"x_{part}"], file[f"y_{part}"])
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}") from None
    except Exception as error:  # zipfile, zlib, EOF, key and value errors, by what is wrong with the file
        raise ValueError(f"{path} is not a whole mnist.npz with x_{part} and y_{part}: {error}") from None


def _scaled(images: np.ndarray, labels: np.ndarray) -> Digits:
    if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(f"images {images.dtype} {images.shape} and labels {labels.shape} are not MNIST's")
    if labels.dtype.kind not in "iu" or np.any((labels < 0) | (labels > 9)):
        raise ValueError(f"labels must be integers from 0 to 9; received {labels.dtype} {np.unique(labels)[[0, -1]]}")
    return (images[..., np.newaxis] / 255).astype(np.float32), labels.astype(np.int32)
