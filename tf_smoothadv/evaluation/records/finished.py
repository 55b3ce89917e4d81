"""What a run that came to its end left in its folder."""

from __future__ import annotations

import collections
import math
import operator
import pathlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tf_smoothadv import blind, detection, metrics
from tf_smoothadv.evaluation.records import schema
from tf_smoothadv.evaluation.records.amendment import as_read, different
from tf_smoothadv.evaluation.records.answers import Findings
from tf_smoothadv.evaluation.records.folder import (
    BLIND,
    DETECTABILITY,
    IMAGES,
    KEY,
    ORIGINAL,
    RECORDS,
    SETTINGS,
    SUMMARY,
    TRANSFER,
    parsed,
    settings_of,
)

__all__ = ["Finished", "holds", "named", "read", "read_all", "read_blind", "read_detectability", "read_transfer"]

R = TypeVar("R", bound=metrics.Record)


class Finished(NamedTuple):
    """A folder of results of a run that came to its end.

    Attributes:
        folder: where they lie.
        model, dataset, settings, levels: as `eval.white_box` was given them.
        images: names, by index in the dataset.
        data: where the images were read.
        attacks: the parameters of each attack.
        run: the records.
        class_names: by number, as far as they are known: those of the folders that the images of a dataset lie in.
    """

    folder: pathlib.Path
    model: str
    dataset: str
    settings: str
    levels: int | None
    images: list[str]
    data: str
    attacks: dict[str, dict[str, Any]]
    run: metrics.Run
    class_names: Mapping[int, str] = types.MappingProxyType({})

    def picture(self, image: int, attack: str = ORIGINAL) -> pathlib.Path:
        """The file that `write_images` wrote, if it did."""
        return self.folder / IMAGES / attack / f"{self.images[image]}.png"

    @property
    def pictured(self) -> list[metrics.Record]:
        """The records that there are files of, the original's and the adversarial image's."""
        return [
            record
            for record in self.run.records
            if self.picture(record.index).exists() and self.picture(record.index, record.attack).exists()
        ]

    def check_pictures(self, images: Mapping[str, Sequence[int]]) -> None:
        """Raises ValueError unless there are files of these images of each attack, and of their originals."""
        pictured = {(record.attack, record.index) for record in self.pictured}
        asked = [(name, image) for name, indices in images.items() for image in indices]
        missing = [self.picture(image, name) for name, image in asked if (name, image) not in pictured]
        if missing:
            raise ValueError(
                f"{missing[0]} or its original is missing, and so are {len(missing) - 1} others: eval.white_box "
                "--save_images with a new --output keeps them"
            )

    def successes(self) -> dict[str, list[int]]:
        """The images on which each attack succeeded as delivered, in order."""
        found: dict[str, list[int]] = {attack: [] for attack in self.run.attacks}
        for record in self.run.records:
            if record.delivered.success:
                found[record.attack].append(record.index)
        return {attack: sorted(images) for attack, images in found.items()}


SCORES = dict.fromkeys(("p_suc", "mean_distortion", "p_suc_correct"), float)
TRANSFERRED = {
    "dataset": str,
    "num_images": int,
    "num_correct": dict[str, int],
    "accuracy": dict[str, float],
    "attacks": dict[str, Any],
    "transfer": dict[str, dict[str, dict[str, dict[str, float | None]]]],
}


def read_transfer(folder: pathlib.Path) -> dict[str, Any]:
    """What `eval.transfer` left in a folder.

    Raises:
        ValueError: damaged results.
    """
    try:
        summary = schema.taken(schema.read(folder / TRANSFER), TRANSFERRED)
        for source, by_attack in summary["transfer"].items():
            count = schema.taken(summary["num_correct"], {source: int})[source]
            if not 0 <= count <= summary["num_images"]:
                raise ValueError(f"it tells of {count} of {summary['num_images']} images")
            for on_targets in by_attack.values():
                for target in summary["accuracy"]:
                    on_targets[target] = schema.taken(on_targets.get(target, {}), SCORES)
                    p_suc = on_targets[target]["p_suc"]
                    if not (math.isnan(p_suc) or (count and 0 <= p_suc <= 1)):
                        raise ValueError(f"p_suc must be a share of {count} images; received {p_suc}")
        return summary
    except ValueError as error:
        raise ValueError(f"{folder} does not hold results as eval.transfer writes them: {error}") from error


def read_detectability(finished: Finished) -> dict[str, dict[str, detection.Detectability]]:
    """What `eval.detect` found in a folder, by attack and by what the features are of; nothing where it has not been.

    Raises:
        ValueError: a damaged file, or one of other images than the folder has.
    """
    path = finished.folder / DETECTABILITY
    if not path.exists():
        return {}
    try:
        kinds = dict[str, dict[str, dict[str, Any]]]
        by_attack = schema.taken(schema.read(path), {"attacks": kinds})["attacks"]
        found = {
            name: {color: schema.built(detection.Detectability, one) for color, one in by_color.items()}
            for name, by_color in by_attack.items()
        }
        successes = finished.successes()
        for name, by_color in found.items():
            for one in by_color.values():
                if one.num_images != len(successes.get(name, [])):
                    raise ValueError(
                        f"it tells of {one.num_images} images of {name!r}, {RECORDS} of {len(successes.get(name, []))}"
                    )
        return found
    except ValueError as error:
        raise ValueError(
            f"{path} is not what eval.detect writes for this folder: {error}; python -m eval.detect {finished.folder} "
            "makes it anew"
        ) from error


