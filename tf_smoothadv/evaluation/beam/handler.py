"""What Beam's `RunInference` runs: models in processes of their own, so that a batch that ends one ends nothing else."""

from __future__ import annotations

import functools
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.beam.plan import Batch, Seen
from tf_smoothadv.evaluation.beam.work import Done, Worker

__all__ = ["NAMESPACE", "AttackHandler"]

NAMESPACE = "tf_smoothadv"  # of Beam's metrics
TRIES = 3  # of a batch that ends the process


class AttackHandler(ModelHandler[Batch, Done, "Processes"]):
    """Attacks batches of images.

    Beam must not put them together by its own measure, as it does for predictions: what a network computes for an image
    depends, in its last bits, on the others in the batch.

    Args:
        load: gives the model; it is pickled.
        shards: the folder of the job, see `work.Job`.
        threads: of TensorFlow in each process.
        processes: with a model, at most, that each process of Beam starts.
    """

    def __init__(
        self, load: Callable[[], core.Model], shards: str, threads: int = 1, processes: int = 1
    ) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load, self._shards, self._threads, self._processes = load, shards, threads, processes

    def load_model(self) -> Processes:
        """The processes, which load the model once, for all the steps of the pipeline."""
        return _processes(self._load, self._shards, self._threads, self._processes)

    def run_inference(
        self, batch: Sequence[Batch], model: Processes, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Done]:
        """What became of each batch."""
        return [model.done(one) for one in batch]

    def get_num_bytes(self, batch: Sequence[Batch]) -> int:
        """Of what the images are told by: pixels, or the names of files."""
        places = [picture.place for one in batch for picture in one.pictures]
        return sum(place.nbytes if isinstance(place, np.ndarray) else len(str(place)) for place in places)

    def get_metrics_namespace(self) -> str:
        """Where Beam's metrics of this handler stand."""
        return NAMESPACE


class Processes:
    """Processes with a model; a new one takes the place of one that ends, killed or out of memory.

    Args:
        count: how many, at most.
        arguments: of `work.Worker`.
    """

    def __init__(self, count: int, *arguments: Any) -> None:
        self._arguments = arguments
        self._free: queue.LifoQueue[futures.ProcessPoolExecutor] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(_started())

    def done(self, batch: Batch) -> Done:
        """Does a batch in the first process that is free.

        Raises:
            Exception: a model that cannot be loaded, or results that cannot be written.
        """
        process = self._free.get()
        try:
            for _ in range(TRIES):
                try:
                    return process.submit(_done, self._arguments, batch).result()
                except BrokenProcessPool:
                    process.shutdown()
                    process = _started()
        finally:
            self._free.put(process)
        reason = f"its process ended {TRIES} times, killed or out of memory: try a smaller --batch_size"
        return Done(batch, [] if batch.attack else [Seen(one, reason=reason) for one in batch.pictures], reason)


def _started() -> futures.ProcessPoolExecutor:
    """A process, which begins with its first batch."""
    return futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent)


_STARTING = threading.Lock()
_known: dict[str, Processes] = {}  # those of the last job


def _processes(load: Callable[[], core.Model], shards: str, threads: int, count: int) -> Processes:
    """Those of a job in this process, the same for all its threads."""
    with _STARTING:
        if shards not in _known:
            _known.clear()
            _known[shards] = Processes(count, load, shards, threads)
        return _known[shards]


def _end_with_parent() -> None:
    """Ends this process when the one that started it has ended, however that did."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@functools.cache
def _worker() -> list[Worker]:
    """The one of this process, once it is made."""
    return []


def _done(arguments: tuple[Any, ...], batch: Batch) -> Done:
    if not _worker():
        _worker().append(Worker(*arguments))
    return _worker()[0](batch)
