"""The process that starts a pipeline: its processes, what they find to do, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import rich.console
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from tf_smoothadv import classifier
from tf_smoothadv.evaluation import data, records, run
from tf_smoothadv.evaluation.beam import collecting, files, handler, pipeline, plan, processes, reading, tasks, watching
from tf_smoothadv.evaluation.beam.work import Job
from tf_smoothadv.evaluation.config import LOCAL, Config

__all__ = ["METRICS", "Begun", "Images", "Load", "Where", "begun", "made"]

METRICS = "pipeline.json"
SHARDS = "shards"
WAITING = 8  # batches for each process, of which it chooses; for each Beam has some twenty threads
RAISED = re.compile(r"(OSError|MemoryError|ValueError): (.*?)(?: \[while running .*\])?")

Load = Callable[[], tasks.Networks]


@dataclasses.dataclass(frozen=True)
class Where:
    """Where a pipeline runs.

    Attributes:
        runner: LOCAL, processes of this machine; or the name of one of Beam's.
        workers: processes of LOCAL; None for as many as there are cores.
        threads: of TensorFlow in each process.
        store: the folder that the workers write to, on any of Beam's filesystems; None for that of the results.
        arguments: flags of Beam and of its runner.
    """

    runner: str = LOCAL
    workers: int | None = None
    threads: int = 1
    store: str | None = None
    arguments: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Processes with networks for each of Beam's."""
        return (self.workers or os.cpu_count() or 1) if self.runner == LOCAL else 1


class Images(NamedTuple):
    """The images of a pipeline, none of which may be readable.

    Attributes:
        all: of the dataset; none is read.
        first: those that can be read, to check networks on.
        reading: how the processes read them.
    """

    all: data.Dataset
    first: data.Dataset
    reading: reading.Reading

    @classmethod
    def of(cls, evaluation: Begun) -> Images:
        """Those of an evaluation, whose processes begin with them."""
        config = evaluation.config
        images = run.loaded(config)
        pictures, first = _readable(images)
        how = reading.Reading(
            first=pictures[: classifier.COMPARED],
            size=cast(data.Images, images.images).size,
            resize=config.resize,
            shape=None if images.own else first.shape,
            arguments=evaluation.where.arguments,
        )
        processes.read(evaluation.key, how)
        return cls(images, first, how)

    def batched(self, networks: tasks.Networks, config: Config) -> data.Dataset:
        """The dataset in batches, as `run.batched` has it, with the first images alone."""
        shown = dataclasses.replace(self.all, images=self.first.images)  # the first image of all may be unreadable
        return run.batched(shown, networks.values(), config)


class Begun(NamedTuple):
    """An evaluation that has begun.

    Attributes:
        load: gives the networks.
        networks: these, in this process.
        key: see `Job`.
        config: what it is made with.
        where: where its pipelines run.
    """

    load: Load
    networks: tasks.Networks
    key: str
    config: Config
    where: Where


@contextlib.contextmanager
def begun(load: Load, config: Config, where: Where) -> Iterator[Begun]:
    """An evaluation; the processes of LOCAL begin at once, where results are missing, and end with it."""
    FileSystems.set_options(_options(where))
    key = uuid.uuid4().hex
    finished = (pathlib.Path(config.output) / name for name in (records.SUMMARY, records.TRANSFER))
    if where.runner == LOCAL and not any(path.exists() for path in finished):
        processes.begin(key, load, where.threads, where.count)
    try:
        yield Begun(load, load(), key, config, where)
    finally:
        processes.end()


def made(
    evaluation: Begun,
    task: tasks.Task,
    work: run.Work,
    images: Images,
    shown: data.Dataset,
    results: records.Results[Any],
    terminal: rich.console.Console,
) -> collecting.Collected:
    """Runs a pipeline, if anything is missing, and adds to the results what it made."""
    where = evaluation.where
    root = where.store or str(results.folder)
    settings = json.dumps([records.settings_of(results.folder), task.source], sort_keys=True)
    job = Job(
        config=evaluation.config,
        task=task,
        attacks=tuple(work.described),
        measures=work.measures,
        reading=images.reading,
        dataset=dataclasses.replace(
            images.first, names=[], labels=[], images=[], batch_size=shown.batch_size, begins=shown.begins, given={}
        ),
        store=root,
        shards=files.joined(root, SHARDS, hashlib.sha256(settings.encode()).hexdigest()[:12]),
        key=evaluation.key,
        prefix=work.prefix,
        examples=work.examples,
    )
    done = collecting.done(results, task)
    todo = plan.Todo(plan.chunks(dataclasses.replace(shown, images=images.all.images)), done)
    if _begin(job, todo):
        made_by = handler.AttackHandler(evaluation.load, job, where.threads, where.count)
        with watching.watched(terminal, len(images.all.names), len(job.attacks), len(done)):
            counted = _pipeline(made_by, job, _options(where))
        records.write(results.folder / METRICS, counted)
    return collecting.collect(job, todo, results)


