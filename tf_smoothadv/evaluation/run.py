"""One run over a network's images, from its first batch to its figures, with a progress bar.

Whatever makes the adversarial images goes through `go_through`: so shards, resuming, saved images, TensorBoard and
progress work everywhere alike.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import rich.console
import rich.progress

from tf_smoothadv import checks, inspection, loading, metrics, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.evaluation import batch_size, data, outputs, parameters, presets, records, visibility
from tf_smoothadv.evaluation.config import OWN, PREDICTED, Config
from tf_smoothadv.evaluation.rendering import tensorboard, terminal
from tf_smoothadv.smoothing import Smoothing

__all__ = ["white_box"]

CHECKED = 32  # images that a model is checked on

R = TypeVar("R", bound=metrics.Record)
Batches = Callable[[protocol.CorrectImages, Collection[tuple[str, int]]], Iterator[protocol.Batch]]


class Work(NamedTuple):
    """What makes the adversarial images of a run.

    Attributes:
        described: the parameters of each attack, plain values by its name.
        batches: a function of the images that the model classifies correctly and of the (attack, index) of existing
            records; it gives the batches that are missing.
        prefix: of the attacks' names, where other runs write images to the same folder.
        examples: whether the first images are kept for the figure of examples.
        measures: of visibility, which are taken of its images.
    """

    described: Mapping[str, Any]
    batches: Batches
    prefix: str = ""
    examples: bool = True
    measures: tuple[str, ...] = ()


def _attacking(model: core.Model, attacks: presets.Preset, reference: Smoothing) -> Work:
    """Attacks, on a model; see `protocol.attack_batches`."""
    return Work(
        parameters.by_name(attacks),
        lambda images, done: protocol.attack_batches(model, images, attacks, reference=reference, done=done),
    )


def white_box(model: core.Model, config: Config, attacks: presets.Preset | None = None) -> metrics.Run:
    """Attacks the images of a dataset, or goes on with it, and leaves its results in a folder (section 5.3).

    Args:
        model: see `protocol.evaluate`.
        config: what it is made with.
        attacks: by name; by default those that `config` names.

    Returns:
        The run, of all records in the folder.

    Raises:
        ValueError: what is wrong with the images, with the model, or with the folder.
    """
    images = prepared(model, config)
    work = _attacking(model, config.preset(images) if attacks is None else attacks, config.reference(images))
    return run(model, images, work, config)


def is_complete(model: core.Model, config: Config) -> bool:
    """Whether the folder holds all that `white_box` would leave there: nothing is attacked to see it.

    Raises:
        ValueError: what is wrong with the images or with the folder.
    """
    folder = pathlib.Path(config.output)
    if not (folder / records.SUMMARY).exists():
        return False
    images = batched(loaded(config), [model], config)
    work = _attacking(model, config.preset(images), config.reference(images))
    work = work._replace(measures=visibility.measures(config, images.shape))
    return records.holds(folder, made_with(model, images, work, config))


def loaded(config: Config) -> data.Dataset:
    """The images, in batches to check models on.

    Raises:
        ValueError: what `data.load` refuses.
    """
    which = config.dataset, config.data, config.num_images
    return data.load(*which, CHECKED, config.image_size, config.shard, config.resize, config.resolution == OWN)


def prepared(model: core.Model, config: Config, *, gradients: bool = True) -> data.Dataset:
    """The images, in batches that a model has room for, once the model has been checked on the first of them.

    Args:
        gradients: as `inspection.check` takes it.

    Raises:
        ValueError: what is wrong with the images, with the model, or with the classes for it.
    """
    dataset = loaded(config)
    check(model, dataset, config, gradients=gradients)
    if config.labels == PREDICTED:
        dataset = data.labelled_by(model, dataset)
    if config.aim is not None:
        dataset = data.aimed(model, dataset, config.aim)
    return batched(dataset, [model], config)


def check(model: core.Model, dataset: data.Dataset, config: Config, *, gradients: bool = True) -> None:
    """Checks the model on the first batch of images, on which its compiled functions are measured, too.

    Args:
        gradients: as `inspection.check` takes it.

    Raises:
        ValueError: what is wrong with the images, with the model, or with the classes for it.
    """
    images, labels = next(iter(dataset))
    if config.labels == PREDICTED:
        inspection.check(model, images, gradients=gradients)
        return
    dataset.check_classes(inspection.num_classes(model, images))
    inspection.check(model, images, labels, gradients=gradients)


def batched(dataset: data.Dataset, models: Iterable[core.Model], config: Config) -> data.Dataset:
    """The same images in batches of the size that `config` says, for these models, which take the images.

    A run that goes on in its folder takes the batches that it began with: what a network computes for an image depends,
    in its last bits, on how many others it is given.
    """
    settings = records.settings_of(pathlib.Path(config.output))
    begun = settings.get("batch_size")
    if config.batch_size is not None:
        size = config.batch_size
    elif begun:
        checks.count(f"batch_size in {config.output}/{records.SETTINGS}", begun)
        size = begun
    elif dataset.own:
        size = 1  # the largest image is not known
    else:
        size = min(batch_size.automatic(model, dataset.shape) for model in models)
    return dataclasses.replace(dataset, batch_size=size, begins=records.begins(settings, dataset.names))


def run(model: core.Model, images: data.Dataset, work: Work, config: Config) -> metrics.Run:
    """Makes the records that the folder lacks, and writes what `outputs.write_outputs` does.

    Args:
        model, images: what is attacked, see `prepared`.
        work: what makes the adversarial images.
        config: what the run is made with.
    """
    work = work._replace(measures=visibility.measures(config, images.shape))
    with opened(model, images, work, config) as results:
        console = rich.console.Console(highlight=False)
        terminal.print_settings(console, work.described)
        with terminal.progress(console) as bar:
            correct = go_through(model, images, work, results, config, bar)
        made = dataclasses.replace(protocol.as_run(results.records, correct), epsilons=config.epsilons)
        outputs.write_outputs(results.folder, made, console)
        return made


def opened(model: core.Model, images: data.Dataset, work: Work, config: Config) -> records.Results[metrics.Record]:
    """The folder of a run on one model, with the records that are in it already."""
    made = made_with(model, images, work, config)
    return records.Results(records.output_folder(config.output), made, metrics.Record)


def made_with(model: core.Model, images: data.Dataset, work: Work, config: Config) -> dict[str, Any]:
    """What the records of a run depend on, plain values by name."""
    weights = {"model": config.model, "weights": loading.fingerprint(model)}
    seen = {visibility.SETTING: list(work.measures)} if work.measures else {}
    return {**weights, **config.made_with(images, work.described), **Classifier.of(model).settings(), **seen}


def go_through(
    model: core.Model,
    images: data.Dataset,
    work: Work,
    results: records.Results[R],
    config: Config,
    bar: rich.progress.Progress,
    done: Collection[tuple[str, int]] | None = None,
) -> protocol.CorrectImages:
    """The loop over batches: records, images and curves of each, as it comes.

    Args:
        done: (attack, index) of existing records; by default those of the folder.

    Returns:
        The images that the model classifies correctly, all counted.
    """
    board = tensorboard.Board(str(records.output_folder(config.tensorboard))) if config.tensorboard else None
    correct = protocol.CorrectImages(model, images, images.begins)
    done = results.done if done is None else done

    def total() -> int:
        """Images times attacks, without the images that are not attacked, as far as it is known."""
        return (len(images.names) - correct.num_images + correct.num_correct) * len(work.described)

    task = terminal.begin(bar, "", len(images.names) * len(work.described), len(done))
    for batch in visibility.beside(work.batches(correct, done), work.measures):
        named = batch._replace(attack=work.prefix + batch.attack)
        if config.save_images:
            outputs.keep_images(results.folder, named, images.names)
        # Of the folder as it is by now: the figure shows the first images, not those of the last batch.
        if work.examples and not any(record.index < batch.records[0].index for record in results.records):
            outputs.keep_examples(results.folder, named)
        results.append(record for record in batch.records if isinstance(record, results.kind))
        if board:
            board.write(named, correct.logits_of(batch.adversarial))
        new = [record for record in batch.records if (record.attack, record.index) not in done]
        terminal.advance(bar, task, len(new), sum(record.gradients for record in new), total(), batch.attack)
    terminal.advance(bar, task, 0, total=total())
    return correct
