"""The pictures of a report: which images of the runs, and what a person can see of each.

Pictures go into the page as lossless WebP: the very pixels of the PNG files, in three quarters of the bytes.
"""

from __future__ import annotations

import base64
import collections
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from eval.plots import LABELS
from eval.results import Finished, finite
from tf_smoothadv import protocol

BUDGET = 18_000_000  # characters of pictures: with the rest of the page less than 20 MB

Subject = tuple[str, str, str]
View = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Entry(NamedTuple):
    """One attack on one image, of both of which there are files.

    Attributes:
        network: the name to show of the run.
        finished: the run.
        record: the attack.
    """

    network: str
    finished: Finished
    record: protocol.Record

    @property
    def subject(self) -> Subject:
        """What tells the image from all others; attacked in several runs it is the same one."""
        return self.finished.dataset, self.finished.data, self.finished.images[self.record.image]


def perturbation(original: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """What was added, each channel scaled to its own largest value; grey is nothing."""
    r = adversarial.astype(np.float64) - original
    peak = np.maximum(np.abs(r).max(axis=(0, 1)), 1)
    return np.round(128 + 127 * r / peak).astype(np.uint8)


VIEWS: dict[str, View] = {  # from original and adversarial, uint8 [H, W, C], to what is seen in place of each other
    "image": lambda original, adversarial: (original, adversarial),
    "perturbation": lambda original, adversarial: (original, perturbation(original, adversarial)),
}


def gallery(runs: Mapping[str, Finished], num_images: int | None = None) -> dict[str, Any]:
    """The gallery in plain values, for JSON.

    Args:
        runs: by the name to show.
        num_images: at most so many images, each with all its attacks; by default as many as BUDGET holds.

    Returns:
        {"pictures": data URLs, "cards": one an image and attack, with the positions of its pictures by view,
        "num_images": how many images there are, "num_shown": how many of them the gallery has}.
    """
    by_subject = collections.defaultdict(list)
    for entry in entries(runs):
        by_subject[entry.subject].append(entry)
    pictures: dict[str, int] = {}
    cards: list[dict[str, Any]] = []
    size = num_shown = 0
    for subject in ranked(by_subject)[:num_images]:
        drawn = [card(entry) for entry in by_subject[subject]]
        size += sum(map(len, {url for one in drawn for pair in one["views"].values() for url in pair}))
        if num_images is None and num_shown and size > BUDGET:
            break
        for one in drawn:
            positions = {
                view: [pictures.setdefault(url, len(pictures)) for url in pair] for view, pair in one["views"].items()
            }
            cards.append({**one, "views": positions})
        num_shown += 1
    return {"pictures": list(pictures), "cards": cards, "num_images": len(by_subject), "num_shown": num_shown}


def entries(runs: Mapping[str, Finished]) -> list[Entry]:
    """What there are pictures of."""
    return [
        Entry(network, finished, record)
        for network, finished in runs.items()
        for record in finished.run.records
        if finished.picture(record.image).exists() and finished.picture(record.image, record.attack).exists()
    ]


def ranked(by_subject: Mapping[Subject, Sequence[Entry]]) -> list[Subject]:
    """The images in the order in which they deserve to be seen.

    First the worst case of each attack; then, whatever their number, images spread evenly from those that little
    distortion suffices for to those that withstand.
    """
    by_attack = collections.defaultdict(list)
    for group in by_subject.values():
        for entry in group:
            by_attack[entry.network, entry.record.attack].append(entry)
    worst: list[Subject] = []
    ranks = collections.defaultdict(list)
    for group in by_attack.values():
        group.sort(key=lambda entry: (not entry.record.success_8bit, entry.record.distortion_8bit))
        worst += [entry.subject for entry in group if entry.record.success_8bit][-1:]
        for rank, entry in enumerate(group):
            ranks[entry.subject].append(rank / len(group))
    by_resistance = sorted(ranks, key=lambda subject: float(np.mean(ranks[subject])))
    bits = len(by_resistance).bit_length()
    spread = sorted(range(len(by_resistance)), key=lambda position: f"{position:0{bits}b}"[::-1])
    return list(dict.fromkeys([*worst, *(by_resistance[position] for position in spread)]))


def card(entry: Entry) -> dict[str, Any]:
    """One attack on one image as delivered, in plain values; its views as pairs of data URLs."""
    finished, record = entry.finished, entry.record
    original, adversarial = (pixels(finished.picture(record.image, *attack)) for attack in ((), (record.attack,)))
    change = adversarial.astype(int) - original
    outcome = "success" if record.success_8bit else "undone by rounding" if record.success else "failure"
    return finite(
        {
            "network": entry.network,
            "attack": record.attack,
            "title": LABELS.get(record.attack, record.attack),
            "image": finished.images[record.image],
            "position": record.image,
            "outcome": outcome,
            "label": record.label,
            "prediction": record.prediction_8bit,
            "distortion": record.distortion_8bit,
            "energy": record.smoothness_energy_8bit,
            "change": int(np.abs(change).max()),
            "width": original.shape[1],
            "height": original.shape[0],
            "views": {
                name: [url(picture.tobytes(), picture.shape) for picture in view(original, adversarial)]
                for name, view in VIEWS.items()
            },
        }
    )


def pixels(path: Any) -> np.ndarray:
    """A PNG file as uint8 [H, W, 3]; grey is repeated."""
    with PIL.Image.open(path) as image:
        return np.array(image.convert("RGB"))


@functools.lru_cache(maxsize=16)  # an original comes with every attack on it
def url(content: bytes, shape: tuple[int, ...]) -> str:
    """Pixels, uint8 [H, W, 3], as the data URL of a lossless WebP."""
    height, width, _ = shape
    file = io.BytesIO()
    PIL.Image.frombytes("RGB", (width, height), content).save(file, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
