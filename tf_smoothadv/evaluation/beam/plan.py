"""What there is to do: batches of images to classify, and of those that count, batches to attack."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from tf_smoothadv import protocol
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.data import formats

__all__ = ["Batch", "Picture", "Seen", "batches", "chunks"]

CLASSIFIED = ".classified"  # no attack is called so


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image of a dataset, not read yet.

    Attributes:
        index: in the dataset.
        name: its name there.
        label, target: its class and the one to reach; None for any but the label.
        place: the path of its file, or of a TFRecord file and its number there, or its pixels, uint8 [H, W, C].
    """

    index: int
    name: str
    label: int
    target: int | None
    place: str | tuple[str, int] | np.ndarray


class Seen(NamedTuple):
    """What a model said of an image as it is.

    Attributes:
        picture: the image, with the classes that an attack goes by.
        shape: [H, W, C].
        correct: whether the model classifies it correctly.
        reason: why it cannot be attacked; None where it can.
    """

    picture: Picture
    shape: tuple[int, ...] = ()
    correct: bool = False
    reason: str | None = None


class Batch(NamedTuple):
    """Images that are attacked together.

    Attributes:
        attack: its name; "" for the batch that is classified to see which images count.
        number: of the batch, from 0.
        pictures: the images.
    """

    attack: str
    number: int
    pictures: list[Picture]

    @property
    def path(self) -> str:
        """Of the file of its results, in their folder; another one for other images."""
        indices = ",".join(str(picture.index) for picture in self.pictures)
        name = f"{self.number:06d}-{hashlib.sha256(indices.encode()).hexdigest()[:8]}"
        return f"{self.attack}/{name}.jsonl" if self.attack else f"{CLASSIFIED}/{name}.pickle"


def pictures(dataset: data.Dataset) -> Iterator[Picture]:
    """The images of a dataset; none is read."""
    targets = dataset.targets or itertools.repeat(None)
    rows = zip(dataset.names, dataset.labels, targets, _places(dataset))
    for index, (name, label, target, place) in enumerate(rows):
        yield Picture(index, name, label, target, place)


def chunks(dataset: data.Dataset) -> list[Batch]:
    """The images of a dataset in the batches in which they are classified."""
    rows = data.alike(pictures(dataset), lambda _: None, dataset.batch_size)
    return [Batch("", number, batch) for number, batch in enumerate(rows)]


def batches(seen: Iterable[Seen], size: int, attacks: Sequence[str]) -> list[Batch]:
    """The batches to attack: those that `protocol.CorrectImages` makes of the images that could be read.

    Args:
        seen: all the images, in any order.
        size: images in a batch.
        attacks: their names.
    """
    readable = sorted((one for one in seen if one.reason is None), key=lambda one: one.picture.index)

    def classified() -> Iterator[tuple[tuple[int, ...], int, list[np.ndarray]]]:
        start = 0
        for batch in data.alike(readable, lambda one: one.shape, size):
            correct = [start + place for place, one in enumerate(batch) if one.correct]
            yield batch[0].shape, len(batch), [np.array(correct, np.int64)]
            start += len(batch)

    groups = [[readable[place].picture for place in places] for (places,) in protocol.regrouped(classified())]
    return [Batch(attack, number, group) for attack in attacks for number, group in enumerate(groups)]


def _places(dataset: data.Dataset) -> Iterator[Any]:
    """Where each image lies."""
    images = cast(data.Images, dataset.images)
    if isinstance(images.source, formats.Records):
        return map(images.source.place, dataset.names)
    chosen = itertools.islice(images.source, images.chosen.start, images.chosen.stop, images.chosen.step)
    return (
        np.round(place.numpy() * 255).astype(np.uint8) if hasattr(place, "numpy") else str(place) for place in chosen
    )
