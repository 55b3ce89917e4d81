"""Joins the folders of all the shards of a run into what one run over all the images leaves."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import rich.console

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.outputs import EXAMPLES, write_outputs

OWN = ("shard", "images", "batch_size")  # settings in which shards may differ


def merge(folders: Iterable[str | pathlib.Path], output: str | pathlib.Path) -> metrics.Run:
    """Joins folders; pixels and numbers are the shards' own.

    Args:
        folders: of all the shards of one run.
        output: the folder to write what `run.white_box` writes, images included.

    Raises:
        ValueError: shards that are missing, come twice, or were made with different settings.
    """
    shards = in_order([pathlib.Path(folder) for folder in dict.fromkeys(folders)])
    finished = [records.read(folder) for folder in shards]
    images = interleaved([one.images for one in finished])
    made_with = {**records.settings_of(shards[0]), "shard": "1/1", "images": images}
    whole = joined(finished, list(made_with["attacks"]))
    with records.Results(records.output_folder(output), made_with, metrics.Record) as results:
        results.append(record for record in whole if (record.attack, record.image) not in results.done)
        for source in shards:
            for kept in (records.IMAGES, EXAMPLES):
                if (source / kept).exists() and (kept == records.IMAGES or source == shards[0]):
                    shutil.copytree(source / kept, results.folder / kept, dirs_exist_ok=True)
        counts = sum(one.run.num_images for one in finished), sum(one.run.num_correct for one in finished)
        run = metrics.Run(tuple(whole), *counts)
        write_outputs(results.folder, run, rich.console.Console(highlight=False))
    return run


def in_order(folders: list[pathlib.Path]) -> list[pathlib.Path]:
    """The folders by their shards.

    Raises:
        ValueError: shards that are missing, come twice, or were made with different settings.
    """
    settings = {folder: records.settings_of(folder) for folder in folders}
    by_shard: dict[str, pathlib.Path] = {}
    first = settings[folders[0]]
    for folder, made_with in settings.items():
        shard = made_with.get("shard")
        if not (isinstance(shard, str) and records.SHARD.fullmatch(shard)):
            raise ValueError(f"{folder} holds no results of a --shard=i/n")
        if shard in by_shard:
            raise ValueError(f"{by_shard[shard]} and {folder} both hold shard {shard}")
        name = records.different(common(first), common(made_with))
        if name:
            raise ValueError(
                f"shards of one run must have the same settings: {folders[0]} has {name}={first.get(name)!r}, "
                f"{folder} has {name}={made_with.get(name)!r}"
            )
        by_shard[shard] = folder
    parts = int(first["shard"].partition("/")[2])
    missing = [shard for shard in (f"{part}/{parts}" for part in range(1, parts + 1)) if shard not in by_shard]
    if missing or len(by_shard) > parts:
        raise ValueError(
            f"all the shards of one run must be named; received {', '.join(by_shard)}"
            + (f", without {', '.join(missing)}" if missing else "")
        )
    return [by_shard[f"{part}/{parts}"] for part in range(1, parts + 1)]


def common(made_with: dict[str, Any]) -> dict[str, Any]:
    """The settings that shards of one run share."""
    return {key: value for key, value in made_with.items() if key not in OWN}


def interleaved(parts: list[list[str]]) -> list[str]:
    """The names of all the images, of which the i-th part has every n-th from the i-th on.

    Raises:
        ValueError: parts that cannot be such.
    """
    count = sum(map(len, parts))
    expected = [len(range(part, count, len(parts))) for part in range(len(parts))]
    if list(map(len, parts)) != expected:
        raise ValueError(
            f"shards of {count} images must have {', '.join(map(str, expected))} of them; these have "
            f"{', '.join(str(len(part)) for part in parts)}: give each the same --num_images"
        )
    return [parts[place % len(parts)][place // len(parts)] for place in range(count)]


def joined(shards: list[records.Finished], attacks: list[str]) -> list[metrics.Record]:
    """All the records, by image and attack, with the positions that images have in the whole."""
    records = [
        dataclasses.replace(record, image=record.image * len(shards) + part)
        for part, finished in enumerate(shards)
        for record in finished.run.records
    ]
    return sorted(records, key=lambda record: (record.image, attacks.index(record.attack)))
