"""The pictures of a report: which images of the runs, and what a person can see of each.

Pictures go into the page as lossless WebP: the very pixels of the PNG files, in three quarters of the bytes. Magnified
ones, which are nearly noise, lose what the eye does not see. Images that do not fit have a small preview, and the page
opens the PNG files themselves.
"""

from __future__ import annotations

import base64
import collections
import functools
import io
import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from tf_smoothadv import metrics
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.data import classes, decoding
from tf_smoothadv.evaluation.records import ORIGINAL, Finished, finite
from tf_smoothadv.evaluation.rendering import pictures
from tf_smoothadv.visibility import LOSSLESS

__all__ = ["BUDGET", "VIEWS", "Entry", "card", "entries", "gallery", "magnified", "perturbations", "ranked"]

BUDGET = 18_000_000  # characters of pictures and captions: with the rest of the page less than 20 MB
MAGNIFIED_QUALITY = 85
PREVIEW_SIDE = 128
PREVIEW_QUALITY = 60

Subject = tuple[str, str, str]
Pair = tuple[str, str]


class Entry(NamedTuple):
    """One attack on one image, of both of which there are files.

    Attributes:
        network: the name to show of the run.
        finished: the run.
        record: the attack.
    """

    network: str
    finished: Finished
    record: metrics.Record

    @property
    def subject(self) -> Subject:
        """What tells the image from all others; attacked in several runs it is the same one."""
        return self.finished.dataset, self.finished.data, self.finished.images[self.record.index]


def _as_they_are(original: np.ndarray, adversarials: Sequence[np.ndarray]) -> list[Pair]:
    """The files themselves."""
    return [(url(original), url(adversarial)) for adversarial in adversarials]


def perturbations(original: np.ndarray, adversarials: Sequence[np.ndarray]) -> list[Pair]:
    """The original against what was added."""
    return [(url(original), url(pictures.perturbation(original, adversarial))) for adversarial in adversarials]


def magnified(original: np.ndarray, adversarials: Sequence[np.ndarray]) -> list[Pair]:
    """Both magnified, all to one range."""
    shown = pictures.magnified([original, *adversarials])
    first, *others = (url(picture, quality=MAGNIFIED_QUALITY) for picture in shown)
    return [(first, other) for other in others]


VIEWS: dict[str, Callable[[np.ndarray, Sequence[np.ndarray]], list[Pair]]] = {
    # from an original and its adversarial images, uint8 [H, W, C], to the two that are seen in place of each other
    "image": _as_they_are,
    "perturbation": perturbations,
    "magnified": magnified,
}


def gallery(
    runs: Mapping[str, Finished], num_images: int | None = None, place: pathlib.Path | None = None
) -> dict[str, Any]:
    """The gallery in plain values, for JSON.

    Args:
        runs: by the name to show.
        num_images: at most so many images whole, each with all its attacks; by default as many as BUDGET holds. The
            others have a preview, which together take at most half of BUDGET.
        place: the folder of the page, which opens the files of previews from there; by default that of the first run.

    Returns:
        {"pictures": data URLs, "cards": one an image and attack, with the places of its pictures by view, or that of
        its preview and the URLs of its files, and as "image" what tells its image from all others,
        "num_images": how many images there are, "num_whole", "num_previews": how many of them the gallery has}.
    """
    by_subject = collections.defaultdict(list)
    for entry in entries(runs):
        by_subject[entry.subject].append(entry)
    names = collections.Counter(name for _, _, name in by_subject)
    order = ranked(by_subject)
    drawn: dict[Subject, list[dict[str, Any]]] = {}
    room = BUDGET
    for subject in order:
        preview = _previewed(by_subject[subject], place or next(iter(runs.values())).folder)
        if drawn and room - _size(preview) < BUDGET / 2:
            break
        drawn[subject] = preview
        room -= _size(preview)
    num_whole = 0
    for subject in order[:num_images]:
        whole = _drawn_of(by_subject[subject])
        room -= _size(whole) - _size(drawn.get(subject, []))
        if num_images is None and num_whole and room < 0:
            break
        drawn[subject] = whole
        num_whole += 1
    places: dict[str, int] = {}
    cards: list[dict[str, Any]] = []
    for (dataset, data, name), group in drawn.items():
        image = name if names[name] == 1 else f"{name} ({dataset}, {data})"
        for one in group:
            views = {view: [places.setdefault(url, len(places)) for url in pair] for view, pair in one["views"].items()}
            place_of_preview = places.setdefault(one["preview"], len(places)) if one["preview"] else None
            cards.append({**one, "image": image, "views": views, "preview": place_of_preview})
    return {
        "pictures": list(places),
        "cards": cards,
        "num_images": len(by_subject),
        "num_whole": num_whole,
        "num_previews": len(drawn) - num_whole,
    }


def _size(drawn: Sequence[dict[str, Any]]) -> int:
    """The characters that the cards of one image take in the page, their pictures once each."""
    urls = {url for one in drawn for url in (one["preview"] or "", *sum(one["views"].values(), ()))}
    return sum(map(len, urls)) + len(json.dumps([{**one, "views": {}, "preview": None} for one in drawn]))


