"""From the smallest perturbation to the smoothest: of several attacks on an image, which to take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_smoothadv import checks, display, metrics, protocol
from tf_smoothadv.attacks import FMN, Attack, core
from tf_smoothadv.delivery import Levels
from tf_smoothadv.smoothing import Smoothing
from tf_smoothadv.visibility import MEASURES

__all__ = ["Front", "front", "over_alpha"]

ALPHAS = (0.0, 0.9, 0.97, 0.99, 0.997, 0.999)


@dataclasses.dataclass(frozen=True, repr=False)
class Front:
    """What A attacks made of N images, as delivered in 8 bits.

    Attributes:
        attacks: [A] names.
        indices: [N], of the images in the dataset.
        success: [A, N] bool.
        distortion: [A, N], L2 norms for pixels in [0, 1].
        smoothness_energy: [A, N].
        delivered: [A, N, H, W, C], or None where only the numbers are known.
        visibility: by measure [A, N], see `metrics.Score`.

    Three attacks on one image, of which the last is both larger and rougher than the second:

    >>> front = Front(("a", "b", "c"), np.array([0]), np.ones([3, 1], bool), np.array([[1.0], [1.4], [2.0]]),
    ...     np.array([[0.5], [0.1], [0.2]]))
    >>> front.undominated()[:, 0].tolist()
    [True, True, False]
    >>> [front.attacks[front.smoothest(premium)[0]] for premium in (1.0, 1.5)]
    ['a', 'b']
    """

    attacks: tuple[str, ...]
    indices: np.ndarray
    success: np.ndarray
    distortion: np.ndarray
    smoothness_energy: np.ndarray
    delivered: np.ndarray | None = None
    visibility: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Front of {len(self.indices)} images\n{display.lines(*self._table())}"

    def _repr_html_(self) -> str:
        headings, rows = self._table()
        if self.delivered is None:
            return display.table(headings, rows)
        shown = [[*map(display.picture, images[: display.MOST])] for images in self.delivered]
        names = [f"image {index}" for index in self.indices[: display.MOST]]
        return display.table([*headings, *names], [row + pictures for row, pictures in zip(rows, shown)])

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """P_suc, D, E and visibility of each attack, and on how many images' fronts it is."""
        seen = [MEASURES[name] for name in self.visibility]
        rows = []
        for place, attack in enumerate(self.attacks):
            success = self.success[place]
            columns = [(self.distortion, 3), (self.smoothness_energy, 3)]
            columns += zip(self.visibility.values(), [measure.digits for measure in seen])
            means = [f"{np.mean(values[place][success]):.{digits}f}" for values, digits in columns if success.any()]
            on_front = int(np.sum(self.undominated()[place]))
            rows.append([attack, f"{np.mean(success):.3f}", *(means or ["nan"] * len(columns)), str(on_front)])
        return ["attack", "P", "D", "E", *(measure.heading for measure in seen), "on the front"], rows

    @classmethod
    def of(cls, run: metrics.Run, delivered: np.ndarray | None = None) -> Front:
        """The front of what is known of a run: of the images that all its attacks have been on."""
        records = {(record.attack, record.index): record for record in run.records}
        everywhere = set.intersection(*({index for name, index in records if name == attack} for attack in run.attacks))
        indices = sorted(everywhere)

        scores = [[records[attack, index].delivered for index in indices] for attack in run.attacks]

        def table(name: str) -> np.ndarray:
            return np.array([[getattr(score, name) for score in row] for row in scores])

        seen = {name: np.array([[score.visibility[name] for score in row] for row in scores]) for name in run.measures}
        return cls(
            tuple(run.attacks),
            np.array(indices),
            table("success"),
            table("distortion"),
            table("smoothness_energy"),
            delivered,
            seen,
        )

    def undominated(self) -> np.ndarray:
        """Whether an attack is on an image's front; [A, N] bool.

        It is if it succeeds, and none that succeeds has both a distortion and an energy that are no larger, one of them
        smaller.
        """
        distortion, energy = self._successful(self.distortion), self._successful(self.smoothness_energy)
        no_larger = (distortion[:, None] <= distortion) & (energy[:, None] <= energy)
        smaller = (distortion[:, None] < distortion) | (energy[:, None] < energy)
        on_front: np.ndarray = self.success & ~np.any(no_larger & smaller, axis=0)
        return on_front

    def smoothest(self, premium: float) -> np.ndarray:
        """The attack of least energy whose distortion is at most `premium` times the image's smallest; [N].

        Args:
            premium: at least 1.

        Returns:
            Places in `attacks`; -1 where no attack succeeds.

        Raises:
            ValueError: a premium below 1.
        """
        checks.in_range("premium", premium, 1)
        distortion = self._successful(self.distortion)
        allowed = self.success & (distortion <= premium * np.min(distortion, axis=0))
        energy = np.where(allowed, self.smoothness_energy, np.inf)
        return np.where(np.any(allowed, axis=0), np.argmin(energy, axis=0), -1)

    def least_visible(self, measure: str) -> np.ndarray:
        """The successful attack whose image is the least visible by a measure; [N].

        Args:
            measure: one of those in `visibility`.

        Returns:
            Places in `attacks`; -1 where no attack succeeds.

        Raises:
            ValueError: a measure that nobody took.
        """
        checks.one_of("measure", measure, tuple(self.visibility))
        seen = self._successful(MEASURES[measure].seen(self.visibility[measure]))
        return np.where(np.any(self.success, axis=0), np.argmin(seen, axis=0), -1)

    def chosen(self, values: np.ndarray, attack: np.ndarray) -> np.ndarray:
        """Of values [A, N, ...] those of each image's `attack` [N], where it is not -1."""
        (found,) = np.nonzero(attack >= 0)
        chosen: np.ndarray = values[attack[found], found]
        return chosen

    def _successful(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.success, values, np.inf)


