"""The process that starts a pipeline, and makes of what its workers wrote what a run leaves in its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import os
import pathlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rich.console
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from tf_smoothadv import metrics
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import data, outputs, parameters, records, run, visibility
from tf_smoothadv.evaluation.beam import files, pipeline, plan
from tf_smoothadv.evaluation.beam.handler import AttackHandler
from tf_smoothadv.evaluation.beam.work import Job
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import targets
from tf_smoothadv.evaluation.rendering.terminal import print_settings

__all__ = ["LOCAL", "evaluate"]

LOCAL = "local"
SHARDS = "shards"


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
    model = load()
    images, first = _readable(run.loaded(config))
    run.check(model, first, config)
    if config.aim is not None and config.aim not in targets.BY_LOGITS:
        images = data.aimed(model, images, config.aim)
    size = run.batched(first, [model], config).batch_size
    shown = dataclasses.replace(images, images=first.images, batch_size=size)  # the first image may be unreadable
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
            first=first,
            size=images.images.size,
            shape=first.shape,
            batch_size=size,
            done=frozenset(results.done),
            store=root,
            shards=shards,
        )
        _begin(job, dataclasses.replace(images, batch_size=size))
        count = workers or os.cpu_count() or 1
        options = _options(runner, count, arguments)
        pipeline.run(AttackHandler(load, shards, threads, count if runner == LOCAL else 1), shards, options)
        return _finished(job, results, terminal)


def _readable(dataset: data.Dataset) -> tuple[data.Dataset, data.Dataset]:
    """The dataset, and its first images that can be read, to check a model on: the others never stop a pipeline.

    Raises:
        ValueError: none can be read.
    """
    found: list[tuple[str, int, tf.Tensor]] = []
    images, failure = dataset.images, None
    for place, (name, label) in enumerate(zip(dataset.names, dataset.labels)):
        if len(found) == run.CHECKED:
            break
        start = images.chosen.start + place * (images.chosen.step or 1)
        one = dataclasses.replace(images, chosen=slice(start, start + 1, 1), names=images.names[place : place + 1])
        try:
            (image,) = one
        except ValueError as error:
            failure = error
            continue
        if dataset.own or not found or image.shape == found[0][2].shape:
            found.append((name, label, image))
    if not found:
        raise ValueError(f"none of the {len(dataset.names)} images of {dataset.path} can be read: {failure}")
    names, labels, pixels = map(list, zip(*found))
    return dataset, dataclasses.replace(dataset, names=names, labels=labels, images=pixels, given={})


def _begin(job: Job, images: data.Dataset) -> None:
    """Leaves to the workers what there is to do, and takes away what is to be tried again."""
    failed = f"{pipeline.FAILED}/"
    for name in files.names(job.shards):
        if name.startswith(failed):
            files.remove(files.joined(job.shards, name.removeprefix(failed).removesuffix(".jsonl")))
        if name.startswith(failed) or files.PART in name:
            files.remove(files.joined(job.shards, name))
    job.write()
    files.write(files.joined(job.shards, pipeline.CHUNKS), pickle.dumps(plan.chunks(images)))


def _options(runner: str, workers: int, arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options.

    Raises:
        ValueError: flags that Beam does not know, which it would leave out.
    """
    if runner == LOCAL:
        # Beam's own processes hang when one of them is killed: there its threads wait for ours, see `handler`.
        own = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", f"--direct_num_workers={workers}"]
    else:
        own = [f"--runner={runner}", "--number_of_worker_harness_threads=1"]
    return PipelineOptions([*own, *arguments])


def _finished(job: Job, results: records.Results[metrics.Record], terminal: rich.console.Console) -> metrics.Run:
    """Collects what the workers wrote."""
    folder, names = results.folder, files.names(job.shards)
    failures = sorted(_failures(job, names), key=operator.itemgetter("index"))
    chunks: list[plan.Batch] = pickle.loads(files.read(files.joined(job.shards, pipeline.CHUNKS)))
    seen = [one for chunk in chunks for one in pickle.loads(files.read(job.path(chunk)))]
    batches = plan.batches(seen, job.batch_size, list(job.attacks))
    failed = {(failure["attack"], failure["index"]) for failure in failures}
    key = operator.attrgetter(*records.KEY)
    for batch in sorted(batches, key=operator.attrgetter("number")):
        keys = [(batch.attack, picture.index) for picture in batch.pictures]
        if batch.path in names:
            made = records.parsed(pathlib.Path(job.path(batch)), files.read(job.path(batch)), metrics.Record, key)
            results.append(record for record in made.values() if key(record) not in results.done)
        elif not all(one in results.done or one in failed for one in keys):
            raise OSError(f"the pipeline left no {job.path(batch)}: give the same command again")
    if job.store != str(folder):
        _copy(job.store, folder)
    correct = [one.correct for one in seen if one.reason is None]
    if not any(correct):
        raise ValueError(f"the model classifies none of the {len(correct)} images correctly: nothing to attack")
    _write_failures(folder, failures)
    whole = metrics.Run(tuple(results.records), len(correct), sum(correct), job.config.epsilons)
    outputs.write_outputs(folder, whole, terminal, failures)
    return whole


def _failures(job: Job, names: set[str]) -> Iterator[dict[str, Any]]:
    for name in sorted(names):
        if name.startswith(f"{pipeline.FAILED}/"):
            yield from map(json.loads, files.read(files.joined(job.shards, name)).splitlines())


def _write_failures(folder: pathlib.Path, failures: list[dict[str, Any]]) -> None:
    """The dead letters, one a line; no file where there is none."""
    path = folder / outputs.DEAD_LETTERS
    with records.writing(path):
        if failures:
            path.write_text("".join(json.dumps(failure) + "\n" for failure in failures))
        else:
            path.unlink(missing_ok=True)


def _copy(store: str, folder: pathlib.Path) -> None:
    """Images and examples from where the workers wrote them."""
    for kept in (records.IMAGES, outputs.EXAMPLES):
        for name in sorted(files.names(files.joined(store, kept))):
            path = folder / kept / name
            with records.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.read(files.joined(store, kept, name)))
