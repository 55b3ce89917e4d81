"""Transferability (section 5.4): what adversarial images made for one network, as delivered, do to others."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.smoothing import Smoothing

__all__ = ["Record", "batches", "records", "scores", "shown"]

TIE = 1e-3  # of the spread of an image's logits: what another size of batch may round otherwise


@dataclasses.dataclass(frozen=True)
class Record(metrics.Record):
    """One attack on one image that its source classifies correctly, and what every network says of it.

    Attributes:
        source: the network attacked, which the attributes of `metrics.Record` are about.
        clean: the class that each network predicts for the original image.
        predictions: the class that each network predicts for the adversarial image as delivered.

    >>> computed, delivered = metrics.Score(True, 1.5, 0.2, 1), metrics.Score(True, 1.6, 0.3, 1)
    >>> record = Record(0, "fgsm", 7, computed, delivered, 1, 0.01, (), "a", {"b": 7}, {"b": 2})
    >>> record.source, record.predictions["b"] != record.label
    ('a', True)
    """

    source: str
    clean: dict[str, int]
    predictions: dict[str, int]


def batches(
    networks: Mapping[str, core.Model],
    source: str,
    images: protocol.CorrectImages,
    attacks: protocol.Attacks,
    clean: Mapping[str, Sequence[int]],
    *,
    reference: Smoothing | None = None,
    done: Collection[tuple[str, int]] = (),
) -> Iterator[protocol.Batch]:
    """Attacks a source with what `protocol.attack_batches` does, and shows every network the delivered images.

    Args:
        networks: by name; models from images [B, H, W, C] in [0, 1] to logits [B, K] of the same classes.
        source: the name of the one to attack.
        images: those of the dataset that the source classifies correctly.
        attacks, reference, done: see `protocol.attack_batches`.
        clean: the class that each network predicts for each image of the dataset (`protocol.predict`), in its order.

    Yields:
        A batch for each batch of images and each attack, whose records are of this module's `Record`.

    Raises:
        ValueError: no attack, an empty dataset, or `clean` that is not what a network says of the images in their
            order, as where the dataset shuffles them anew.

    Source: section 5.4 of the paper.

    >>> import tensorflow as tf
    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = protocol.CorrectImages(model, [(tf.fill([1, 4, 4, 1], 0.5), [0])])
    >>> (batch,) = batches({"a": model}, "a", images, {"fgsm": FGSM(epsilon=0.07)}, {"a": [0]})
    >>> batch.attack, batch.records[0].predictions
    ('fgsm', {'a': 1})
    """
    checked: set[int] = set()
    for batch in protocol.attack_batches(networks[source], images, attacks, reference=reference, done=done):
        indices = [record.index for record in batch.records]
        if not checked.issuperset(indices):
            for name, classes in clean.items():
                _check_clean(name, networks[name], batch.images, indices, classes)
            checked.update(indices)
        said = [{name: int(classes[index]) for name, classes in clean.items()} for index in indices]
        yield shown(networks, source, batch, said)


def shown(
    networks: Mapping[str, core.Model], source: str, batch: protocol.Batch, clean: Sequence[dict[str, int]]
) -> protocol.Batch:
    """An attack on a batch, shown to every network as delivered.

    Args:
        networks: see `batches`.
        source: the name of the one that was attacked.
        batch: what `protocol.attack_batches` yields.
        clean: the class that each network predicts for each of its originals.

    Returns:
        The batch with this module's records.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = protocol.CorrectImages(model, [(tf.fill([1, 4, 4, 1], 0.5), [0])])
    >>> (batch,) = protocol.attack_batches(model, images, {"fgsm": FGSM(epsilon=0.07)})
    >>> shown({"a": model}, "a", batch, [{"a": 0}]).records[0].predictions
    {'a': 1}
    """
    predictions = {name: protocol.predict(network, batch.delivered) for name, network in networks.items()}
    records = [
        Record(
            **vars(record),
            source=source,
            clean=said,
            predictions={name: int(classes[place]) for name, classes in predictions.items()},
        )
        for place, (record, said) in enumerate(zip(batch.records, clean))
    ]
    return batch._replace(records=records)


def records(
    networks: Mapping[str, core.Model],
    source: str,
    dataset: Iterable[Any],
    attacks: protocol.Attacks,
    clean: Mapping[str, Sequence[int]],
    *,
    reference: Smoothing | None = None,
    done: Collection[tuple[str, int]] = (),
) -> Iterator[list[Record]]:
    """Attacks a source with what `protocol.attack_batches` does, and shows every network the delivered images.

    Args:
        networks: by name; models from images [B, H, W, C] in [0, 1] to logits [B, K] of the same classes.
        source: the name of the one to attack.
        dataset, attacks, reference, done: see `protocol.attack_batches`.
        clean: the class that each network predicts for each image of the dataset (`protocol.predict`), in its order.

    Yields:
        The records of one attack on one batch, one an image.

    Raises:
        ValueError: no attack, an empty dataset, or `clean` that is not what a network says of the images in their
            order, as where the dataset shuffles them anew.

    Source: section 5.4 of the paper.

    Of 16 pixels, class 0 where they sum to more than 7, or than 6; images just beyond the one are not beyond the other:

    >>> import tensorflow as tf
    >>> from tf_smoothadv.attacks import FGSM
    >>> def threshold(least):
    ...     return lambda x: tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [least, -least]
    >>> networks, images = {"a": threshold(7.0), "b": threshold(6.0)}, tf.fill([1, 4, 4, 1], 0.5)
    >>> clean = {name: protocol.predict(network, images) for name, network in networks.items()}
    >>> ((record,),) = records(networks, "a", [(images, [0])], {"fgsm": FGSM(epsilon=0.07)}, clean)
    >>> record.computed.success, record.predictions
    (True, {'a': 1, 'b': 0})
    """
    images = protocol.CorrectImages(networks[source], dataset)
    for batch in batches(networks, source, images, attacks, clean, reference=reference, done=done):
        yield [record for record in batch.records if isinstance(record, Record)]


def _check_clean(
    name: str, network: core.Model, images: np.ndarray, indices: Sequence[int], classes: Sequence[int]
) -> None:
    """Raises ValueError unless these are the classes that a network gives the images, but for ties."""
    if len(classes) <= max(indices):
        raise ValueError(f"clean must have a class of each image of the dataset; for {name} it has {len(classes)}")
    logits = protocol.mean_logits(network, tf.constant(images)).numpy()
    said = np.array([classes[index] for index in indices])
    behind = logits.max(axis=1) - logits[np.arange(len(said)), said]
    other = np.flatnonzero(behind > TIE * (logits.max(axis=1) - logits.min(axis=1)))
    if len(other):
        raise ValueError(
            f"clean must be what the networks say of the images in the order of the dataset; {name} gives image "
            f"{indices[other[0]]} another class than {said[other[0]]}: the dataset must give its images in the same "
            "order each time, without shuffling"
        )


def scores(records: Sequence[Record], target: str) -> dict[str, float]:
    """How an attack of a source fares on a target.

    Args:
        records: those of one attack and source.
        target: a network that they tell of.

    Returns:
        num_images, p_suc, mean_distortion: N, P_suc and D of (20) over the images that the source classifies correctly:
            how many they are, the share that the target gets wrong as delivered, and the mean distortion of these; as
            in table 3, where the target may have been wrong about the original already.
        num_images_correct, p_suc_correct: N and P_suc over those of them that the target gets right as they were.

        A mean over nothing is NaN.

    Source: section 5.4 of the paper, table 3.

    >>> computed, delivered = metrics.Score(True, 1.5, 0.2, 1), metrics.Score(True, 1.6, 0.3, 1)
    >>> record = Record(0, "fgsm", 7, computed, delivered, 1, 0.01, (), "a", {"b": 7}, {"b": 2})
    >>> scores([record], "b")["p_suc"], scores([record], "b")["mean_distortion"]
    (1.0, 1.6)
    """
    labels = np.array([record.label for record in records])
    distortion = np.array([record.delivered.distortion for record in records])
    wrong = np.array([record.predictions[target] for record in records]) != labels
    right_before = np.array([record.clean[target] for record in records]) == labels
    return {
        "num_images": len(labels),
        "p_suc": _mean(wrong),
        "mean_distortion": _mean(distortion[wrong]),
        "num_images_correct": int(np.sum(right_before)),
        "p_suc_correct": _mean(wrong[right_before]),
    }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
