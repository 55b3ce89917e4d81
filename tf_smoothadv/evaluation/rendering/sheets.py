"""The sheets of examples (figures 1, 4 and 5): which images of a run, and what stands beside what."""

from __future__ import annotations

from collections.abc import Sequence

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.records import Finished
from tf_smoothadv.evaluation.rendering import pictures
from tf_smoothadv.evaluation.rendering.pictures import Panel

__all__ = ["magnified", "spread", "worst"]


def _by_image(finished: Finished) -> dict[int, dict[str, metrics.Record]]:
    """The pictured records of each image that has those of all attacks, by attack."""
    found: dict[int, dict[str, metrics.Record]] = {}
    for record in finished.pictured:
        found.setdefault(record.index, {})[record.attack] = record
    return {image: attacks for image, attacks in found.items() if len(attacks) == len(finished.run.attacks)}


def worst(finished: Finished) -> list[list[Panel]]:
    """Two rows for each worst case: all attacks' images as delivered, and below their perturbations.

    The worst case of an attack, whose name has a star there, is its success, as delivered, of the largest distortion.
    """
    images = _by_image(finished)
    starred: dict[int, list[str]] = {}
    for attack in finished.run.attacks:
        successful = [image for image, records in images.items() if records[attack].delivered.success]
        if successful:
            largest = max(successful, key=lambda image: images[image][attack].delivered.distortion)
            starred.setdefault(largest, []).append(attack)
    rows = []
    for image, attacks in starred.items():
        original = decoding.read(finished.picture(image))
        above, below = [Panel(original, finished.images[image])], [Panel(None)]
        for name, record in images[image].items():
            adversarial = decoding.read(finished.picture(image, name), shape=original.shape)
            bold = name in attacks
            above.append(Panel(adversarial, presets.label(name) + "*" * bold, record.delivered.success, bold))
            title = f"D = {record.delivered.distortion:.2f}, E = {record.delivered.smoothness_energy:.2f}"
            below.append(Panel(pictures.perturbation(original, adversarial), title, record.delivered.success, bold))
        rows += [above, below]
    return rows


def magnified(finished: Finished, count: int) -> list[list[Panel]]:
    """A row for an image: itself, itself magnified, each attack's magnified, all of a row to one range.

    Images are spread evenly from the one that the last attack had to distort least to the one it had to distort most.
    """
    images = _by_image(finished)
    last = finished.run.attacks[-1]
    order = sorted(images, key=lambda image: images[image][last].delivered.distortion)
    rows = []
    for image in spread(order, count):
        original = decoding.read(finished.picture(image))
        attacked = {name: decoding.read(finished.picture(image, name), shape=original.shape) for name in images[image]}
        first, *others = pictures.magnified([original, *attacked.values()])
        row = [Panel(original, finished.images[image]), Panel(first, "magnified")]
        for (name, record), picture in zip(images[image].items(), others):
            title = f"{presets.label(name)}, D = {record.delivered.distortion:.2f}"
            row.append(Panel(picture, title, record.delivered.success))
        rows.append(row)
    return rows


def spread(values: Sequence[int], count: int) -> list[int]:
    """At most `count` of the values, at even distances, from the first to the last."""
    count = min(count, len(values))
    return [values[round(place * (len(values) - 1) / max(count - 1, 1))] for place in range(count)]
