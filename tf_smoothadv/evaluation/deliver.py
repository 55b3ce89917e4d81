"""Delivery of adversarial images that anybody made: rounded so that they stay adversarial, over a folder of results."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Collection, Iterable, Iterator

from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.delivery import deliver
from tf_smoothadv.evaluation import presets, visibility
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.run import Submitted, Work, opened, prepared, run
from tf_smoothadv.smoothing import Smoothing

__all__ = ["evaluate"]


def evaluate(model: core.Model, config: Config, paths: Iterable[pathlib.Path]) -> metrics.Run:
    """Delivers adversarial images in 8 bits by `deliver`, scores and saves them.

    Args:
        model, config: see `run.white_box`; the attacks play no part, and images are saved in any case.
        paths: of folders of PNG files or .npz files, an attack each; see `data.submissions`.

    Raises:
        ValueError: as `run.referee`.
    """
    config = dataclasses.replace(config, save_images=True, levels=presets.LEVELS)
    submitted = Submitted.of(config, paths)
    images = prepared(model, config)
    work = _delivering(model, submitted, config.reference(images))
    work = work._replace(measures=visibility.measures(config, images.shape))
    with opened(model, images, work, config) as results:
        made = run(model, images, work, results, config)
    submitted.tell_missing(made, images.names)
    return made


def _delivering(model: core.Model, submitted: Submitted, reference: Smoothing) -> Work:
    """Adversarial images that exist already, rounded for a model."""

    def batches(images: protocol.CorrectImages, done: Collection[tuple[str, int]]) -> Iterator[protocol.Batch]:
        for originals in images:
            smoother = reference.guided_by(originals.images)
            for name, submission in submitted.parts.items():
                if not all((name, int(index)) in done for index in originals.indices):
                    began = time.perf_counter()
                    given = submission.on(originals)
                    result = deliver(model, originals.images, given, originals.labels, presets.LEVELS)
                    yield protocol.score(
                        model,
                        name,
                        originals,
                        result.adversarial,
                        smoother,
                        gradients=result.gradients.numpy(),
                        seconds=(time.perf_counter() - began) / len(given),
                        faulty=result.faulty.numpy(),
                    )

    described = {name: {**values, "delivery": "deliver"} for name, values in submitted.described.items()}
    return Work(described, batches)
