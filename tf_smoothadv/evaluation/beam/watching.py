"""What a terminal shows of a pipeline on this machine: the batches as they are done, in whatever thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import rich.console

from tf_smoothadv.evaluation.beam.work import Done
from tf_smoothadv.evaluation.rendering import terminal

__all__ = ["tell", "watched"]

_listening: list[Callable[[Done], None]] = []


def tell(done: Done) -> None:
    """Tells who watches of a batch."""
    for listen in list(_listening):
        listen(done)


@contextlib.contextmanager
def watched(console: rich.console.Console, images: int, attacks: int, known: int) -> Iterator[None]:
    """A bar that moves as `tell` is called.

    Args:
        console: where it is shown.
        images, attacks: how many there are.
        known: records that exist already.
    """
    lock = threading.Lock()
    total = images * attacks
    with terminal.progress(console) as bar:
        task = terminal.begin(bar, "", total, known)

        def listen(done: Done) -> None:
            nonlocal known, total
            with lock:
                if done.batch.attack:
                    # What an earlier pipeline has made took none of the time.
                    known += 0 if done.peak else len(done.batch.pictures)
                    bar.update(task, known=known)
                    terminal.advance(bar, task, len(done.batch.pictures), done.gradients, total, done.batch.attack)
                else:  # images that the model gets wrong, or that cannot be read, are not attacked
                    total -= attacks * sum(not one.correct for one in done.seen)
                    terminal.advance(bar, task, 0, total=total)

        _listening.append(listen)
        try:
            yield
        finally:
            _listening.remove(listen)
