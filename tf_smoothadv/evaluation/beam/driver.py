"""Evaluations by Apache Beam, which leave in the folder of results what those of one process leave there."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import rich.console

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import data, outputs, parameters, records, run, visibility
from tf_smoothadv.evaluation import referee as refereeing
from tf_smoothadv.evaluation import transfer as transferring
from tf_smoothadv.evaluation.beam import tasks
from tf_smoothadv.evaluation.beam.starting import Begun, Images, Load, Where, begun, made
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import targets
from tf_smoothadv.evaluation.rendering.terminal import print_settings
from tf_smoothadv.transfer import Record

__all__ = ["referee", "transfer", "white_box"]

HERE = Where()


def white_box(load: Load, config: Config, where: Where = HERE) -> metrics.Run:
    """Does what `run.white_box` does, by Apache Beam, and leaves the same in the folder of results.

    Args:
        load: gives the network by its name; it is pickled, and called in every process.
        config: what the evaluation is made with.
        where: where the pipeline runs.

    Returns:
        The run, of all records in the folder.

    Raises:
        ValueError: what is wrong with the images, with the model, or with the folder.
        OSError: results that cannot be written.
    """
    with begun(load, config, where) as evaluation:
        ((source, model),) = evaluation.networks.items()
        images = Images.of(evaluation)
        run.check(model, images.first, config)
        if config.aim is not None and config.aim not in targets.BY_LOGITS:
            images = images._replace(all=data.aimed(model, images.all, config.aim))
        shown = images.batched(evaluation.networks, config)
        attacks = config.preset(shown)
        task = tasks.Attacking(source, attacks, config.reference(shown))
        return _run(evaluation, task, parameters.by_name(attacks), images, shown)


def referee(load: Load, config: Config, paths: Iterable[pathlib.Path], where: Where = HERE) -> metrics.Run:
    """Does what `referee.referee` does, by Apache Beam.

    Args:
        load, config, where: see `white_box`.
        paths: see `referee.referee`; every worker must reach them.

    Returns, raises: as `white_box`, and what `data.submissions` refuses.
    """
    with begun(load, config, where) as evaluation:
        ((source, model),) = evaluation.networks.items()
        images, submitted = Images.of(evaluation), refereeing.submitted(config, paths)
        run.check(model, images.first, config, gradients=False)
        shown = images.batched(evaluation.networks, config)
        described = {name: submission.described() for name, submission in submitted.items()}
        by_name = {name: submission.path.absolute() for name, submission in submitted.items()}
        task = tasks.Judging(source, by_name, config.shard, config.reference(shown))
        whole = _run(evaluation, task, described, images, shown)
        refereeing.tell_missing(whole, submitted, images.all.names, config)
        return whole


def _run(
    evaluation: Begun, task: tasks.Task, described: Mapping[str, Any], images: Images, shown: data.Dataset
) -> metrics.Run:
    """One pipeline on one network, with the figures of a run."""
    model, config = evaluation.networks[task.source], evaluation.config
    terminal = rich.console.Console(highlight=False)
    work = run.Work(described, lambda *_: iter(()), measures=visibility.measures(config, images.first.shape))
    with run.opened(model, shown, work, config) as results:
        print_settings(terminal, described)
        found = made(evaluation, task, work, images, shown, results, terminal)
        count, correct = len(found.seen), sum(one.correct for one in found.seen)
        if not correct:
            raise ValueError(f"the model classifies none of the {count} images correctly: nothing to attack")
        whole = metrics.Run(tuple(results.records), count, correct, config.epsilons)
        outputs.write_failures(results.folder, found.failures)
        outputs.write_outputs(results.folder, whole, terminal, found.failures)
        return whole


def transfer(load: Load, sources: Iterable[str], config: Config, where: Where = HERE) -> dict[str, Any]:
    """Does what `transfer.evaluate` does, by Apache Beam: a pipeline for each source.

    Args:
        load: gives all the networks by their names.
        sources, config: see `transfer.evaluate`.
        where: see `white_box`.

    Returns, raises: as `transfer.evaluate`, and as `white_box`.
    """
    with begun(load, config, where) as evaluation:
        networks = evaluation.networks
        images, sources = Images.of(evaluation), list(dict.fromkeys(sources))
        transferring.check(networks, images.first)
        shown = images.batched(networks, config)
        attacks = transferring.preset(config, shown)
        made_with = transferring.made_with(networks, sources, shown, attacks, config)
        described, terminal = made_with["attacks"], rich.console.Console(highlight=False)
        failures: list[dict[str, Any]] = []
        num_correct: dict[str, int] = {}
        with records.Results(records.output_folder(config.output), made_with, Record, transferring.KEY) as results:
            print_settings(terminal, described)
            for source in sources:
                task = tasks.Transferring(source, attacks, config.reference(shown))
                work = run.Work(described, lambda *_: iter(()), transferring.prefix(source, sources), examples=False)
                found = made(evaluation, task, work, images, shown, results, terminal)
                if not any(one.correct for one in found.seen):
                    raise ValueError(f"{source} classifies none of the {len(found.seen)} images correctly")
                num_correct = {name: sum(one.right(name) for one in found.seen) for name in networks}
                failures += ({**failure, "source": source} for failure in found.failures)
            outputs.write_failures(results.folder, failures)
            summary = transferring.summarized(results.records, num_correct, made_with)
            transferring.write_outputs(results, summary, terminal)
            outputs.tell_failures(terminal, failures)
    return summary
