"""Images to time and compare on."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf


def photographs(folder: str | None, count: int, side: int) -> np.ndarray:
    """The first `count` PNG or JPEG images of a folder, again from the first where there are fewer, as
    [count, side, side, 3] in [0, 1]; without a folder, noise with the spectrum of photographs.

    Raises:
        ValueError: a folder without images.
    """
    if not folder:
        return np.stack([natural_noise(seed, side) for seed in range(count)])
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise ValueError(f"--images must name a folder of PNG or JPEG images; {folder} has none")
    return np.stack([photograph(files[index % len(files)], side) for index in range(count)])


def photograph(path: pathlib.Path, side: int) -> np.ndarray:
    """An image file as [side, side, 3] in [0, 1]."""
    image = tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False, dtype=tf.float32)
    pixels: np.ndarray = tf.clip_by_value(tf.image.resize(image, [side, side], antialias=True), 0, 1).numpy()
    return pixels


def natural_noise(seed: int, side: int) -> np.ndarray:
    """Noise [side, side, 3] in [0, 1] whose amplitude falls as 1 / frequency, as that of photographs does."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(3, side, side))) / frequency
    noise = np.fft.irfft2(spectrum, s=(side, side)).transpose(1, 2, 0)
    low, high = np.quantile(noise, [0.01, 0.99])
    pixels: np.ndarray = np.clip((noise - low) / (high - low), 0, 1).astype(np.float32)
    return pixels