def _readable(dataset: data.Dataset) -> tuple[list[plan.Picture], data.Dataset]:
    """The first images that can be read, to check a model on: the others never stop a pipeline.

    Returns:
        Where they are; the images.

    Raises:
        ValueError: none can be read.
    """
    found: list[tuple[plan.Picture, tf.Tensor]] = []
    images, failure = cast(data.Images, dataset.images), ""
    for picture in plan.pictures(dataset):
        if len(found) == run.CHECKED:
            break
        place, start = picture.index, images.chosen.start + picture.index * (images.chosen.step or 1)
        one = dataclasses.replace(images, chosen=slice(start, start + 1, 1), names=images.names[place : place + 1])
        try:
            (image,) = one
        except ValueError as error:
            failure = str(error)
            continue
        if dataset.own or not found or image.shape == found[0][1].shape:
            found.append((picture, image))
    if not found:
        raise ValueError(f"none of the {len(dataset.names)} images of {dataset.path} can be read: {failure}")
    pictures, pixels = map(list, zip(*found))
    names, labels = [one.name for one in pictures], [one.label for one in pictures]
    return pictures, dataclasses.replace(dataset, names=names, labels=labels, images=pixels)


def _begin(job: Job, todo: plan.Todo) -> bool:
    """Leaves to the workers what there is to do, and takes away what is to be tried again.

    Returns:
        Whether anything is missing.
    """
    names, failed = files.names(job.shards), f"{pipeline.FAILED}/"
    again = {name.removeprefix(failed) for name in names if name.startswith(failed)}
    for name in names:
        if name in again or name.startswith(failed) or files.PART in name:
            files.remove(files.joined(job.shards, name))
    names -= again
    if names.issuperset(chunk.path for chunk in todo.chunks):
        batches = collecting.batches(job, collecting.seen(job, todo, names))
        if names.issuperset(batch.path for batch in batches if not todo.has(batch)):
            return False
    files.write(files.joined(job.shards, pipeline.TODO), todo.text().encode())
    return True


def _pipeline(attack_handler: handler.AttackHandler, job: Job, options: PipelineOptions) -> dict[str, Any]:
    """Runs the pipeline; see `pipeline.run`.

    Raises:
        OSError, ValueError: the line in which Beam tells of what a worker raised, which is the last of hundreds.
    """
    try:
        return pipeline.run(attack_handler, job, options)
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [""]
        told = RAISED.fullmatch(lines[-1].strip())
        if told is None:
            raise
        raise (ValueError if told[1] == "ValueError" else OSError)(told[2]) from error


def _options(where: Where) -> PipelineOptions:
    """Beam's options.

    Raises:
        ValueError: a runner that there is not, or flags that Beam does not know, which it would leave out.
    """
    wrong = [argument for argument in where.arguments if not argument.startswith("--")]
    if wrong:
        raise ValueError(f"unexpected arguments: {' '.join(wrong)}; flags of Beam stand after --, as --NAME=VALUE")
    if where.runner == LOCAL:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what it has to say is raised, too
        # Beam's own processes hang when one of them is killed: there its threads wait for ours, see `processes`.
        threads = f"--direct_num_workers={WAITING * where.count}"
        own = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", threads]
    else:
        try:
            create_runner(where.runner)
        except (ImportError, ValueError) as error:
            raise ValueError(f"runner must be {LOCAL!r} or the name of one of Beam's: {error}") from error
        own = [f"--runner={where.runner}", "--number_of_worker_harness_threads=1"]
    options = PipelineOptions([*own, *where.arguments])
    unknown = set(options.get_all_options(retain_unknown_options=True)) - set(options.get_all_options())
    if where.runner == LOCAL and unknown:  # another one's may be known where it runs
        raise ValueError(f"after -- there must be flags of Beam; it does not know {', '.join(sorted(unknown))}")
    return options
