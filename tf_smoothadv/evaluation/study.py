"""A study: every group of attacks on every network and dataset, each run in its own folder, and one report over all."""

from __future__ import annotations

import collections
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import rich.console

from tf_smoothadv.classifier import Classifier
from tf_smoothadv.evaluation import front, records, transfer
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import classes
from tf_smoothadv.evaluation.rendering.report import page
from tf_smoothadv.evaluation.run import is_complete, loaded, white_box
from tf_smoothadv.evaluation.study_file import Run, Study, Transfer

__all__ = ["REPORT", "evaluate", "report"]

REPORT = "report.html"
# Of a Config, what tells images from others, and networks.
DATASET = ("dataset", "data", "num_images", "image_size", "resize", "resolution")
LOADED = (
    "outputs",
    "input_range",
    "samples",
    "output_name",
    "imports",
    "jit_compile",
    "image_size",
    "resize",
    "resolution",
)

Spread = Callable[[Run | Transfer], object]
Load = Callable[[Config, Sequence[str]], Mapping[str, Classifier]]


def evaluate(study: Study, load: Load, spread: Spread | None = None) -> None:
    """Makes the runs and transfers of a study that are missing, and writes its report.

    A run that fails is told, and those behind it are made all the same.

    Args:
        study: see `study_file.read`.
        load: from a config and what it is to load, as `--model` takes it, to networks by these names.
        spread: makes the records of a run or a transfer in other processes, as `beam` does; None for this one.

    Raises:
        ValueError: at the start, images that cannot be read or attacks that do not fit them; at the end, which runs
            failed, and why the first did.
    """
    terminal = rich.console.Console(highlight=False)
    steps: list[Run | Transfer] = [*study.runs, *study.transfers]
    _check(steps)
    # Runs of one network follow one another; that of the one before makes room.
    kept = functools.lru_cache(1)(lambda model, *usage: load(Config(**dict(usage)), [model])[model])

    def network(model: str, config: Config) -> Classifier:
        return kept(model, *((name, getattr(config, name)) for name in LOADED))

    failed = {}
    for number, step in enumerate(steps, start=1):
        terminal.rule(f"{number} of {len(steps)}: {step.told}", align="left")
        try:
            made = _run(step, network, spread) if isinstance(step, Run) else _transfer(step, network, spread)
        except ValueError as error:
            failed[step.told] = error
            terminal.print(f"failed: {error}", markup=False, soft_wrap=True)
        else:
            if not made:
                terminal.print(f"complete before, in {step.config.output}", markup=False, soft_wrap=True)
    path = report(study)
    if path:
        terminal.print(f"the report is {path}", markup=False, soft_wrap=True)
    if failed:
        first, reason = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(steps)} runs failed, the first {first}: {reason}")


def report(study: Study) -> pathlib.Path | None:
    """Writes the report over all runs and transfers that have come to their end; its file, or None if none has.

    Raises:
        ValueError: damaged results.
    """
    names = dict(_names(study.runs))
    datasets = collections.Counter(
        config.dataset for config in {run.dataset: run.config for run in study.runs}.values()
    )
    runs = {}
    for run in study.runs:
        folder = pathlib.Path(run.config.output)
        if (folder / records.SUMMARY).exists():
            finished = classes.known(records.read(folder))
            # By the file's name for it, where two datasets are of one kind.
            several = datasets[run.config.dataset] > 1
            runs[names[run]] = finished._replace(dataset=run.dataset) if several else finished
    folders = [pathlib.Path(step.config.output) for step in study.transfers]
    transfers = [records.read_transfer(folder) for folder in folders if (folder / records.TRANSFER).exists()]
    if not runs and not transfers:
        return None
    path = study.output / REPORT
    text = page(runs, transfers=transfers, place=study.output)
    with records.writing(path):
        path.write_text(text, encoding="utf-8")
    return path


def _check(steps: Sequence[Run | Transfer]) -> None:
    """Raises ValueError, before anything is attacked, for images that cannot be read or attacks that do not fit."""
    first_images = functools.cache(lambda *which: loaded(Config(**dict(which))))
    for step in steps:
        (of_dataset, of_group), config = step.where, step.config
        try:
            images = first_images(*((name, getattr(config, name)) for name in DATASET))
            _ = images.shape  # the first image is read for it
        except ValueError as error:
            raise ValueError(f"{of_dataset}: {error}") from error
        try:
            transfer.preset(config, images) if isinstance(step, Transfer) else config.preset(images)
        except ValueError as error:
            raise ValueError(f"{of_group}, on {step.dataset}: {error}") from error


def _run(run: Run, load: Callable[[str, Config], Classifier], spread: Spread | None) -> bool:
    """Whether a run had to be made, or a part of it."""
    model = load(run.model, run.config)
    complete = is_complete(model, run.config) if run.pick is None else front.is_complete(model, run.config, *run.pick)
    if complete:
        return False
    if spread is not None:
        spread(run)
    if run.pick is not None:  # from the records, which it makes where they are missing
        front.evaluate(model, run.config, *run.pick)
    elif spread is None:
        white_box(model, run.config)
    return True


def _transfer(step: Transfer, load: Callable[[str, Config], Classifier], spread: Spread | None) -> bool:
    """Whether a transfer had to be made, or a part of it."""
    networks = {name: load(model, step.config) for name, model in step.models.items()}
    if transfer.is_complete(networks, step.sources, step.config):
        return False
    if spread is not None:
        spread(step)
    else:
        transfer.evaluate(networks, step.sources, step.config)
    return True


def _names(runs: Sequence[Run]) -> Iterator[tuple[Run, str]]:
    """What a report calls each: its network, and what else tells it from the others."""
    datasets, groups = ({getattr(run, kind) for run in runs} for kind in ("dataset", "group"))
    for run in runs:
        dataset = f" on {run.dataset}" if len(datasets) > 1 else ""
        yield run, f"{run.network}{dataset}{f', {run.group}' if len(groups) > 1 else ''}"
