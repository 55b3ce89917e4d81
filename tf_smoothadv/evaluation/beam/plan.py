"""What there is to do: batches of images to classify, and of those that count, batches to attack."""

from __future__ import annotations

import base64
import bisect
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from tf_smoothadv import protocol
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.data.tfrecords import Records

__all__ = [
    "Batch",
    "Picture",
    "Seen",
    "Todo",
    "batches",
    "chunks",
    "pictures",
    "seen_in",
    "text_of",
]

CLASSIFIED = ".classified"  # no attack is called so


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image of a dataset, not read yet.

    Attributes:
        index: in the dataset.
        name: its name there.
        label, target: its class and the one to reach; None for any but the label.
        place: the path of its file, or of a TFRecord file and its number there, or its pixels, uint8 [H, W, C].
        clean: what each network says of it as it is, by name, where records tell.
    """

    index: int
    name: str
    label: int
    target: int | None
    place: str | tuple[str, int] | np.ndarray
    clean: dict[str, int] = dataclasses.field(default_factory=dict)


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

    def right(self, network: str) -> bool:
        """Whether the network of this name classifies it correctly, where that was asked of several."""
        return self.picture.clean[network] == self.picture.label


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
        return f"{self.attack or CLASSIFIED}/{name}.jsonl"


class Todo(NamedTuple):
    """What a pipeline begins with.

    Attributes:
        chunks: the batches to classify.
        done: (attack, index) of the records that exist already.
    """

    chunks: list[Batch]
    done: frozenset[tuple[str, int]]

    def has(self, batch: Batch) -> bool:
        """Whether there are all the records of a batch."""
        return all((batch.attack, picture.index) in self.done for picture in batch.pictures)

    def text(self) -> str:
        """What `parsed` reads."""
        chunks = [[_plain(picture) for picture in chunk.pictures] for chunk in self.chunks]
        return json.dumps({"chunks": chunks, "done": sorted(self.done)})

    @classmethod
    def parsed(cls, text: bytes) -> Todo:
        """From text."""
        values = json.loads(text)
        chunks = [Batch("", number, [_picture(**one) for one in many]) for number, many in enumerate(values["chunks"])]
        return cls(chunks, frozenset((attack, index) for attack, index in values["done"]))


def text_of(seen: Iterable[Seen]) -> str:
    """What `seen_in` reads: an image a line."""
    return "".join(
        json.dumps(
            {
                "index": one.picture.index,
                "image": one.picture.name,
                "label": one.picture.label,
                "target": one.picture.target,
                "shape": one.shape,
                "correct": one.correct,
                "reason": one.reason,
                "clean": one.picture.clean,
            }
        )
        + "\n"
        for one in seen
    )


def seen_in(text: bytes, chunk: Batch) -> list[Seen]:
    """The images of a batch that was classified, from text."""
    known = {picture.index: picture for picture in chunk.pictures}
    rows = map(json.loads, text.splitlines())
    return [
        Seen(
            dataclasses.replace(known[row["index"]], **{name: row[name] for name in ("label", "target", "clean")}),
            tuple(row["shape"]),
            row["correct"],
            row["reason"],
        )
        for row in rows
    ]


def _plain(picture: Picture) -> dict[str, Any]:
    """A picture as JSON can hold it."""
    place = picture.place
    if isinstance(place, np.ndarray):
        pixels = {"shape": place.shape, "bytes": base64.b64encode(place.tobytes()).decode()}
        return {**vars(picture), "place": pixels}
    return dict(vars(picture))


def _picture(place: Any, **others: Any) -> Picture:
    if isinstance(place, dict):
        place = np.frombuffer(base64.b64decode(place["bytes"]), np.uint8).reshape(place["shape"])
    return Picture(place=tuple(place) if isinstance(place, list) else place, **others)


def pictures(dataset: data.Dataset) -> Iterator[Picture]:
    """The images of a dataset; none is read."""
    targets = dataset.targets or itertools.repeat(None)
    rows = zip(dataset.names, dataset.labels, targets, _places(dataset))
    for index, (name, label, target, place) in enumerate(rows):
        yield Picture(index, name, label, target, place)


def chunks(dataset: data.Dataset) -> list[Batch]:
    """The images of a dataset in the batches in which they are classified."""
    rows = data.alike(pictures(dataset), lambda one: bisect.bisect(dataset.begins, one.index), dataset.batch_size)
    return [Batch("", number, batch) for number, batch in enumerate(rows)]


def batches(seen: Iterable[Seen], size: int, attacks: Sequence[str], begins: Sequence[int] = ()) -> list[Batch]:
    """The batches to attack: those that `protocol.CorrectImages` makes of the images that could be read.

    Those of the same images follow one another, so that processes that begin together begin with other attacks.

    Args:
        seen: all the images, in any order.
        size: images in a batch.
        attacks: their names.
        begins: see `data.Dataset`.
    """
    readable = sorted((one for one in seen if one.reason is None), key=lambda one: one.picture.index)

    def kind(one: Seen) -> tuple[int, ...]:
        return bisect.bisect(begins, one.picture.index), *one.shape

    def classified() -> Iterator[tuple[tuple[int, ...], int, list[np.ndarray]]]:
        start = 0
        for batch in data.alike(readable, kind, size):
            correct = [start + place for place, one in enumerate(batch) if one.correct]
            yield kind(batch[0]), len(batch), [np.array(correct, np.int64)]
            start += len(batch)

    groups = [[readable[place].picture for place in places] for (places,) in protocol.regrouped(classified())]
    return [Batch(attack, number, group) for number, group in enumerate(groups) for attack in attacks]


def _places(dataset: data.Dataset) -> Iterator[Any]:
    """Where each image lies."""
    images = cast(data.Images, dataset.images)
    if isinstance(images.source, Records):
        return map(images.source.place, dataset.names)
    chosen = itertools.islice(images.source, images.chosen.start, images.chosen.stop, images.chosen.step)
    return (
        np.round(place.numpy() * 255).astype(np.uint8) if hasattr(place, "numpy") else str(place) for place in chosen
    )
