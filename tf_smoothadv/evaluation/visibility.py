"""The visibility of what a run delivers: which measures it takes, and how they are taken beside the attacks."""

from __future__ import annotations

import collections
import concurrent.futures
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from tf_smoothadv import protocol
from tf_smoothadv.evaluation import families, records
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.visibility import MEASURES, OPTIONAL, available, check

__all__ = ["SETTING", "beside", "measures"]

SETTING = "visibility"  # among what a folder's records were made with
WAITING = 2  # batches that may wait for their measures while attacks go on


def measures(config: Config, shape: Sequence[int]) -> tuple[str, ...]:
    """The measures that a run on images of a shape [H, W, C] takes: all that are installed and can judge them, or none.

    Where `config` leaves it open a run takes what it began with in its folder; a new one takes them on photographs.

    Raises:
        ValueError: a measure that `config` or the folder asks for is not installed.
    """
    begun = records.settings_of(pathlib.Path(config.output))
    if config.visibility is None and begun:
        names = begun.get(SETTING, [])
        if not isinstance(names, list):
            raise ValueError(f"{SETTING} in {config.output}/{records.SETTINGS} must be a list; received {names!r}")
        check(names, shape)
        return tuple(names)
    if config.visibility:
        check([name for name, row in MEASURES.items() if row.needs not in OPTIONAL and row.judges(shape)], shape)
    wanted = families.family(shape) == families.PHOTOGRAPHS if config.visibility is None else config.visibility
    return available(shape) if wanted else ()


def beside(batches: Iterable[protocol.Batch], names: Sequence[str]) -> Iterator[protocol.Batch]:
    """The batches in their order, with these measures, which are taken while the next batches are made.

    What still waits when a run is interrupted has no records, and is made again.
    """
    if not names:
        yield from batches
        return
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting: collections.deque[concurrent.futures.Future[protocol.Batch]] = collections.deque()
    try:
        for batch in batches:
            waiting.append(pool.submit(protocol.with_visibility, batch, names))
            while waiting and (len(waiting) > WAITING or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
