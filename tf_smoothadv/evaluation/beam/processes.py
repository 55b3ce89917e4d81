"""Processes with networks, of which one that ends ends nothing else, and which batch is done by which."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

from tf_smoothadv.evaluation.beam import watching, work
from tf_smoothadv.evaluation.beam.plan import Batch, Seen
from tf_smoothadv.evaluation.beam.reading import Reading
from tf_smoothadv.evaluation.beam.tasks import Networks
from tf_smoothadv.evaluation.beam.work import Done, Job

__all__ = ["Processes", "begin", "end", "of", "read"]

TRIES = 3  # of a batch that ends its process
STARTS = 10  # of a process that ends before it has its networks


class Processes:
    """Processes with networks; a new one takes the place of one that ends, killed or out of memory.

    Attributes:
        job: what the next batches are of.

    Args:
        load, threads: of all of them, see `AttackHandler`.
        count: how many; all begin at once.
    """

    def __init__(self, load: Callable[[], Networks], threads: int, count: int) -> None:
        self.job: Job | None = None
        self._all = [_Process(load, threads) for _ in range(count)]
        self._free = list(self._all)
        self._reading: Reading | None = None
        self._waiting: list[Batch] = []
        self._changed = threading.Condition()
        self._ended = False

    def read(self, reading: Reading) -> None:
        """Lets all of them begin with these images, while this process goes on; what is wrong is told by `done`."""
        self._reading = reading
        for process in self._all:
            threading.Thread(target=self._begin, args=(process,), daemon=True).start()

    def done(self, batch: Batch) -> Done:
        """Does a batch, in this thread's turn.

        Raises:
            Exception: a network that cannot be loaded, or results that cannot be written.
        """
        process = self._free_for(batch)
        try:
            for _ in range(TRIES):
                self._start(process, self.job)
                try:
                    done = process.done(batch)
                    watching.tell(done)
                    return done
                except (EOFError, ConnectionError):
                    self._replace(process)
        finally:
            with self._changed:
                self._free.append(process)
                self._changed.notify_all()
        reason = f"its process ended {TRIES} times, killed or out of memory: try a smaller --batch_size"
        return Done(batch, [] if batch.attack else [Seen(one, reason=reason) for one in batch.pictures], reason)

    def _free_for(self, batch: Batch) -> _Process:
        """Waits for a process whose next batch this is."""
        with self._changed:
            self._waiting.append(batch)
            while True:
                for process in self._free:
                    if self._next(process) is batch:
                        self._free.remove(process)
                        self._waiting = [one for one in self._waiting if one is not batch]
                        process.attacks.add(batch.attack)
                        self._changed.notify_all()
                        return process
                self._changed.wait()

    def _next(self, process: _Process) -> Batch:
        """Of an attack that it has traced already, if there is one; else of one that no process, or that few have.

        Among these of that which has most to do left, so that the last ones are short.
        """
        assert self.job is not None
        job = self.job
        traced = collections.Counter(attack for one in self._all for attack in one.attacks)
        waiting = collections.Counter(batch.attack for batch in self._waiting)

        def last(batch: Batch) -> tuple[bool, int, int]:
            attack = batch.attack
            return attack not in process.attacks, traced[attack], -waiting[attack] * job.task.gradients(attack)

        return min(self._waiting, key=last)

    def _begin(self, process: _Process) -> None:
        with contextlib.suppress(Exception):
            self._start(process, None)

    def _start(self, process: _Process, job: Job | None) -> None:
        """Waits until it has its networks; a process that ends before is no fault of the batch."""
        reading = self._reading if job is None else job.reading
        assert reading is not None
        with process.starting:
            for _ in range(STARTS):
                try:
                    process.start(reading, job)
                    return
                except (EOFError, ConnectionError):
                    self._replace(process)
        raise MemoryError(
            f"{STARTS} processes ended before they had loaded the network: fewer --workers take less memory"
        )

    def _replace(self, process: _Process) -> None:
        if self._ended:
            raise EOFError("all processes have ended")
        process.end()
        if self._ended:  # meanwhile
            process.kill()

    def end(self) -> None:
        """Ends them all."""
        self._ended = True
        for process in self._all:
            process.kill()


class _Process:
    """One of them.

    Attributes:
        attacks: of its batches so far, which it has traced.
        starting: is held while it starts.
    """

    def __init__(self, *arguments: Any) -> None:
        self.attacks: set[str] = set()
        self._arguments = arguments
        self.starting = threading.Lock()
        self._read = False
        self._job = ""
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()

    def start(self, reading: Reading, job: Job | None) -> None:
        """Waits until it has its networks, has measured them, and knows the job, if there is one.

        Raises:
            EOFError, ConnectionError: the process has ended.
            Exception: what loading, `Reading.begin` or `Worker` raises.
        """
        if not self._read:
            self._pipe.send(reading)
            self._answer()
            self._read = True
        if job is not None and self._job != job.shards:
            self._pipe.send(job)
            self._answer()
            self._job = job.shards

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
        """Ends it, and begins another in its place."""
        self.kill()
        self._pipe.close()
        self.attacks, self._read, self._job = set(), False, ""
        self._begin()

    def kill(self) -> None:
        """Ends it, for who waits for it, too."""
        self._process.kill()
        self._process.join()


_STARTING = threading.Lock()
_known: dict[str, Processes] = {}  # those of the last evaluation


def begin(key: str, load: Callable[[], Networks], threads: int, count: int) -> None:
    """Starts processes, which load the networks while this one goes on; those of another key end."""
    end()
    _known[key] = Processes(load, threads, count)


def read(key: str, reading: Reading) -> None:
    """Lets the processes of this key, if there are any, begin with these images."""
    if key in _known:
        _known[key].read(reading)


def of(load: Callable[[], Networks], job: Job, threads: int, count: int) -> Processes:
    """Those of a job in this process, the same for all its threads."""
    with _STARTING:
        if job.key not in _known:
            begin(job.key, load, threads, count)
        _known[job.key].job = job
        return _known[job.key]


def end() -> None:
    """Ends the processes that this one has started, whatever they are at."""
    for processes in _known.values():
        processes.end()
    _known.clear()


def _serve(pipe: Any, load: Callable[[], Networks], threads: int) -> None:
    """Does the batches that come, until the process that started this one has ended, however that did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    loading: futures.Future[Networks] = futures.Future()
    try:
        loading.set_result(work.loaded(load, threads))
    except Exception as error:  # for who asks
        loading.set_exception(error)
    worker: work.Worker | None = None
    while True:
        message = pipe.recv()
        try:
            if isinstance(message, Reading):
                message.begin(loading.result())
                answer = None
            elif isinstance(message, Job):
                worker, answer = work.Worker(loading.result(), message), None
            else:
                assert worker is not None
                answer = worker(message)
            pipe.send(answer)
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
