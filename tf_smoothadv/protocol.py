"""The paper's evaluation protocol (section 5.1): which images count, success probability, distortion, P(D).

Every adversarial image is scored twice: as computed, and as delivered, that is rounded to 8 bits and classified again.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, criteria, tensors
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier, NoGradientError
from tf_smoothadv.metrics import Record, Run, Score, Trace
from tf_smoothadv.smoothing import Smoother, Smoothing
from tf_smoothadv.visibility import MEASURES, visibility

__all__ = [
    "Batch",
    "CorrectImages",
    "Originals",
    "as_run",
    "attack_batches",
    "evaluate",
    "mean_logits",
    "merge",
    "predict",
    "quantize",
    "regrouped",
    "score",
    "with_visibility",
]

Attacks = Mapping[str, core.Attack | Sequence[core.Attack]]


class Originals(NamedTuple):
    """A batch of images that a model classifies correctly, as `CorrectImages` gives them.

    Attributes:
        indices: [B], in the dataset, from 0.
        images: [B, H, W, C], float32 in [0, 1].
        labels: [B], the true classes.
        targets: [B], the classes to reach, or None.

    >>> originals = Originals(np.array([0, 2]), np.zeros([2, 4, 4, 1], np.float32), np.array([7, 1]))
    >>> originals.images.shape, originals.targets
    ((2, 4, 4, 1), None)
    """

    indices: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None = None


class Batch(NamedTuple):
    """One attack on one batch of correctly classified images.

    Attributes:
        attack: its name.
        records: one an image.
        images: [B, H, W, C], the originals.
        adversarial: [B, H, W, C], as computed.
        delivered: [B, H, W, C], rounded to 8 bits.

    See `attack_batches`, which yields them, and `score`, which makes them.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = CorrectImages(model, [(tf.fill([1, 4, 4, 1], 0.5), [0])])
    >>> (batch,) = attack_batches(model, images, {"fgsm": FGSM(epsilon=0.07)})
    >>> batch.attack, batch.records[0].computed.success, int(round(255 * batch.delivered[0, 0, 0, 0]))
    ('fgsm', True, 110)
    """

    attack: str
    records: Sequence[Record]
    images: np.ndarray
    adversarial: np.ndarray
    delivered: np.ndarray


def evaluate(
    model: core.Model,
    dataset: Iterable[Any],
    attacks: Attacks,
    *,
    reference: Smoothing | None = None,
    measures: Sequence[str] = (),
) -> Run:
    """Runs the attacks on the images of a dataset that the model classifies correctly.

    Args:
        model: from images [B, H, W, C] in [0, 1] to logits [B, K].
        dataset: batches (images, labels), or (images, labels, targets) for targeted attacks: a batched
            `tf.data.Dataset`, a list, any iterable.
        attacks: by name; a sequence of attacks under one name is merged image by image as in section 5.1: success if
            any succeeds, the distortion that of the least distorted success.
        reference: the graph on which the smoothness energy of every attack is measured; `Smoothing()` by default.
        measures: of the visibility of delivered images, see `tf_smoothadv.visibility`; by default none.

    Returns:
        A `Run`.

    Raises:
        ValueError: no attack, an empty dataset, one of which no image is classified correctly, batches that are not
            (images, labels) or (images, labels, targets), labels that the model does not have, or what the attacks
            or the measures refuse.

    Source: section 5.1 of the paper.

    The second image is misclassified, and does not count:

    >>> from tf_smoothadv.attacks import FGSM, PGD2
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> dataset = [(tf.fill([2, 4, 4, 1], 0.5), tf.constant([0, 1]))]
    >>> pgd2 = PGD2(epsilon=1.0, step_size=0.1)
    >>> run = evaluate(model, dataset, {"fgsm": FGSM(epsilon=0.07), "pgd2": pgd2})
    >>> run.num_correct, run.p_suc, round(run.mean_distortion["pgd2"], 2)
    (1, {'fgsm': 1.0, 'pgd2': 1.0}, 0.3)
    """
    images = CorrectImages(model, dataset)
    batches = attack_batches(model, images, attacks, reference=reference)
    seen = (with_visibility(batch, measures) for batch in batches)
    return as_run([record for batch in seen for record in batch.records], images)


class CorrectImages:
    """The images of a dataset that a model classifies correctly, regrouped into batches of the dataset's size.

    Iterating gives `Originals`; the counts are those of the images seen so far. Images of another size than those
    before them begin a new batch.

    Args:
        model, dataset: see `evaluate`.
        begins: indices of images that begin a new batch, too, in order; the dataset's batches do not reach over them.

    Attributes:
        num_images: N', all.
        num_correct: N, correctly classified.

    Raises:
        ValueError: when iterated: images outside [0, 1], labels that the model does not have, no image at all, or, the
            second time, other images or another order than the first time.

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = CorrectImages(model, [(tf.fill([3, 4, 4, 1], 0.5), [0, 1, 0])])
    >>> [originals.indices.tolist() for originals in images]
    [[0, 2]]
    >>> images.num_images, images.num_correct
    (3, 2)
    """

    def __init__(self, model: core.Model, dataset: Iterable[Any], begins: Sequence[int] = ()) -> None:
        self._model = Classifier.of(model)
        self._dataset = dataset
        self._begins = begins
        self._digests: list[bytes] = []  # of the batches of the pass that came furthest
        self.num_images = self.num_correct = 0

    def logits_of(self, images: Any) -> tf.Tensor:
        """The model's logits [B, K]: the one judge of clean, adversarial and delivered images."""
        return mean_logits(self._model, tf.convert_to_tensor(images, tf.float32))

    def __iter__(self) -> Iterator[Originals]:
        self.num_images = self.num_correct = 0
        for columns in regrouped(self._classified()):
            yield Originals(*columns)
        if self.num_images == 0:
            raise ValueError("the dataset must hold at least one image; received none")

    def _classified(self) -> Iterator[tuple[tuple[int, ...], int, list[np.ndarray]]]:
        """Of each batch what `regrouped` takes: the fields of `Originals`."""
        for number, batch in enumerate(self._dataset):
            images, labels, targets = _checked_batch(batch)
            self._check_order(number, images, labels)
            if number == 0:
                self._model.check_output(tf.constant(images))
            logits = self.logits_of(images)
            for name, classes in (("labels", labels), ("targets", targets)):
                if classes is not None and np.max(classes) >= logits.shape[1]:
                    raise ValueError(
                        f"{name} must be below the model's {logits.shape[1]} classes; received {np.max(classes)}"
                    )
            indices = np.arange(self.num_images, self.num_images + len(labels))
            correct = tf.argmax(logits, axis=1).numpy() == labels
            run = bisect.bisect(self._begins, self.num_images)
            self.num_images += len(labels)
            self.num_correct += int(correct.sum())
            columns = [column[correct] for column in (indices, images, labels, targets) if column is not None]
            yield (run, *images.shape[1:]), len(labels), columns

    def _check_order(self, number: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Raises ValueError unless a batch is the one that came in its place before, if any did."""
        digest = hashlib.blake2b(np.ascontiguousarray(images).tobytes() + labels.tobytes(), digest_size=16).digest()
        if number == len(self._digests):
            self._digests.append(digest)
        elif self._digests[number] != digest:
            raise ValueError(
                f"the dataset must give the same images in the same order each time; batch {number} is another one the "
                "second time: leave out the shuffling, or take a list of its batches"
            )


def regrouped(batches: Iterable[tuple[tuple[int, ...], int, list[np.ndarray]]]) -> Iterator[list[np.ndarray]]:
    """The images that count, in batches as large as the largest one so far that they come from.

    Args:
        batches: of each its kind, such as the shape of its images, how many they are, and columns [N] of what is known
            of those that count, the same ones each time. Images of another kind than those before begin a new batch.

    Yields:
        The columns of a batch.

    >>> two, three = ((8, 8, 1), 2, [np.array([0])]), ((8, 8, 1), 3, [np.array([3, 4])])
    >>> [columns[0].tolist() for columns in regrouped([two, two, three])]
    [[0, 0], [3, 4]]
    """
    size, kind, waiting = 0, None, None
    for its_kind, count, columns in batches:
        size = max(size, count)
        if waiting is not None and its_kind != kind:
            if len(waiting[0]):
                yield waiting
            waiting = None
        kind = its_kind
        waiting = columns if waiting is None else [np.concatenate(pair) for pair in zip(waiting, columns)]
        while len(waiting[0]) >= size > 0:
            yield [column[:size] for column in waiting]
            waiting = [column[size:] for column in waiting]
    if waiting is not None and len(waiting[0]):
        yield waiting


def _checked_batch(batch: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The images, labels and targets of an element of a dataset."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        received = f"the keys {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
        count = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise ValueError(
            "the dataset must give batches (images, labels) or (images, labels, targets), as "
            f"dataset.map(lambda row: (row['image'], row['label'])).batch(n) makes them; received {received}{count}"
        )
    images = tf.cast(checks.as_images(batch[0]), tf.float32)
    named = zip(("labels", "targets"), batch[1:])
    classes = [checks.as_labels(classes, images.shape[0], name).numpy() for name, classes in named]
    return images.numpy(), classes[0], classes[1] if len(classes) == 2 else None


def mean_logits(model: core.Model, images: tf.Tensor) -> tf.Tensor:
    """The logits [B, K] by which a model classifies images: of a random one, the mean over its draws.

    >>> mean_logits(lambda images: images[:, 0, :2, 0], tf.constant([[[[0.25], [0.5]]]])).numpy()
    array([[0.25, 0.5 ]], dtype=float32)
    """
    model = Classifier.of(model)
    return core.mean_logits(model, model.draws(images))


def attack_batches(
    model: core.Model,
    images: Iterable[Originals],
    attacks: Attacks,
    *,
    reference: Smoothing | None = None,
    done: Collection[tuple[str, int]] = (),
    differentiable: bool = False,
) -> Iterator[Batch]:
    """What `evaluate` does, one batch and attack at a time: for progress bars, records and images as they come.

    Args:
        model, attacks, reference: see `evaluate`.
        images: those of the dataset that the model classifies correctly, see `CorrectImages`.
        done: (attack, index) of the records that exist already; a batch that has them all is left out.
        differentiable: whether the model is known to have gradients; else the first batch must have them.

    Yields:
        A `Batch` for each batch of images and each attack.

    Raises:
        ValueError: no attack, or an empty dataset.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = CorrectImages(model, [(tf.fill([3, 4, 4, 1], 0.5), [0, 1, 0])])
    >>> batches = attack_batches(model, images, {"fgsm": FGSM(epsilon=0.07)})
    >>> [(batch.attack, [record.index for record in batch.records]) for batch in batches]
    [('fgsm', [0, 2])]
    """
    if not isinstance(attacks, Mapping):
        raise ValueError(f"attacks must be attacks by name, {{'fmn': FMN()}}; received {attacks!r}")
    if not attacks:
        raise ValueError("attacks must name at least one attack; received none")
    model = Classifier.of(model)
    for originals in images:
        smoother = (reference or Smoothing()).guided_by(originals.images)
        for name, variants in attacks.items():
            if all((name, int(index)) in done for index in originals.indices):
                continue
            began = time.perf_counter()
            try:
                result = _merged(model, variants, originals.images, originals.labels, originals.targets)
                differentiable = True
            except NoGradientError:
                if not differentiable:
                    raise
                # Images that have none, of a model that has: failures, which do not end the run.
                result = core.start(tf.constant(originals.images), 0)
                result = result._replace(faulty=result.faulty + 1)
            adversarial = result.adversarial.numpy()
            seconds = (time.perf_counter() - began) / len(originals.indices)
            told = {name: getattr(result, name).numpy() for name in ("gradients", "faulty", "masked")}
            yield score(
                model, name, originals, adversarial, smoother, seconds=seconds, trace=result.trace.numpy(), **told
            )


def score(
    model: core.Model,
    attack: str,
    originals: Originals,
    adversarial: Any,
    smoother: Smoother,
    gradients: Any = 0,
    seconds: float = 0.0,
    trace: np.ndarray | None = None,
    faulty: Any = 0,
    masked: Any = False,
) -> Batch:
    """The records of adversarial images, of any attack or library: as computed, and as delivered in 8 bits.

    Args:
        model: from images [B, H, W, C] in [0, 1] to logits [B, K].
        attack: the name of what made them.
        originals: the images that they were made from, which the model classifies correctly.
        adversarial: [B, H, W, C] in [0, 1].
        smoother: guided by the originals; its graph measures the smoothness energy.
        gradients: how many each image took, [B], or a number for all.
        seconds: wall time for each image.
        trace: [B, G + 1], as in an `AttackResult`; None where it is not known.
        faulty, masked: as in an `AttackResult`, [B], or one for all.

    Raises:
        ValueError: images of another shape or dtype than the originals', or values outside [0, 1].

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> (originals,) = CorrectImages(model, [(tf.fill([1, 4, 4, 1], 0.5), [0])])
    >>> smoother = Smoothing().guided_by(originals.images)
    >>> (record,) = score(model, "darker", originals, originals.images - 0.1, smoother).records
    >>> record.computed.success, round(record.computed.distortion, 2), record.gradients
    (True, 0.4, 0)
    """
    adversarial = tf.cast(checks.as_images(adversarial, "adversarial"), tf.float32).numpy()
    checks.same_shape("adversarial", adversarial.shape, originals.images.shape)
    delivered = quantize(adversarial)
    counts = [np.broadcast_to(count, len(adversarial)).tolist() for count in (gradients, faulty, masked)]
    traces = [()] * len(adversarial) if trace is None else map(_improvements, trace)
    columns = (originals.indices.tolist(), originals.labels.tolist(), *counts, traces)
    computed, rounded = (_scores(model, originals, images, smoother) for images in (adversarial, delivered))
    records = [
        Record(
            index=index,
            attack=attack,
            label=label,
            computed=one,
            delivered=other,
            gradients=count,
            seconds=seconds,
            trace=improvements,
            faulty=flaws,
            masked=hidden,
        )
        for index, label, count, flaws, hidden, improvements, one, other in zip(*columns, computed, rounded)
    ]
    return Batch(attack, records, originals.images, adversarial, delivered)


def with_visibility(batch: Batch, measures: Sequence[str]) -> Batch:
    """The batch, its records with what these measures say of the delivered images beside the originals in 8 bits.

    A measure that cannot judge images of their size is left out.

    Raises:
        ValueError: what `tf_smoothadv.visibility` refuses.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 256 pixels: class 0 where they sum to more than 112
    ...     return tf.reshape(x, [-1, 256]) @ ([[1.0, -1.0]] * 256) - [112.0, -112.0]
    >>> images = CorrectImages(model, [(tf.fill([1, 16, 16, 1], 0.5), [0])])
    >>> (batch,) = attack_batches(model, images, {"fgsm": FGSM(epsilon=0.07)})
    >>> (record,) = with_visibility(batch, ["ssim"]).records
    >>> round(record.delivered.visibility["ssim"], 2)
    0.99
    """
    measures = [name for name in measures if name not in MEASURES or MEASURES[name].judges(batch.images.shape[1:])]
    if not measures:
        return batch
    found = visibility(quantize(batch.images), batch.delivered, measures).of_images()
    records = [
        dataclasses.replace(record, delivered=dataclasses.replace(record.delivered, visibility=numbers))
        for record, numbers in zip(batch.records, found)
    ]
    return batch._replace(records=records)


def predict(model: core.Model, images: Any) -> np.ndarray:
    """The classes [B] that a model gives images [B, H, W, C] in [0, 1]: for transfer, `Batch.delivered` on another.

    Raises:
        ValueError: images of another rank or dtype, or values outside [0, 1].

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> predict(model, tf.fill([1, 4, 4, 1], 0.5)), predict(model, tf.fill([1, 4, 4, 1], 0.4))
    (array([0], dtype=int32), array([1], dtype=int32))
    """
    images = tf.cast(checks.as_images(images), tf.float32)
    values: np.ndarray = tf.argmax(mean_logits(model, images), axis=1, output_type=tf.int32).numpy()
    return values


def as_run(records: Iterable[Record], images: CorrectImages) -> Run:
    """The run, after `attack_batches` has attacked all the images.

    Args:
        records: those of all its batches.
        images: what `attack_batches` was given.

    Raises:
        ValueError: no image was classified correctly.

    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = CorrectImages(model, [(tf.fill([3, 4, 4, 1], 0.5), [0, 1, 0])])
    >>> [len(originals.indices) for originals in images]  # here they would be attacked
    [2]
    >>> score = Score(True, 0.3, 0.2, 1)
    >>> record = Record(0, "pgd2", 0, score, score, 20, 0.01, ((4, 0.3),))
    >>> round(as_run([record], images).accuracy, 2)
    0.67
    """
    if images.num_correct == 0:
        raise ValueError(f"the model classifies none of the {images.num_images} images correctly: nothing to attack")
    return Run(tuple(records), images.num_images, images.num_correct)


def quantize(images: Any) -> np.ndarray:
    """Images in [0, 1] as an 8-bit file gives them back: round(255 x) / 255, float32, of the same shape.

    >>> (255 * quantize([0.0, 0.499, 1.0])).round(3).tolist()
    [0.0, 127.0, 255.0]
    """
    values: np.ndarray = tensors.quantized(tf.constant(images, tf.float32), levels=256).numpy()
    return values


def merge(results: Sequence[core.AttackResult]) -> core.AttackResult:
    """Several results on the same images as one attack's: per image the least distorted success (5.1).

    Gradients are summed, and the trace of each result follows that of the one before.

    Raises:
        ValueError: no result.

    >>> from tf_smoothadv.attacks import FGSM
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> images = tf.fill([1, 4, 4, 1], 0.5)
    >>> merged = merge([FGSM(epsilon)(model, images, [0]) for epsilon in (0.05, 0.1, 0.075)])
    >>> merged.distortion.numpy().round(2), merged.gradients.numpy(), merged.trace.numpy().round(2)
    (array([0.3], dtype=float32), array([3], dtype=int32), array([[inf, inf, 0.4, 0.3]], dtype=float32))
    """
    if not results:
        raise ValueError("an attack by name must be at least one attack; received an empty sequence")
    best = core.start(results[0].adversarial, sum(result.trace.shape[1] - 1 for result in results))
    for result in results:
        best = core.merge_results(best, result._replace(norm=result.distortion))
    return best


def _improvements(trace: np.ndarray) -> Trace:
    """The trace of one image in an `AttackResult`, [G + 1], as a `Record` has it.

    >>> _improvements(np.array([np.inf, 2.25, np.inf, 2.5, 1.5]))
    ((1, 2.25), (4, 1.5))
    """
    before = np.minimum.accumulate(np.append(np.inf, trace[:-1]))
    smaller = np.flatnonzero(trace < before)
    return tuple(zip(smaller.tolist(), trace[smaller].tolist()))


def _merged(model: core.Model, variants: Any, images: Any, labels: Any, targets: Any) -> core.AttackResult:
    attacks = [variants] if isinstance(variants, core.Attack) else variants
    return merge([attack(model, images, labels, targets) for attack in attacks])


def _scores(model: core.Model, originals: Originals, adversarial: np.ndarray, smoother: Smoother) -> list[Score]:
    """The score of each image."""
    model = Classifier.of(model)
    logits = model.draws(tf.constant(adversarial))
    wrong = core.over_draws(model, core.errs(model, logits, originals.labels, originals.targets))
    mean = core.mean_logits(model, logits)
    r = tf.constant(adversarial - originals.images)
    columns = {
        "success": tf.reduce_all(wrong, axis=0),
        "distortion": tensors.l2_norm(r),
        "smoothness_energy": smoother.energy(r),
        "prediction": tf.argmax(mean, axis=1),
        "margin": criteria.margin(mean, originals.labels, originals.targets),
    }
    if model.samples > 1:
        columns["share"] = tf.reduce_mean(tf.cast(wrong, tf.float32), axis=0)
    values = [column.numpy().tolist() for column in columns.values()]
    return [Score(**dict(zip(columns, row))) for row in zip(*values)]