def over_alpha(
    attack: Attack, alphas: Sequence[float] = ALPHAS, smoothing: Smoothing | None = None
) -> dict[str, Attack]:
    """The attack at each alpha, by names such as "fmn-0.97"; at 0, which smooths nothing, plain.

    Args:
        attack: one with `smoothing=`.
        alphas: bandwidths of (6), in [0, 1).
        smoothing: what is the same of all; `Smoothing()` by default.

    Raises:
        ValueError: no alpha, or one outside [0, 1).

    >>> list(over_alpha(FMN(), [0.0, 0.97]))
    ['fmn-0', 'fmn-0.97']
    """
    if not alphas:
        raise ValueError("alphas must name at least one alpha; received none")
    smoothing = smoothing or Smoothing()
    spec = {alpha: dataclasses.replace(smoothing, alpha=alpha) if alpha else None for alpha in alphas}
    name = type(attack).__name__.lower()
    return {f"{name}-{alpha:g}": attack.replaced(smoothing=spec[alpha]) for alpha in alphas}


def front(
    model: core.Model,
    images: Any,
    labels: Any,
    attacks: Mapping[str, Attack] | None = None,
    *,
    targets: Any = None,
    reference: Smoothing | None = None,
    measures: Sequence[str] = (),
) -> Front:
    """Attacks the images that the model classifies correctly from smallest to smoothest, delivered in 8 bits.

    Args:
        model: from images [B, H, W, C] in [0, 1] to logits [B, K].
        images, labels, targets: a batch, as an attack takes it.
        attacks: by name; by default FMN of 100 gradients with the rounding inside, over ALPHAS.
        reference: the graph on which the energy is measured; `Smoothing()` by default.
        measures: of visibility, see `tf_smoothadv.visibility`; by default none.

    Returns:
        A `Front` with its images.

    Raises:
        ValueError: what the attacks or the measures refuse, or no image that the model classifies correctly.

    >>> import tensorflow as tf
    >>> def model(x):  # of 16 pixels: class 0 where they sum to more than 7
    ...     return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]
    >>> found = front(model, tf.fill([1, 4, 4, 1], 0.5), [0], over_alpha(FMN(20, delivery=Levels()), [0.0, 0.9]))
    >>> found.success[:, 0].tolist(), found.delivered.shape
    ([True, True], (2, 1, 4, 4, 1))
    """
    correct = protocol.CorrectImages(model, [(images, labels, *([] if targets is None else [targets]))])
    attacks = attacks or over_alpha(FMN(delivery=Levels()))
    batches = [
        protocol.with_visibility(batch, measures)
        for batch in protocol.attack_batches(model, correct, attacks, reference=reference)
    ]
    run = protocol.as_run([record for batch in batches for record in batch.records], correct)
    return Front.of(run, np.stack([batch.delivered for batch in batches]))
