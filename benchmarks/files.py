"""Which files of `eval.photo` are adversarial, by whose decoder, and how large they are beside their originals.

    python -m benchmarks.files DIR --model=net.keras       of DIR/*.adversarial.jpg and the originals beside them

For JPEG files the decoders are PIL and TensorFlow with INTEGER_ACCURATE and with INTEGER_FAST, its default. A file is
adversarial where the class that the network predicts is another one than for the original, both by the same decoder.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl.flags import DEFINE_string, FlagValues

import models
from models import console
from tf_smoothadv import resizing
from tf_smoothadv.evaluation.data import decoding, photographs
from tf_smoothadv.evaluation.data.photographs import MARK

FLAGS = FlagValues()
DEFINE_string("model", None, "A Keras file; as eval.photo takes it.", flag_values=FLAGS)


DECODERS: dict[str, Callable[[pathlib.Path], np.ndarray]] = {
    "PIL": decoding.read,
    "INTEGER_ACCURATE": functools.partial(photographs.by_tensorflow, method="INTEGER_ACCURATE"),
    "INTEGER_FAST": functools.partial(photographs.by_tensorflow, method="INTEGER_FAST"),
}


def judged(model: Any, folder: pathlib.Path) -> dict[str, Any]:
    """How many pairs there are, how many are adversarial by each decoder, and the files' sizes as shares.

    Raises:
        ValueError: a folder without such files, or without the original of one.
    """
    pairs = [
        (path.with_name(f"{path.stem.removesuffix(MARK)}.jpg"), path) for path in sorted(folder.glob(f"*{MARK}.jpg"))
    ]
    if not pairs:
        raise ValueError(f"{folder} must hold files NAME{MARK}.jpg, as eval.photo writes them; found none")
    missing = [str(original) for original, _ in pairs if not original.exists()]
    if missing:
        raise ValueError(f"an original is missing: {missing[0]}")
    network = resizing.behind(model)

    def predicted(pixels: np.ndarray) -> int:
        return int(tf.argmax(network(tf.constant(pixels[np.newaxis] / np.float32(255)))[0]))

    found = {
        name: sum(predicted(decode(original)) != predicted(decode(made)) for original, made in pairs)
        for name, decode in DECODERS.items()
    }
    sizes = [made.stat().st_size / original.stat().st_size for original, made in pairs]
    return {"files": len(pairs), **found, "mean_size": float(np.mean(sizes)), "largest_size": max(sizes)}


def main(folders: list[str]) -> None:
    """Judges each folder."""
    if FLAGS.model is None or not folders:
        raise ValueError("name --model and at least one folder")
    model = models.load(FLAGS.model)
    for folder in folders:
        values = (f"{name} {round(value, 4)}" for name, value in judged(model, pathlib.Path(folder)).items())
        print(f"{folder}: {', '.join(values)}")


if __name__ == "__main__":
    console.run(main, FLAGS)
