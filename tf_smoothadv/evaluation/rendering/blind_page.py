"""The page of a blind test: one HTML file in which persons say what they see, with everything in it, offline."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image

from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.records import CATCH, VERSION, Experiment, Finished, packed
from tf_smoothadv.evaluation.rendering import offline, pictures

__all__ = ["obvious", "page"]

TRAINING = 2  # trials before those that count
OBVIOUS = 48  # levels of a catch trial's change
SQUARES = 12  # along the shorter side of the image, of its checkerboard
KINDS = ("original", "changed")


def page(
    finished: Finished,
    shown: Mapping[str, Sequence[int]],
    *,
    design: str,
    seconds: float,
    zoom: int,
    magnified: bool,
    catch: float,
) -> tuple[str, Experiment]:
    """The HTML file, and what it shows.

    Args:
        finished: a run whose images there are files of.
        shown: by attack, the images to show, at least one of all.
        design: one of `tf_smoothadv.blind.DESIGNS`.
        seconds: how long the images of a trial are shown; 0 is until the answer.
        zoom: pixels of the screen a side for each of an image.
        magnified: whether images are shown by adversarial magnification, all of one original in one range.
        catch: the share of catch trials, in [0, 1).

    Raises:
        ValueError: an image file that cannot be read, or is of another shape than its original.
    """
    trials: list[dict[str, Any]] = []
    catches: list[dict[str, Any]] = []
    width, count = 0, math.ceil(sum(map(len, shown.values())) * catch / (1 - catch))
    for image in sorted({image for images in shown.values() for image in images}):
        name, attacks = finished.images[image], [attack for attack, images in shown.items() if image in images]
        original, *changed = _pictures(finished, image, attacks, magnified)
        trials += [_trial(attack, name, original, picture) for attack, picture in zip(attacks, changed)]
        if len(catches) < max(count, TRAINING):
            catches.append(_trial(CATCH, name, original, obvious(original), catch=True))
        width = max(width, original.shape[1])
    trials += itertools.islice(itertools.cycle(catches), count)
    training = list(itertools.islice(itertools.cycle(reversed(catches)), TRAINING))

    # Each picture once, and nothing in their order tells which are adversarial.
    urls = {one[kind] for one in [*trials, *training] for kind in KINDS}
    places = {url: place for place, url in enumerate(sorted(urls, key=_digest))}
    trials, training = (
        [{**one, **{kind: places[one[kind]] for kind in KINDS}} for one in group] for group in (trials, training)
    )
    experiment = Experiment("", design, seconds, zoom, magnified, VERSION, width, training, trials)
    identity = _digest(json.dumps([dataclasses.asdict(experiment), list(places)]))
    experiment = dataclasses.replace(experiment, identity=identity)
    text = offline.rendered(
        "blind",
        design=design,
        seconds=seconds,
        magnified=magnified,
        pictures=list(places),
        experiment=packed(experiment),
    )
    return text, experiment


def obvious(picture: np.ndarray) -> np.ndarray:
    """The picture, uint8 [H, W, C], with a checkerboard over its middle that nobody overlooks.

    >>> np.unique(obvious(np.full([24, 24, 1], 200, np.uint8)))
    array([152, 200], dtype=uint8)
    """
    height, width, _ = picture.shape
    rows, columns = np.indices((height, width)) // max(1, min(height, width) // SQUARES)
    inside = np.zeros([height, width], bool)
    inside[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    step = OBVIOUS if picture[inside].mean() < 128 else -OBVIOUS
    changed: np.ndarray = picture + step * (inside & ((rows + columns) % 2 == 0))[..., np.newaxis]
    return changed.clip(0, 255).astype(np.uint8)


def _pictures(finished: Finished, image: int, attacks: Sequence[str], magnified: bool) -> list[np.ndarray]:
    """The original and what each attack made of it, uint8 [H, W, C] each, as they are shown."""
    original = decoding.read(finished.picture(image))
    changed = [decoding.read(finished.picture(image, attack), shape=original.shape) for attack in attacks]
    return pictures.magnified([original, *changed]) if magnified else [original, *changed]


def _trial(attack: str, image: str, original: np.ndarray, changed: np.ndarray, catch: bool = False) -> dict[str, Any]:
    return {"attack": attack, "image": image, "catch": catch, "original": _url(original), "changed": _url(changed)}


def _url(picture: np.ndarray) -> str:
    """Pixels, uint8 [H, W, C], as the data URL of a PNG."""
    file = io.BytesIO()
    PIL.Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
