"""What Beam's `RunInference` runs: models in processes of their own, of which one that ends ends nothing else."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.beam import watching
from tf_smoothadv.evaluation.beam.plan import Batch, Seen
from tf_smoothadv.evaluation.beam.work import Done, Job, Worker

__all__ = ["NAMESPACE", "AttackHandler", "end"]

NAMESPACE = "tf_smoothadv"  # of Beam's metrics
TRIES = 3  # of a batch that ends its process
STARTS = 10  # of a process that ends before it has its model


class AttackHandler(ModelHandler[Batch, Done, "Processes"]):
    """Attacks batches of images.

    Beam must not put them together by its own measure, as it does for predictions: what a network computes for an image
    depends, in its last bits, on the others in the batch.

    Args:
        load: gives the model; it is pickled.
        job: what is to be done with it.
        threads: of TensorFlow in each process.
        processes: with a model, at most, that each process of Beam starts.
    """

    def __init__(self, load: Callable[[], core.Model], job: Job, threads: int = 1, processes: int = 1) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load, self._job, self._threads, self._processes = load, job, threads, processes

    def load_model(self) -> Processes:
        """The processes, which load the model once, for all the steps of the pipeline."""
        return _processes(self._load, self._job, self._threads, self._processes)

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
        count: how many, at most; they begin with their first batch.
        arguments: of `work.Worker`.
    """

    def __init__(self, count: int, *arguments: Any) -> None:
        self._arguments = arguments
        self._all = [_Process(arguments) for _ in range(count)]
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._ended = False
        for process in self._all:
            self._free.put(process)

    def done(self, batch: Batch) -> Done:
        """Does a batch in the first process that is free.

        Raises:
            Exception: a model that cannot be loaded, or results that cannot be written.
        """
        process = self._free.get()
        try:
            for _ in range(TRIES):
                self._start(process)
                try:
                    done = process.done(batch)
                    watching.tell(done)
                    return done
                except (EOFError, ConnectionError):
                    process.end()
        finally:
            self._free.put(process)
        reason = f"its process ended {TRIES} times, killed or out of memory: try a smaller --batch_size"
        return Done(batch, [] if batch.attack else [Seen(one, reason=reason) for one in batch.pictures], reason)

    def _start(self, process: _Process) -> None:
        """Waits until it has its model; a process that ends before is no fault of the batch."""
        for _ in range(STARTS):
            try:
                process.start()
                return
            except (EOFError, ConnectionError):
                process.end()
                if self._ended:
                    raise
        raise MemoryError(
            f"{STARTS} processes ended before they had loaded the model: fewer --workers take less memory"
        )

    def end(self) -> None:
        """Ends them all."""
        self._ended = True
        for process in self._all:
            process.kill()


class _Process:
    """One of them."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        self._process: Any = None
        self._pipe: Any = None

    def start(self) -> None:
        """Begins it, if it has not begun, and waits until it has its model.

        Raises:
            EOFError, ConnectionError: the process has ended.
            Exception: what `Worker` raises.
        """
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(other, self._arguments), daemon=True)
            self._process.start()
            other.close()
            self._answer()

    def done(self, batch: Batch) -> Done:
        """Does a batch; raises as `start`."""
        self._pipe.send(batch)
        result: Done = self._answer()
        return result

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """Ends it; the next batch begins another."""
        self.kill()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def kill(self) -> None:
        """Ends it, for who waits for it, too."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


_STARTING = threading.Lock()
_known: dict[str, Processes] = {}  # those of the last job


def _processes(load: Callable[[], core.Model], job: Job, threads: int, count: int) -> Processes:
    """Those of a job in this process, the same for all its threads."""
    with _STARTING:
        if job.shards not in _known:
            end()
            _known[job.shards] = Processes(count, load, job, threads)
        return _known[job.shards]


def end() -> None:
    """Ends the processes that this one has started, whatever they are at."""
    for processes in _known.values():
        processes.end()
    _known.clear()


def _serve(pipe: Any, arguments: tuple[Any, ...]) -> None:
    """Does the batches that come, until the process that started this one has ended, however that did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        worker = Worker(*arguments)
    except Exception as error:  # for who asked
        pipe.send(_plain(error))
        return
    pipe.send(None)
    while True:
        batch = pipe.recv()
        try:
            pipe.send(worker(batch))
        except Exception as error:  # as above
            pipe.send(_plain(error))


def _plain(error: Exception) -> Exception:
    """One that can be pickled, as not all of TensorFlow's can."""
    kind = next((kind for kind in (ValueError, OSError) if isinstance(error, kind)), RuntimeError)
    return kind(str(error) if kind is not RuntimeError else f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
