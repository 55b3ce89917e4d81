"""Delivery of adversarial images that anybody made: rounded so that they stay adversarial, over a folder of results."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Iterable

import numpy as np

from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.config import BYTES, Config
from tf_smoothadv.evaluation.presets import LEVELS
from tf_smoothadv.evaluation.referee import score_submitted
from tf_smoothadv.rounding import deliver
from tf_smoothadv.smoothing import Smoother

__all__ = ["evaluate"]


def evaluate(model: core.Model, config: Config, paths: Iterable[pathlib.Path]) -> metrics.Run:
    """Delivers adversarial images in 8 bits by `deliver`, scores and saves them.

    Args:
        model, config: see `run.white_box`; the attacks play no part, and images are saved in any case.
        paths: of folders of PNG files or .npz files, an attack each; see `data.submissions`.

    Raises:
        ValueError: as `referee.referee`.
    """
    config = dataclasses.replace(config, save_images=True, delivery=BYTES)
    score = functools.partial(_delivered, model)
    return score_submitted(model, config, paths, score, gradients=True, described={"delivery": "deliver"})


def _delivered(
    model: core.Model, attack: str, originals: protocol.Originals, given: np.ndarray, smoother: Smoother
) -> protocol.Batch:
    """The scores of adversarial images, rounded for a model; see `protocol.score`."""
    began = time.perf_counter()
    result = deliver(model, originals.images, given, originals.labels, LEVELS)
    seconds = (time.perf_counter() - began) / len(given)
    counts = {"gradients": result.gradients.numpy(), "faulty": result.faulty.numpy()}
    return protocol.score(model, attack, originals, result.adversarial, smoother, seconds=seconds, **counts)