def read_blind(finished: Finished) -> Findings | None:
    """What `eval.blind --score` found in a folder; None where it has not been.

    Raises:
        ValueError: a damaged file, or one of other attacks than the folder has.
    """
    path = finished.folder / BLIND
    if not path.exists():
        return None
    try:
        kinds = typing.get_type_hints(Findings)
        by_name, by_image = dict[str, dict[str, Any]], dict[str, dict[str, dict[str, Any]]]
        kinds |= {"attacks": by_name, "observers": by_name, "images": by_image}
        found = schema.taken(schema.read(path), kinds)
        for name in ("attacks", "observers"):
            found[name] = _sights(found[name])
        found["images"] = {attack: _sights(images) for attack, images in found["images"].items()}
        unknown = [attack for attack in found["attacks"] if attack not in finished.attacks]
        if unknown:
            raise ValueError(f"it tells of {unknown[0]!r}, {SETTINGS} of {', '.join(finished.attacks)}")
        return Findings(**found)
    except ValueError as error:
        raise ValueError(
            f"{path} is not what eval.blind writes for this folder: {error}; python -m eval.blind --score "
            f"{finished.folder} ANSWERS makes it anew"
        ) from error


def _sights(values: Mapping[str, dict[str, Any]]) -> dict[str, blind.Sight]:
    return {name: schema.built(blind.Sight, one) for name, one in values.items()}


def read(folder: pathlib.Path) -> Finished:
    """What `eval.white_box` left in a folder.

    Raises:
        ValueError: it holds no results, those of a run that has not come to its end, or damaged ones.
    """
    if not (folder / RECORDS).exists():
        raise ValueError(f"{folder} holds no results of eval.white_box: {RECORDS} is missing")
    if not (folder / SUMMARY).exists():
        raise ValueError(
            f"{folder} holds an unfinished run: {SUMMARY} is missing; give the command that began it once more, it "
            "goes on where it stopped"
        )
    kinds = typing.get_type_hints(Finished)
    try:
        summary, made_with = schema.read(folder / SUMMARY), settings_of(folder)
        counts = schema.taken(summary, {"num_images": int, "num_correct": int})
        epsilons = schema.taken({"epsilons": [], **made_with}, {"epsilons": list[float]})["epsilons"]
        if not 0 < counts["num_correct"] <= counts["num_images"]:
            raise ValueError(f"{SUMMARY} tells of {counts['num_correct']} of {counts['num_images']} images")
        records = read_all(folder, metrics.Record, KEY)
        finished = Finished(
            folder,
            **schema.taken(summary, {key: kinds[key] for key in ("model", "dataset", "settings", "levels")}),
            **schema.taken(made_with, {key: kinds[key] for key in ("images", "data", "attacks")}),
            run=metrics.Run(tuple(records), **counts, epsilons=tuple(epsilons)),
        )
        _check_records(finished)
        folders = {record.label: pathlib.PurePath(finished.images[record.index]).parent.name for record in records}
        return finished._replace(class_names={label: name for label, name in folders.items() if name})
    except ValueError as error:
        raise ValueError(f"{folder} does not hold results as eval.white_box writes them: {error}") from error


def holds(folder: pathlib.Path, settings: dict[str, Any]) -> bool:
    """Whether a folder holds a run with these settings, no more and no less, that came to its end.

    Raises:
        ValueError: damaged settings.
    """
    ended = (folder / SUMMARY).exists() or (folder / TRANSFER).exists()
    return ended and different(settings_of(folder), as_read(settings)) is None


def read_all(folder: pathlib.Path, kind: type[R], key: Sequence[str]) -> list[R]:
    """The records in a folder, of this kind, told apart by these attributes.

    Raises:
        ValueError: a line that is no such record.
    """
    path = folder / RECORDS
    return list(parsed(path, path.read_bytes(), kind, operator.attrgetter(*key)).values())


def _check_records(finished: Finished) -> None:
    """Raises ValueError unless there are records, all of attacks and images that the settings name."""
    if not finished.run.records:
        raise ValueError(f"{RECORDS} is empty")
    for record in finished.run.records:
        if record.attack not in finished.attacks or not 0 <= record.index < len(finished.images):
            raise ValueError(
                f"{RECORDS} tells of {record.attack!r} on image {record.index}, {SETTINGS} of "
                f"{', '.join(finished.attacks)} on {len(finished.images)} images"
            )


def named(runs: list[Finished]) -> dict[str, Finished]:
    """Runs by their models' names, with the folder where that is not enough."""
    count = collections.Counter(finished.model for finished in runs)
    return {
        finished.model if count[finished.model] == 1 else f"{finished.model} ({finished.folder})": finished
        for finished in runs
    }