def entries(runs: Mapping[str, Finished]) -> list[Entry]:
    """The records that have picture files, in all runs."""
    return [Entry(network, finished, record) for network, finished in runs.items() for record in finished.pictured]


def ranked(by_subject: Mapping[Subject, Sequence[Entry]]) -> list[Subject]:
    """The images in the order in which the report shows them.

    First the worst case of each attack. Then all others, so that any number of them is spread evenly from the weakest,
    which need little distortion, to those without any success.
    """
    by_attack = collections.defaultdict(list)
    for group in by_subject.values():
        for entry in group:
            by_attack[entry.network, entry.record.attack].append(entry)
    worst: list[Subject] = []
    ranks = collections.defaultdict(list)
    for group in by_attack.values():
        group.sort(key=lambda entry: (not entry.record.delivered.success, entry.record.delivered.distortion))
        worst += [entry.subject for entry in group if entry.record.delivered.success][-1:]
        for rank, entry in enumerate(group):
            ranks[entry.subject].append(rank / len(group))
    by_resistance = sorted(ranks, key=lambda subject: float(np.mean(ranks[subject])))
    bits = len(by_resistance).bit_length()
    spread = sorted(range(len(by_resistance)), key=lambda place: f"{place:0{bits}b}"[::-1])
    return list(dict.fromkeys([*worst, *(by_resistance[place] for place in spread)]))


def _drawn_of(group: Sequence[Entry]) -> list[dict[str, Any]]:
    """The cards of one image: all that was done to it, as delivered, in plain values; its views as pairs of URLs."""
    original, adversarials = _pixels(group)
    views = {name: view(original, adversarials) for name, view in VIEWS.items()}
    return [
        card(entry, original, adversarial, {name: pairs[place] for name, pairs in views.items()})
        for place, (entry, adversarial) in enumerate(zip(group, adversarials))
    ]


def _previewed(group: Sequence[Entry], place: pathlib.Path) -> list[dict[str, Any]]:
    """The cards of one image, with a preview of the original and the URLs of its files, seen from a folder."""
    original, adversarials = _pixels(group)
    small = _image(original)
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), PIL.Image.Resampling.LANCZOS)
    preview = url(np.array(small), quality=PREVIEW_QUALITY if max(original.shape) > PREVIEW_SIDE else None)
    cards = []
    for entry, adversarial in zip(group, adversarials):
        files = (entry.finished.picture(entry.record.index, attack) for attack in (ORIGINAL, entry.record.attack))
        urls = [urllib.parse.quote(pathlib.Path(os.path.relpath(file, place)).as_posix()) for file in files]
        # What a browser may be given as these files must add up to the same.
        squares = int(np.square(adversarial.astype(int) - original).sum())
        cards.append({**card(entry, original, adversarial, {}), "preview": preview, "files": urls, "squares": squares})
    return cards


def _pixels(group: Sequence[Entry]) -> tuple[np.ndarray, list[np.ndarray]]:
    """An image's original and what each attack made of it, uint8 [H, W, C], from their files."""
    original = decoding.read(group[0].finished.picture(group[0].record.index))
    adversarials = [
        decoding.read(entry.finished.picture(entry.record.index, entry.record.attack), shape=original.shape)
        for entry in group
    ]
    return original, adversarials


def card(entry: Entry, original: np.ndarray, adversarial: np.ndarray, views: dict[str, Pair]) -> dict[str, Any]:
    """One attack on one image."""
    finished, record = entry.finished, entry.record
    seen = record.delivered.visibility
    outcome = "success" if record.delivered.success else "undone by rounding" if record.computed.success else "failure"
    content: dict[str, Any] = finite(
        {
            "network": entry.network,
            "attack": record.attack,
            "title": presets.label(record.attack),
            "name": finished.images[record.index],
            "index": record.index,
            "outcome": outcome,
            "label": classes.named(record.label, finished.class_names),
            "prediction": classes.named(record.delivered.prediction, finished.class_names),
            "distortion": record.delivered.distortion,
            "energy": record.delivered.smoothness_energy,
            "margin": record.delivered.margin,
            "visibility": seen.get(LOSSLESS[0], math.nan),
            "change": int(np.abs(adversarial.astype(int) - original).max()),
            "width": original.shape[1],
            "height": original.shape[0],
            "channels": original.shape[2],
            "views": views,
            "preview": None,
            "files": None,
        }
    )
    return content


def url(picture: np.ndarray, quality: int | None = None) -> str:
    """Pixels, uint8 [H, W, C], as the data URL of a WebP, lossless unless a quality up to 100 is given."""
    return _url(picture.tobytes(), picture.shape, quality)


@functools.lru_cache(maxsize=16)  # an original comes with every attack on it
def _url(content: bytes, shape: tuple[int, ...], quality: int | None) -> str:
    pixels = np.frombuffer(content, np.uint8).reshape(shape)
    file = io.BytesIO()
    _image(pixels).save(file, "WEBP", lossless=quality is None, quality=80 if quality is None else quality)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _image(pixels: np.ndarray) -> PIL.Image.Image:
    return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
