"""Transfer: attacks source networks, and tells how often their adversarial images deceive others (section 5.4).

    python -m eval.transfer                                          C4, behind a filter and adversarially trained
    python -m eval.transfer --sources=c4,c4_adversarial              both ways: the matrix of sources and targets
    python -m eval.transfer --sources=bilateral+c4 --targets=c4      an attack that goes through the filter
    python -m eval.transfer --sources=a.keras --targets=b.keras --dataset=nips2017 --data=DIR     on other images

Every attack has one setting: the attacker does not know the target, and cannot search on it. All the networks judge the
images as delivered in 8 bits. Writes to --output: transfer.json, records.jsonl (one line a source, attack and image),
settings.json. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
from absl import flags

import models
from eval import attacking, classifiers, data, inputs, preset, settings
from eval.results import TRANSFER, Results, write
from eval.terminal import print_settings, progress
from models import console
from tf_smoothadv import protocol, transfer

FLAGS = flags.FLAGS
for module in (inputs, preset, attacking, classifiers):
    flags.adopt_module_key_flags(module)
flags.DEFINE_list(
    "sources",
    ["c4"],
    f"Networks to attack: {classifiers.NAMES}. All networks have the same classes, and --outputs, --input_range, "
    "--samples and --output_name hold for every one of them.",
)
flags.DEFINE_list("targets", ["bilateral+c4", "c4_adversarial"], "Networks to transfer to, beside the sources.")
flags.DEFINE_string("output", "results/transfer", "Folder for the results.")

Scores = dict[str, dict[str, float]]

LEGEND = """P: share of the images that the source classifies correctly and the target gets wrong, once attacked and
delivered in 8 bits. D: mean L2 distortion of those. P*: P over the images that the target gets right unattacked."""


def main() -> None:
    """Runs what the flags say."""
    for role in ("sources", "targets"):
        if not FLAGS[role].value:
            raise ValueError(f"{role} must name at least one model; received none")
    attacks = settings.transfer(FLAGS.dataset, FLAGS.settings, FLAGS.attacks, FLAGS.levels)
    reference = preset.reference()
    dataset = inputs.dataset()
    sources = list(dict.fromkeys(FLAGS.sources))
    networks = classifiers.load([*sources, *FLAGS.targets])
    check(networks, dataset)
    folder = console.output_folder(FLAGS.output)
    dataset = inputs.batched(dataset, networks.values(), folder)
    made_with = {
        "sources": sources,
        "targets": list(networks),
        "weights": {name: models.fingerprint(network) for name, network in networks.items()},
        **classifiers.made_with(),
        **inputs.made_with(dataset),
        **preset.made_with(),
        **attacking.made_with(attacks),
    }
    results = Results(folder, made_with, transfer.Record, key=("source", "attack", "image"))

    terminal = rich.console.Console(highlight=False)
    print_settings(terminal, made_with["attacks"])
    with progress(terminal) as bar:
        clean = predictions(networks, dataset, bar)
        num_correct = {name: int(np.equal(classes, dataset.labels).sum()) for name, classes in clean.items()}
        for source in sources:
            if num_correct[source] == 0:
                raise ValueError(f"{source} classifies none of the {len(dataset.names)} images correctly")
        task = bar.add_task("", total=sum(num_correct[source] for source in sources) * len(attacks))
        for source in sources:
            done = {(attack, image) for name, attack, image in results.done if name == source}
            for records in transfer.records(networks, source, dataset, attacks, clean, reference=reference, done=done):
                results.append(records)
                bar.update(task, description=records[0].attack, completed=len(results.records))
        bar.update(task, completed=len(results.records))

    summary = {
        "dataset": FLAGS.dataset,
        "num_images": len(dataset.names),
        "settings": FLAGS.settings,
        "levels": FLAGS.levels,
        "attacks": made_with["attacks"],
        "num_correct": num_correct,
        "accuracy": {name: correct / len(dataset.names) for name, correct in num_correct.items()},
        "transfer": {
            source: {attack: on_targets(results.records, source, attack, networks) for attack in attacks}
            for source in sources
        },
    }
    write(results.folder / TRANSFER, summary)
    for result in tables(summary):
        terminal.print(result)
    terminal.print(LEGEND)
    terminal.print(f"{TRANSFER} and records.jsonl are in {results.folder}")


def check(networks: Mapping[str, Any], dataset: data.Dataset) -> None:
    """Checks every network on the first images.

    Raises:
        ValueError: which network it is, and what `models.check` says; networks of different classes.
    """
    images, labels = next(iter(dataset))
    classes = {}
    for name, network in networks.items():
        try:
            classes[name] = models.num_classes(network, images)
            dataset.check_classes(classes[name])
            models.check(network, images, labels)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if len(set(classes.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in classes.items())
        raise ValueError(f"sources and targets must have the same classes: {told}")


def predictions(
    networks: Mapping[str, Any], dataset: data.Dataset, bar: rich.progress.Progress
) -> dict[str, list[int]]:
    """The class that each network predicts for each image."""
    task = bar.add_task("clean", total=len(dataset.names) * len(networks))
    classes: dict[str, list[int]] = {name: [] for name in networks}
    for images, _ in dataset:
        for name, network in networks.items():
            classes[name] += protocol.predict(network, images).tolist()
            bar.advance(task, len(images))
    return classes


def on_targets(records: list[transfer.Record], source: str, attack: str, targets: Mapping[str, Any]) -> Scores:
    """The scores of one attack of a source, by target."""
    chosen = [record for record in records if (record.source, record.attack) == (source, attack)]
    return {target: transfer.scores(chosen, target) for target in targets}


def tables(summary: dict[str, Any]) -> Iterator[rich.table.Table]:
    """The paper's table 3 for each source; for several, also the matrix of sources and targets for each attack."""
    scores, accuracy = summary["transfer"], summary["accuracy"]
    for source, by_attack in scores.items():
        title = f"{summary['num_correct'][source]} images of {summary['dataset']}, attacked on {source}"
        yield table(title, "attack", by_attack, accuracy)
    if len(scores) > 1:
        for attack in summary["attacks"]:
            rows = {source: by_attack[attack] for source, by_attack in scores.items()}
            yield table(f"{attack}, from source to target", "source", rows, accuracy)


def table(title: str, heading: str, rows: Mapping[str, Scores], accuracy: Mapping[str, float]) -> rich.table.Table:
    """A row for each name, a column for each target."""
    result = rich.table.Table(title=title, box=rich.box.SIMPLE)
    result.add_column(heading, overflow="fold")
    for target, value in accuracy.items():
        name = f"{target}\naccuracy {value:.3f}\n{'P':5} {'D':>5} {'P*':>5}"
        result.add_column(name, justify="right", overflow="fold", max_width=len("0.000 00.00 0.000"))
    for name, scores in rows.items():
        cells = [(one["p_suc"], one["mean_distortion"], one["p_suc_correct"]) for one in scores.values()]
        result.add_row(name, *(f"{p:.3f} {distortion:5.2f} {p_correct:5.3f}" for p, distortion, p_correct in cells))
    return result


if __name__ == "__main__":
    console.run(main)
