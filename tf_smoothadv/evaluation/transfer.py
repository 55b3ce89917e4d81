"""Transfer: what adversarial images made for some networks do to others (section 5.4), over a folder of results."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import rich.console
import rich.progress

from tf_smoothadv import inspection, loading, protocol, transfer
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation import data, families, parameters, records, variants
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.presets import Preset
from tf_smoothadv.evaluation.rendering import tables
from tf_smoothadv.evaluation.rendering.terminal import advance, begin, print_settings, progress
from tf_smoothadv.evaluation.run import Batches, Work, batched, go_through, loaded
from tf_smoothadv.smoothing import Smoothing

__all__ = ["KEY", "check", "evaluate", "is_complete", "predictions", "prefix", "preset", "summarized", "write_outputs"]

KEY = ("source", "attack", "index")


def evaluate(networks: Mapping[str, core.Model], sources: Iterable[str], config: Config) -> dict[str, Any]:
    """Attacks each source, and tells how often every network errs on the images as delivered.

    Every attack has one setting: the attacker does not know the target, and cannot search on it.

    Args:
        networks: by name, all of the same classes; see `protocol.evaluate`.
        sources: the names of those that are attacked.
        config: what it is made with; `labels` must be "given".

    Returns:
        What is in transfer.json.

    Raises:
        ValueError: what is wrong with the images, with a network, or with the folder.
    """
    sources, images = list(dict.fromkeys(sources)), loaded(config)
    check(networks, images)
    attacks = preset(config, images)
    images = batched(images, networks.values(), config)
    settings = made_with(networks, sources, images, attacks, config)
    described = settings["attacks"]
    terminal, reference = rich.console.Console(highlight=False), config.reference(images)
    with records.Results(records.output_folder(config.output), settings, transfer.Record, KEY) as results:
        print_settings(terminal, described)
        with progress(terminal) as bar:
            clean = predictions(networks, images, bar)
            num_correct = {name: int(np.equal(classes, images.labels).sum()) for name, classes in clean.items()}
            for source in sources:
                if num_correct[source] == 0:
                    raise ValueError(f"{source} classifies none of the {len(images.names)} images correctly")
            for source in sources:
                done = {(attack, image) for name, attack, image in results.done if name == source}
                batches = _transferring(networks, source, attacks, clean, reference)
                work = Work(described, batches, prefix(source, sources), examples=False)
                go_through(networks[source], images, work, results, config, bar, done)
        summary = summarized(results.records, num_correct, settings)
        write_outputs(results, summary, terminal)
    return summary


def is_complete(networks: Mapping[str, core.Model], sources: Iterable[str], config: Config) -> bool:
    """Whether the folder holds all that `evaluate` would leave there: nothing is attacked to see it.

    Raises:
        ValueError: what is wrong with the images or with the folder.
    """
    folder = pathlib.Path(config.output)
    if not (folder / records.TRANSFER).exists():
        return False
    images = batched(loaded(config), networks.values(), config)
    attacks = preset(config, images)
    return records.holds(folder, made_with(networks, list(dict.fromkeys(sources)), images, attacks, config))


def preset(config: Config, images: data.Dataset) -> Preset:
    """The attacks of a transfer, each of one setting, with their parameters for such images.

    Raises:
        ValueError: what `presets.preset` refuses.
    """
    family = families.family(images.shape)
    return variants.transfer(family, config.settings, config.attacks, config.levels, config.gradients)


def made_with(
    networks: Mapping[str, core.Model], sources: list[str], images: data.Dataset, attacks: Preset, config: Config
) -> dict[str, Any]:
    """What the records of a transfer depend on, plain values by name."""
    return {
        "sources": sources,
        "targets": list(networks),
        "weights": {name: loading.fingerprint(network) for name, network in networks.items()},
        **config.made_with(images, parameters.by_name(attacks)),
    }


def _transferring(
    networks: Mapping[str, core.Model],
    source: str,
    attacks: Preset,
    clean: Mapping[str, list[int]],
    reference: Smoothing,
) -> Batches:
    """Attacks on one source, shown to every network; see `tf_smoothadv.transfer.batches`."""

    def batches(images: protocol.CorrectImages, done: Collection[tuple[str, int]]) -> Iterator[protocol.Batch]:
        return transfer.batches(networks, source, images, attacks, clean, reference=reference, done=done)

    return batches


def check(networks: Mapping[str, core.Model], dataset: data.Dataset) -> None:
    """Checks every network on the first images.

    Raises:
        ValueError: which network it is, and what `inspection.check` says; networks of different classes.
    """
    images, labels = next(iter(dataset))
    classes = {}
    for name, network in networks.items():
        try:
            classes[name] = inspection.num_classes(network, images)
            dataset.check_classes(classes[name])
            inspection.check(network, images, labels)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if len(set(classes.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in classes.items())
        raise ValueError(f"sources and targets must have the same classes: {told}")


def predictions(
    networks: Mapping[str, core.Model], dataset: data.Dataset, bar: rich.progress.Progress
) -> dict[str, list[int]]:
    """The class that each network predicts for each image."""
    task = begin(bar, "clean", len(dataset.names) * len(networks))
    classes: dict[str, list[int]] = {name: [] for name in networks}
    for images, _ in dataset:
        for name, network in networks.items():
            classes[name] += protocol.predict(network, images).tolist()
            advance(bar, task, len(images))
    return classes


def summarized(
    kept: list[transfer.Record], num_correct: Mapping[str, int], made_with: Mapping[str, Any]
) -> dict[str, Any]:
    """What transfer.json holds: the scores of every attack of every source on every network."""
    count = len(made_with["images"])

    def scores(source: str, attack: str) -> dict[str, dict[str, float]]:
        chosen = [record for record in kept if (record.source, record.attack) == (source, attack)]
        return {target: transfer.scores(chosen, target) for target in made_with["targets"]}

    return {
        "dataset": made_with["dataset"],
        "num_images": count,
        "settings": made_with["settings"],
        "levels": made_with["levels"],
        "attacks": made_with["attacks"],
        "num_correct": dict(num_correct),
        "accuracy": {name: correct / count for name, correct in num_correct.items()},
        "transfer": {
            source: {attack: scores(source, attack) for attack in made_with["attacks"]}
            for source in made_with["sources"]
        },
    }


def write_outputs(
    results: records.Results[transfer.Record], summary: Mapping[str, Any], terminal: rich.console.Console
) -> None:
    """Writes transfer.json to the folder, and prints the tables."""
    records.write(results.folder / records.TRANSFER, summary)
    for table in tables.transfer(summary):
        terminal.print(table)
    terminal.print(tables.TRANSFER_LEGEND)
    terminal.print(f"{records.TRANSFER} and records.jsonl are in {results.folder}")


def prefix(source: str, sources: Collection[str]) -> str:
    """What stands before the attacks' names in the folders of images, where there are several sources."""
    return "{}-".format(re.sub(r"[^\w.+-]+", "_", source)) if len(sources) > 1 else ""
