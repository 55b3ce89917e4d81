"""The referee: adversarial images, whoever made them, scored as a run scores its own."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import submissions
from tf_smoothadv.evaluation.run import Work, loaded, prepared, run
from tf_smoothadv.smoothing import Smoother

__all__ = ["referee", "score_submitted", "submitted", "tell_missing"]

Score = Callable[[str, protocol.Originals, np.ndarray, Smoother], protocol.Batch]


def referee(model: core.Model, config: Config, paths: Iterable[pathlib.Path]) -> metrics.Run:
    """Scores adversarial images, whoever made them, as `white_box` does its own.

    Args:
        model, config: see `white_box`; attacks and gradients play no part.
        paths: of folders of PNG files or .npz files, an attack each; see `data.submissions`.

    Returns, raises: as `white_box`, and what `data.submissions` refuses.
    """
    return score_submitted(model, config, paths, functools.partial(protocol.score, model), gradients=False)


def score_submitted(
    model: core.Model,
    config: Config,
    paths: Iterable[pathlib.Path],
    score: Score,
    *,
    gradients: bool,
    described: Mapping[str, Any] = types.MappingProxyType({}),
) -> metrics.Run:
    """Scores adversarial images that exist already, and prints which images that count have none.

    Args:
        model, config, paths: see `referee`.
        score: what is done with one batch of an attack.
        gradients: whether that needs gradients of the model.
        described: what tells its results from a referee's, plain values by name.
    """
    submitted_images = submitted(config, paths)
    parts = {name: submission.part(config.shard) for name, submission in submitted_images.items()}
    images = prepared(model, config, gradients=gradients)
    reference = config.reference(images)

    def batches(correct: protocol.CorrectImages, done: Collection[tuple[str, int]]) -> Iterator[protocol.Batch]:
        for originals in correct:
            smoother = reference.guided_by(originals.images)
            for name, submission in parts.items():
                if not all((name, int(index)) in done for index in originals.indices):
                    yield score(name, originals, submission.on(originals), smoother)

    told = {name: {**submission.described(), **described} for name, submission in submitted_images.items()}
    made = run(model, images, Work(told, batches), config)
    tell_missing(made, submitted_images, images.names, config)
    return made


def submitted(config: Config, paths: Iterable[pathlib.Path]) -> dict[str, submissions.Submission]:
    """The adversarial images at these paths, of the whole dataset, by the name of their attack."""
    whole = loaded(dataclasses.replace(config, shard=(1, 1)))
    return submissions.read_all(list(dict.fromkeys(paths)), whole.names, whole.shape)


def tell_missing(
    made: metrics.Run, submitted: Mapping[str, submissions.Submission], names: Sequence[str], config: Config
) -> None:
    """Prints which images of a run have no adversarial image; `names` are those of its dataset."""
    for name, submission in submitted.items():
        of_attack = [record.index for record in made.records if record.attack == name]
        missing = submission.part(config.shard).missing(of_attack)
        if missing:
            rich.console.Console(highlight=False).print(
                f"{name}: {len(missing)} of the {made.num_correct} images have no adversarial image, the first of them "
                f"{names[missing[0]]}: they count as failures",
                markup=False,
                soft_wrap=True,
            )
