"""The process that starts a pipeline, and makes of what its workers wrote what a run leaves in its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import rich.console
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from tf_smoothadv import metrics
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import data, parameters, records, run, visibility
from tf_smoothadv.evaluation.beam import collecting, files, handler, pipeline, plan, processes, watching
from tf_smoothadv.evaluation.beam.work import Job
from tf_smoothadv.evaluation.config import LOCAL, Config
from tf_smoothadv.evaluation.data import targets
from tf_smoothadv.evaluation.rendering.terminal import print_settings

__all__ = ["evaluate"]

METRICS = "pipeline.json"
SHARDS = "shards"
WAITING = 16  # batches for each process, of which it chooses
RAISED = re.compile(r"(OSError|MemoryError|ValueError): (.*?)(?: \[while running .*\])?")


def evaluate(
    load: Callable[[], core.Model],
    config: Config,
    *,
    runner: str = LOCAL,
    workers: int | None = None,
    threads: int = 1,
    store: str | None = None,
    arguments: Sequence[str] = (),
) -> metrics.Run:
    """Does what `run.white_box` does, by Apache Beam, and leaves the same in the folder of results.

    Args:
        load: gives the model; it is pickled, and called in every process.
        config: what the evaluation is made with.
        runner: LOCAL, processes of this machine; or the name of one of Beam's.
        workers: processes of LOCAL; None for as many as there are cores.
        threads: of TensorFlow in each process.
        store: the folder that the workers write to, on any of Beam's filesystems; None for that of the results.
        arguments: flags of Beam and of its runner.

    Returns:
        The run, of all records in the folder.

    Raises:
        ValueError: what is wrong with the images, with the model, or with the folder.
        OSError: results that cannot be written.
    """
    count = workers or os.cpu_count() or 1
    options = _options(runner, count, arguments)
    FileSystems.set_options(options)
    if runner == LOCAL:
        processes.begin(load, threads, count)
    try:
        return _evaluated(load, config, options, count if runner == LOCAL else 1, threads, store, arguments)
    finally:
        processes.end()


def _evaluated(
    load: Callable[[], core.Model],
    config: Config,
    options: PipelineOptions,
    count: int,
    threads: int,
    store: str | None,
    arguments: Sequence[str],
) -> metrics.Run:
    model = load()
    images = run.loaded(config)
    pictures, first = _readable(images)
    run.check(model, first, config)
    if config.aim is not None and config.aim not in targets.BY_LOGITS:
        images = data.aimed(model, images, config.aim)
    shown = dataclasses.replace(images, images=first.images)  # the first image of all may be unreadable
    shown = run.batched(shown, [model], config)
    attacks = config.preset(shown)
    described = parameters.by_name(attacks)
    measures = visibility.measures(config, first.shape)
    work = run.Work(described, lambda *_: iter(()), measures=measures)
    terminal = rich.console.Console(highlight=False)
    with run.opened(model, shown, work, config) as results:
        print_settings(terminal, described)
        settings = json.dumps(records.settings_of(results.folder), sort_keys=True)
        root = store or str(results.folder)
        shards = files.joined(root, SHARDS, hashlib.sha256(settings.encode()).hexdigest()[:12])
        job = Job(
            config=config,
            attacks=attacks,
            reference=config.reference(shown),
            measures=measures,
            first=pictures,
            dataset=dataclasses.replace(
                first, names=[], labels=[], images=[], batch_size=shown.batch_size, begins=shown.begins, given={}
            ),
            size=cast(data.Images, images.images).size,
            shape=first.shape,
            store=root,
            shards=shards,
            arguments=tuple(arguments),
        )
        todo = plan.Todo(plan.chunks(dataclasses.replace(shown, images=images.images)), frozenset(results.done))
        if _begin(job, todo):
            made_by = handler.AttackHandler(load, job, threads, count)
            with watching.watched(terminal, len(images.names), len(attacks), len(results.done)):
                made = _run(made_by, job, options)
            records.write(results.folder / METRICS, made)
        return collecting.finished(job, todo, results, terminal)


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


def _run(attack_handler: handler.AttackHandler, job: Job, options: PipelineOptions) -> dict[str, Any]:
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


def _options(runner: str, workers: int, arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options.

    Raises:
        ValueError: a runner that there is not, or flags that Beam does not know, which it would leave out.
    """
    wrong = [argument for argument in arguments if not argument.startswith("--")]
    if wrong:
        raise ValueError(f"unexpected arguments: {' '.join(wrong)}; flags of Beam stand after --, as --NAME=VALUE")
    if runner == LOCAL:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what it has to say is raised, too
        # Beam's own processes hang when one of them is killed: there its threads wait for ours, see `processes`.
        own = [
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_threading",
            f"--direct_num_workers={WAITING * workers}",
        ]
    else:
        try:
            create_runner(runner)
        except (ImportError, ValueError) as error:
            raise ValueError(f"runner must be {LOCAL!r} or the name of one of Beam's: {error}") from error
        own = [f"--runner={runner}", "--number_of_worker_harness_threads=1"]
    options = PipelineOptions([*own, *arguments])
    unknown = set(options.get_all_options(retain_unknown_options=True)) - set(options.get_all_options())
    if runner == LOCAL and unknown:  # another one's may be known where it runs
        raise ValueError(f"after -- there must be flags of Beam; it does not know {', '.join(sorted(unknown))}")
    return options
