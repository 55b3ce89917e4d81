"""What a worker does with a batch of images: it classifies them, or attacks them, and writes what came out."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv import protocol
from tf_smoothadv.evaluation import data, outputs, records
from tf_smoothadv.evaluation.beam import files, plan
from tf_smoothadv.evaluation.beam.plan import Batch, Picture, Seen
from tf_smoothadv.evaluation.beam.reading import Reading
from tf_smoothadv.evaluation.beam.tasks import Networks, Task
from tf_smoothadv.evaluation.config import PREDICTED, Config
from tf_smoothadv.evaluation.data import targets
from tf_smoothadv.evaluation.rendering import tensorboard

__all__ = ["Done", "Job", "Worker", "loaded"]

REASON = 500  # characters


@dataclasses.dataclass(frozen=True)
class Job:
    """What all the workers of a pipeline have in common.

    Attributes:
        config: what the evaluation is made with.
        task: what is done with a batch.
        attacks: their names.
        measures: of visibility.
        prefix, examples: see `run.Work`.
        reading: how its images are read.
        dataset: without its images.
        store: the folder of images, on any of Beam's filesystems.
        shards: the folder of all else.
        key: of the evaluation; its processes serve no other one, which may have other networks.
    """

    config: Config
    task: Task
    attacks: tuple[str, ...]
    measures: tuple[str, ...]
    reading: Reading
    dataset: data.Dataset
    store: str
    shards: str
    key: str
    prefix: str = ""
    examples: bool = True

    def path(self, batch: Batch) -> str:
        """Of the file with the results of a batch."""
        return files.joined(self.shards, batch.path)

    def part(self, pictures: list[Picture], images: list[tf.Tensor]) -> data.Dataset:
        """Some of its images."""
        aims = [picture.target for picture in pictures if picture.target is not None]
        names, labels = [picture.name for picture in pictures], [picture.label for picture in pictures]
        return dataclasses.replace(self.dataset, names=names, labels=labels, images=images, targets=aims or None)


class Done(NamedTuple):
    """What became of a batch.

    Attributes:
        batch: what it was.
        seen: of the batch that is classified, what the model says of each image.
        reason: why it could not be attacked; None where it was.
        seconds: that it took.
        ended: when, in seconds since 1970.
        peak: bytes of memory, at most, of the process so far.
        gradients: of the network, for all the images.
    """

    batch: Batch
    seen: list[Seen]
    reason: str | None = None
    seconds: float = 0.0
    ended: float = 0.0
    peak: int = 0
    gradients: int = 0


def loaded(load: Callable[[], Networks], threads: int) -> Networks:
    """The networks of this process, in which TensorFlow has so many threads."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return load()


class Worker:
    """Networks and what is done with them; one a pipeline in each process.

    Args:
        networks: by name, which `Reading.begin` has measured.
        job: what is to be done.
    """

    def __init__(self, networks: Networks, job: Job) -> None:
        self._networks, self._job = networks, job
        self._model, folder = networks[job.task.source], job.config.tensorboard
        self._board = tensorboard.Board(folder) if folder else None

    def __call__(self, batch: Batch) -> Done:
        """Does the batch, unless the file with its results is there; what goes wrong with its images is told.

        Raises:
            OSError: results that cannot be written.
        """
        path, began = self._job.path(batch), time.perf_counter()
        if files.exists(path):
            return Done(batch, [] if batch.attack else plan.seen_in(files.read(path), batch))
        seen, gradients, reason = [], 0, None
        if batch.attack:
            try:
                made = self._attacked(batch)
            except Exception as error:  # of many kinds, by what is wrong with the model or the images
                reason = _told(error)
            else:
                gradients = sum(record.gradients for record in made.records)
                self._write(batch, made, path)
        else:
            seen = self._classified(batch)
            files.write(path, plan.text_of(seen).encode())
        return Done(batch, seen, reason, time.perf_counter() - began, time.time(), _peak(), gradients)

    def _classified(self, batch: Batch) -> list[Seen]:
        """What the model says of each image."""
        images: list[tf.Tensor] = []
        readable: list[Picture] = []
        failed: list[Seen] = []
        for picture in batch.pictures:
            try:
                images.append(self._job.reading.read(picture))
                readable.append(picture)
            except (ValueError, OSError) as error:
                failed.append(Seen(picture, reason=_told(error)))
        try:
            return [*self._correct(readable, images), *failed]
        except Exception as error:  # as above
            return [*(Seen(picture, reason=_told(error)) for picture in readable), *failed]

    def _correct(self, pictures: list[Picture], images: list[tf.Tensor]) -> Iterator[Seen]:
        if not pictures:
            return
        config, dataset = self._job.config, self._job.part(pictures, images)
        if config.labels == PREDICTED:
            dataset = data.labelled_by(self._model, dataset)
        if config.aim in targets.BY_LOGITS:
            dataset = data.aimed(self._model, dataset, config.aim)
        correct = {int(index) for batch in protocol.CorrectImages(self._model, dataset) for index in batch.indices}
        clean = self._job.task.clean(self._networks, images)
        columns = zip(pictures, images, dataset.labels, dataset.targets or itertools.repeat(None), clean)
        for place, (picture, image, label, target, said) in enumerate(columns):
            known = dataclasses.replace(picture, label=label, target=target, clean=said)
            yield Seen(known, tuple(image.shape), place in correct)

    def _attacked(self, batch: Batch) -> protocol.Batch:
        job, aims = self._job, [one.target for one in batch.pictures if one.target is not None]
        images = np.stack([self._job.reading.read(picture).numpy() for picture in batch.pictures])
        originals = protocol.Originals(
            np.array([picture.index for picture in batch.pictures]),
            images,
            np.array([picture.label for picture in batch.pictures], np.int32),
            np.array(aims, np.int32) if aims else None,
        )
        made = job.task.batch(self._networks, batch.attack, originals, batch.pictures)
        made = protocol.with_visibility(made, job.measures)
        return made._replace(attack=job.prefix + made.attack)

    def _write(self, batch: Batch, made: protocol.Batch, path: str) -> None:
        """Writes images, and then the records, of which there are none without the images."""
        with tempfile.TemporaryDirectory() as folder:
            if self._job.config.save_images:
                outputs.keep_images(pathlib.Path(folder), made, {one.index: one.name for one in batch.pictures})
            if self._job.examples and batch.number == 0:
                outputs.keep_examples(pathlib.Path(folder), made)
            files.copy_tree(pathlib.Path(folder), self._job.store)
        files.write(path, "".join(map(records.line, made.records)).encode())
        if self._board:
            self._board.write(made, protocol.mean_logits(self._model, made.adversarial))


def _told(error: Exception) -> str:
    """An error in one line, of which TensorFlow's has thousands of characters, and what is wrong at its end."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= REASON else f"{text[: REASON // 4]} ... {text[-3 * REASON // 4 :]}"


def _peak() -> int:
    """Bytes of memory that this process has had, at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
