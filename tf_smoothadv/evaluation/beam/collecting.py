"""What the workers of a pipeline wrote, and what a run leaves in its folder made of it."""

from __future__ import annotations

import json
import operator
import pathlib
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

from tf_smoothadv.evaluation import data, outputs, records
from tf_smoothadv.evaluation.beam import files, pipeline, plan
from tf_smoothadv.evaluation.beam.tasks import Task
from tf_smoothadv.evaluation.beam.work import Job

__all__ = ["Collected", "batches", "collect", "done", "seen"]

READERS = 16  # files at once, which may lie far away


class Collected(NamedTuple):
    """What became of the images.

    Attributes:
        seen: what the networks said of those that could be read.
        failures: the dead letters, one for each image and attack.
    """

    seen: list[plan.Seen]
    failures: list[dict[str, Any]]


def done(results: records.Results[Any], task: Task) -> frozenset[tuple[str, int]]:
    """The (attack, index) of the records that exist."""
    return frozenset(
        (record.attack, record.index)
        for record in results.records
        if getattr(record, "source", task.source) == task.source
    )


def collect(job: Job, todo: plan.Todo, results: records.Results[Any]) -> Collected:
    """Adds to the results what the workers wrote.

    Raises:
        OSError: there are neither records nor reasons of some images.
    """
    names = files.names(job.shards)
    failures = sorted(_failures(job, names), key=operator.itemgetter("index"))
    told = {(failure["attack"], failure["index"]) for failure in failures}
    found = seen(job, todo, names)
    attacked = batches(job, found)
    for batch in [*todo.chunks, *attacked]:
        keys = ((batch.attack or None, picture.index) for picture in batch.pictures)
        if not (batch.path in names or todo.has(batch) or told.issuperset(keys)):
            raise OSError(f"the pipeline left no {job.path(batch)}: give the same command again")
    there = [batch for batch in attacked if batch.path in names]
    key, known = operator.attrgetter(*records.KEY), done(results, job.task)
    for batch, content in zip(there, _contents(job, there)):
        made = records.parsed(pathlib.Path(job.path(batch)), content, results.kind, key)
        results.append(record for one, record in made.items() if one not in known)
    if job.store != str(results.folder):
        _copy(job.store, results.folder)
    return Collected([one for one in found if one.reason is None], failures)


def seen(job: Job, todo: plan.Todo, names: set[str]) -> list[plan.Seen]:
    """What the model said of the images, as far as there are files of it."""
    there = [chunk for chunk in todo.chunks if chunk.path in names]
    return [one for chunk, content in zip(there, _contents(job, there)) for one in plan.seen_in(content, chunk)]


def batches(job: Job, seen: list[plan.Seen]) -> list[plan.Batch]:
    """The batches to attack, as one process takes them."""
    return plan.batches(seen, job.dataset.batch_size, list(job.attacks), job.dataset.begins)


def _contents(job: Job, batches: Iterable[plan.Batch]) -> Iterator[bytes]:
    """What the files of some batches hold, in their order."""
    with futures.ThreadPoolExecutor(READERS) as threads:
        for some in data.alike(batches, lambda _: None, 10 * READERS):
            yield from threads.map(files.read, map(job.path, some))


def _failures(job: Job, names: set[str]) -> Iterator[dict[str, Any]]:
    for name in sorted(names):
        if name.startswith(f"{pipeline.FAILED}/"):
            yield from map(json.loads, files.read(files.joined(job.shards, name)).splitlines())


def _copy(store: str, folder: pathlib.Path) -> None:
    """Images and examples from where the workers wrote them."""
    for kept in (records.IMAGES, outputs.EXAMPLES):
        for name in sorted(files.names(files.joined(store, kept))):
            path = folder / kept / name
            with records.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.read(files.joined(store, kept, name)))
