"""What the protocol measures (section 5.1): of one image, of an attack on all images, after each of its gradients."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_smoothadv import checks, display, optimality, robustness
from tf_smoothadv.detection import Estimate
from tf_smoothadv.visibility import LOSSLESS, MEASURES

__all__ = ["Outcome", "Progress", "Record", "Run", "Score"]

Trace = tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Score:
    """What is measured of an adversarial image, as computed or as delivered.

    Attributes:
        success: whether the model errs on it.
        distortion: L2 norm of the perturbation, for pixels in [0, 1]; the failed attempt's where success is False.
        smoothness_energy: r'(I - W)r / r'r on the graph of the original image (`Smoother.energy`).
        prediction: the class predicted.
        margin: `criteria.margin`, below zero by how far the model errs, in logits; NaN where it is not known.
        share: of a random model the share of its draws that errs on the image; NaN for another model.
        visibility: by measure what the eye makes of it (`tf_smoothadv.visibility`); empty where nobody looked, as at
            what is computed.

    >>> Score(success=True, distortion=1.5, smoothness_energy=0.2, prediction=1).distortion
    1.5
    """

    success: bool
    distortion: float
    smoothness_energy: float
    prediction: int
    margin: float = math.nan
    share: float = math.nan
    visibility: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Record:
    """One attack on one image that the model classifies correctly.

    Attributes:
        index: of the image in the dataset, from 0.
        attack: the attack's name.
        label: the true class.
        computed: the image as the attack computed it.
        delivered: the image as it is delivered, rounded to 8 bits.
        gradients: gradients of the model taken for this image; 0 where it is not known.
        seconds: wall time of the attack over the images of its batch, compilation included; 0 where it is not known.
        trace: the improvements of the distortion as computed, in their order: for each the gradients taken until then
            and the new least distortion of a success; empty without any success, or where it is not known.
        faulty: how many of the gradients were not finite in every pixel or, without success, zero in all.
        masked: whether only a control without gradients succeeded, see `attacks.Standard`.

    Raises:
        ValueError: a trace whose gradients do not rise, up to `gradients`, or whose distortions do not fall.

    >>> computed, delivered = Score(True, 1.5, 0.2, 1), Score(True, 1.6, 0.3, 1)
    >>> record = Record(0, "pgd2", 7, computed, delivered, 20, 0.01, trace=((3, 2.25), (8, 1.5)))
    >>> record.delivered.distortion, record.gradients
    (1.6, 20)
    """

    index: int
    attack: str
    label: int
    computed: Score
    delivered: Score
    gradients: int
    seconds: float
    trace: Trace
    faulty: int = dataclasses.field(default=0, kw_only=True)
    masked: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def image(self) -> int:
        """`index`, by its earlier name."""
        return self.index

    def __post_init__(self) -> None:
        steps = [(-1, float("inf")), *self.trace, (self.gradients + 1, float("-inf"))]
        for (before, larger), (after, smaller) in itertools.pairwise(steps):
            if not (before < after and larger > smaller):
                raise ValueError(
                    f"trace must have rising gradients, from 0 to {self.gradients}, and falling distortions; received "
                    f"{reprlib.repr(self.trace)}"
                )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One attack on all the N images that the model classifies correctly, as computed or as delivered.

    Attributes:
        success: [N] bool.
        distortion: [N], L2 norms for pixels in [0, 1]; of the failed attempt where success is False.
        smoothness_energy: [N].
        gradients: [N], gradients of the model taken for each image.
        seconds: [N], each image's share of its batch's time.
        visibility: by measure [N], see `Score`.
        margin: [N], see `Score`; none where it is not known.

    Source: section 5.1 of the paper, (20) and (21).

    >>> outcome = Outcome(np.array([True, True, False]), np.array([1.0, 2.0, 9.0]), np.ones(3), np.ones(3), np.ones(3))
    >>> round(outcome.p_suc, 2), outcome.mean_distortion, outcome.max_distortion
    (0.67, 1.5, 2.0)
    >>> outcome.characteristic([0.5, 1.0, 10.0]).round(2).tolist()
    [0.0, 0.33, 0.67]
    """

    success: np.ndarray
    distortion: np.ndarray
    smoothness_energy: np.ndarray
    gradients: np.ndarray
    seconds: np.ndarray
    visibility: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    margin: np.ndarray | None = None

    @property
    def p_suc(self) -> float:
        """P_suc of (20), N_suc / N."""
        return float(np.mean(self.success))

    @property
    def mean_distortion(self) -> float:
        """D of (20), the mean distortion of the successes; NaN without any."""
        return self.mean_of_successes(self.distortion)

    @property
    def max_distortion(self) -> float:
        """D_max, the largest distortion of a success; NaN without any."""
        return float(np.max(self.distortion[self.success])) if self.success.any() else float("nan")

    @property
    def mean_smoothness_energy(self) -> float:
        """The mean smoothness energy of the successes; NaN without any."""
        return self.mean_of_successes(self.smoothness_energy)

    @property
    def mean_margin(self) -> float:
        """The mean margin of the successes, below zero; NaN without any, or where it is not known."""
        return math.nan if self.margin is None else self.mean_of_successes(self.margin)

    def mean_of_successes(self, values: np.ndarray) -> float:
        """The mean over the successes of values [N]; NaN without any."""
        return float(np.mean(values[self.success])) if self.success.any() else float("nan")

    def characteristic(self, distortion: Any) -> np.ndarray:
        """P(D) of (21): the share of images that the attack changes the class of with a distortion of at most D.

        Args:
            distortion: D, a number or an array.

        Returns:
            P(D), of the same shape.
        """
        return self._share_within(self.distortion, distortion)

    def visibility_characteristic(self, measure: str, limit: Any) -> np.ndarray:
        """(21) with a measure of visibility in place of D: the share that is adversarial and no more visible than that.

        Args:
            measure: one of those in `visibility`.
            limit: a number or an array, in the measure's units.

        Returns:
            P(limit), of the same shape.

        Raises:
            ValueError: a measure that nobody took.

        Two of these three succeed, one of them at no less than 90 points of SSIMULACRA2:

        >>> success, seen = np.array([True, True, False]), {"ssimulacra2": np.array([95.0, 80.0, 99.0])}
        >>> outcome = Outcome(success, np.ones(3), np.ones(3), np.ones(3), np.ones(3), seen)
        >>> outcome.visibility_characteristic("ssimulacra2", [90.0, 70.0]).round(2).tolist()
        [0.33, 0.67]
        """
        checks.one_of("measure", measure, tuple(self.visibility))
        seen = MEASURES[measure].seen
        return self._share_within(seen(self.visibility[measure]), seen(np.asarray(limit)))

    @property
    def p_lossless(self) -> float:
        """The share that is adversarial and visually lossless, SSIMULACRA2 at least 90; NaN where nobody looked."""
        measure, limit = LOSSLESS
        return float(self.visibility_characteristic(measure, limit)) if measure in self.visibility else math.nan

    def mean_visibility(self, measure: str) -> float:
        """The mean of a measure over the successes; NaN without any, or where nobody looked."""
        return self.mean_of_successes(self.visibility[measure]) if measure in self.visibility else math.nan

    def _share_within(self, values: np.ndarray, limit: Any) -> np.ndarray:
        """The share of images whose attack succeeds at a value of at most the limit."""
        shares: np.ndarray = np.searchsorted(np.sort(values[self.success]), limit, side="right") / len(self.success)
        return shares


@dataclasses.dataclass(frozen=True)
class Progress:
    """One attack on all the N images that the model classifies correctly, after any number of gradients; as computed.

    Attributes:
        traces: N of `Record.trace`.

    The argument `gradients` is a number or an array: how many the attack may take for an image.

    >>> progress = Progress([((3, 2.25), (8, 1.5)), ((5, 1.75),), ()])
    >>> progress.best_distortion([4, 8]).tolist()
    [[2.25, 1.5], [inf, 1.75], [inf, inf]]
    """

    traces: Sequence[Trace]

    def best_distortion(self, gradients: Any) -> np.ndarray:
        """The least distortion of each image's successes within so many gradients, infinite without any; [N, ...]."""
        return np.stack([_last_until(trace, gradients) for trace in self.traces])

    def p_suc(self, gradients: Any, distortion: Any = np.inf) -> np.ndarray:
        """The share of images whose class the attack changes within so many gradients, at a distortion of at most D.

        Args:
            gradients: see `Progress`.
            distortion: D, a number or an array; arrays of both are broadcast together.

        Returns:
            P_suc(D, k), of their common shape: P_suc of (20) after k gradients for D = inf, P(D) of (21) after all.

        >>> progress = Progress([((3, 2.25), (8, 1.5)), ((5, 1.75),), ()])
        >>> progress.p_suc([2, 4, 8]).round(2).tolist(), progress.p_suc(8, [1.0, 1.5, 2.0]).round(2).tolist()
        ([0.0, 0.33, 0.67], [0.0, 0.33, 0.67])
        """
        gradients, distortion = np.broadcast_arrays(gradients, distortion)
        best = self.best_distortion(gradients)
        values: np.ndarray = np.mean(np.isfinite(best) & (best <= distortion), axis=0)
        return values

    def mean_distortion(self, gradients: Any) -> np.ndarray:
        """D of (20) after so many gradients, the mean distortion of the successes until then; NaN without any.

        >>> Progress([((3, 2.25), (8, 1.5)), ((5, 1.75),), ()]).mean_distortion([2, 4, 8]).tolist()
        [nan, 2.25, 1.625]
        """
        best = self.best_distortion(gradients)
        found = np.isfinite(best)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN
            values: np.ndarray = np.sum(np.where(found, best, 0), axis=0) / np.sum(found, axis=0)
            return values

    def median_distortion(self, gradients: Any) -> np.ndarray:
        """The median of the least distortions after so many gradients over all images, those without success infinite.

        >>> Progress([((3, 2.25), (8, 1.5)), ((5, 1.75),), ()]).median_distortion([2, 4, 8]).tolist()
        [inf, inf, 1.75]
        """
        values: np.ndarray = np.median(self.best_distortion(gradients), axis=0)
        return values


def _last_until(trace: Trace, gradients: Any) -> np.ndarray:
    """The last distortion of a trace within so many gradients."""
    taken, distortions = [one for one, _ in trace], [np.inf, *(distortion for _, distortion in trace)]
    values: np.ndarray = np.array(distortions)[np.searchsorted(taken, gradients, side="right")]
    return values


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """Several attacks on one model and dataset.

    Attributes:
        records: one an image and attack.
        num_images: N', the images of the dataset.
        num_correct: N, those that the model classifies correctly, and which the records are about.
        epsilons: at which its robust accuracy is told.

    Source: section 5.1 of the paper.

    >>> computed, delivered = Score(True, 1.5, 0.2, 1), Score(True, 1.6, 0.3, 1)
    >>> record = Record(0, "pgd2", 7, computed, delivered, 20, 0.01, ((3, 2.25), (8, 1.5)))
    >>> run = Run((record,), num_images=2, num_correct=1)
    >>> run.accuracy, run.p_suc, run.characteristic([1.0, 1.5])["pgd2"].tolist()
    (0.5, {'pgd2': 1.0}, [0.0, 1.0])
    >>> run.outcome("pgd2", delivered=True).mean_distortion, float(run.progress("pgd2").mean_distortion(5))
    (1.6, 2.25)
    """

    records: tuple[Record, ...]
    num_images: int
    num_correct: int
    epsilons: tuple[float, ...] = ()

    def __repr__(self) -> str:
        head = f"Run: accuracy {self.accuracy:.3f}, {self.num_correct} of {self.num_images} images attacked"
        return f"{head}\n{display.lines(*self._table())}"

    def _repr_html_(self) -> str:
        head = f"accuracy {self.accuracy:.3f}, {self.num_correct} of {self.num_images} images attacked"
        return head + display.table(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """P_suc, D and E of each attack, as computed and as delivered; where known how many are visually lossless."""
        known = LOSSLESS[0] in self.measures
        rows = []
        for attack in self.attacks:
            outcomes = self.outcome(attack), self.outcome(attack, delivered=True)
            numbers = ((one.p_suc, one.mean_distortion, one.mean_smoothness_energy) for one in outcomes)
            lossless = [f"{outcomes[1].p_lossless:.3f}"] * known
            rows.append([attack, *(f"{number:.3f}" for one in numbers for number in one), *lossless])
        return ["attack", "P", "D", "E", "P8", "D8", "E8", *["P90"] * known], rows

    @property
    def accuracy(self) -> float:
        """N / N', the accuracy of the model (section 5.1)."""
        return self.num_correct / self.num_images

    @property
    def attacks(self) -> list[str]:
        """The names of the attacks, in the order of the run."""
        return list(dict.fromkeys(record.attack for record in self.records))

    @property
    def measures(self) -> list[str]:
        """The measures of visibility that were taken of every delivered image."""
        return _taken(self.records)

    def outcome(self, attack: str, *, delivered: bool = False) -> Outcome:
        """What `attack` achieved, as computed or as delivered in 8 bits.

        Raises:
            ValueError: an attack that the run does not have.
        """
        rows = self._of(attack)
        scores = [row.delivered if delivered else row.computed for row in rows]
        return Outcome(
            success=np.array([score.success for score in scores]),
            distortion=np.array([score.distortion for score in scores]),
            smoothness_energy=np.array([score.smoothness_energy for score in scores]),
            gradients=np.array([row.gradients for row in rows]),
            seconds=np.array([row.seconds for row in rows]),
            visibility={
                name: np.array([score.visibility[name] for score in scores])
                for name in (_taken(rows) if delivered else ())
            },
            margin=np.array([score.margin for score in scores]),
        )

    def progress(self, attack: str) -> Progress:
        """What `attack` had achieved after any number of gradients, as computed.

        Raises:
            ValueError: an attack that the run does not have.
        """
        return Progress([record.trace for record in self._of(attack)])

    def robust(self, attack: str | None, epsilon: float, gradients: int | None = None) -> frozenset[int]:
        """The indices of the images that the model is robust on at epsilon, as far as `attack` tells, as computed.

        Args:
            attack: its name; None for all of them together, those images that none of them gets.
            epsilon: the largest distortion of the adversary, above 0.
            gradients: within so many; None for all that the attack took.

        Raises:
            ValueError: an attack that the run does not have, or an epsilon that is not above 0.
        """
        if attack is None:
            return frozenset.intersection(*(self.robust(name, epsilon, gradients) for name in self.attacks))
        outcome = self.outcome(attack)
        least = np.where(outcome.success, outcome.distortion, np.inf)
        if gradients is not None:
            least = self.progress(attack).best_distortion(gradients)
        found = robustness.robust(least, np.ones_like(outcome.success), epsilon)
        return frozenset(record.index for record, holds in zip(self._of(attack), found) if holds)

    def robust_accuracy(self, attack: str | None, epsilon: float, gradients: int | None = None) -> Estimate:
        """The share of all N' images that the model is robust on, with its 95 % interval (`robustness.wilson`).

        Args, raises: see `robust`.

        >>> score = Score(True, 1.5, 0.2, 1)
        >>> record = Record(0, "fmn", 7, score, score, 20, 0.01, ((3, 2.25), (8, 1.5)))
        >>> run = Run((record,), num_images=2, num_correct=1)
        >>> run.robust_accuracy("fmn", 1.0).value, run.robust_accuracy("fmn", 2.0).value
        (0.5, 0.0)
        >>> run.robust_accuracy("fmn", 2.0, gradients=5).value
        0.5
        """
        return robustness.wilson(len(self.robust(attack, epsilon, gradients)), self.num_images)

    def optimality(self, *, delivered: bool = False, queries: int | None = None) -> dict[str, float]:
        """How near each attack comes to the best of this run on every image, see `optimality.local_optimality`.

        Over the images that all attacks have records of.

        Args:
            delivered: as delivered in 8 bits; else as computed.
            queries: forwards and backwards of the model within which, two a gradient, by the traces, which a control
                without gradients is not in; None for all that each attack took.

        Raises:
            ValueError: queries with `delivered`, of which there are no traces, or that are no integer of at least 2.

        >>> score = Score(True, 1.5, 0.2, 1)
        >>> one = Record(0, "fmn", 7, score, score, 20, 0.01, ((3, 2.5), (8, 1.5)))
        >>> two = dataclasses.replace(one, index=1, computed=Score(True, 3.5, 0.2, 1), trace=((9, 3.5),))
        >>> failed = Score(False, 9.0, 0.2, 7)
        >>> rest = [dataclasses.replace(r, attack="pgd2", computed=failed, trace=()) for r in (one, two)]
        >>> run = Run((one, two, *rest), num_images=2, num_correct=2)
        >>> run.optimality()
        {'fmn': 1.0, 'pgd2': 0.0}
        """
        if delivered and queries is not None:
            raise ValueError("queries is of what is computed: leave it out with delivered=True")
        if queries is None:
            return dict(self._optimality[delivered])
        gradients = optimality.gradients_within(queries)
        return self._compared(lambda rows: Progress([row.trace for row in rows]).best_distortion(gradients).tolist())

    @functools.cached_property
    def _optimality(self) -> tuple[dict[str, float], dict[str, float]]:
        """That of all gradients, as computed and as delivered; kept, since tables ask once an attack."""

        def least(score: Score) -> float:
            return score.distortion if score.success else math.inf

        return (
            self._compared(lambda rows: [least(row.computed) for row in rows]),
            self._compared(lambda rows: [least(row.delivered) for row in rows]),
        )

    def _compared(self, distortions: Callable[[list[Record]], list[float]]) -> dict[str, float]:
        by_attack = {name: {record.index: record for record in self._of(name)} for name in self.attacks}
        common = sorted(set.intersection(*map(set, by_attack.values()))) if by_attack else []
        if not common:
            return dict.fromkeys(self.attacks, math.nan)
        local = optimality.local_optimality([distortions([rows[i] for i in common]) for rows in by_attack.values()])
        return dict(zip(by_attack, local.tolist()))

    def faulty(self, attack: str) -> tuple[int, int]:
        """On how many images `attack` met gradients that were not finite or were zero, and how many these were.

        Raises:
            ValueError: an attack that the run does not have.
        """
        counts = [record.faulty for record in self._of(attack)]
        return sum(count > 0 for count in counts), sum(counts)

    def masked(self, attack: str | None) -> int:
        """On how many images a control without gradients succeeded where `attack` did not, see `attacks.Standard`.

        Of all attacks together it is the largest number.

        Raises:
            ValueError: an attack that the run does not have.
        """
        if attack is None:
            return max(map(self.masked, self.attacks))
        return sum(record.masked for record in self._of(attack))

    def _of(self, attack: str) -> list[Record]:
        checks.one_of("attack", attack, self.attacks)
        return [record for record in self.records if record.attack == attack]

    @property
    def p_suc(self) -> dict[str, float]:
        """P_suc of (20) of each attack, as computed."""
        return {name: self.outcome(name).p_suc for name in self.attacks}

    @property
    def mean_distortion(self) -> dict[str, float]:
        """D of (20) of each attack, as computed."""
        return {name: self.outcome(name).mean_distortion for name in self.attacks}

    def characteristic(self, distortion: Any) -> dict[str, np.ndarray]:
        """P(D) of (21) of each attack, as computed; `distortion` D is a number or an array."""
        return {name: self.outcome(name).characteristic(distortion) for name in self.attacks}


def _taken(records: Sequence[Record]) -> list[str]:
    """The measures that all the records have, in the order of MEASURES."""
    return [name for name in MEASURES if all(name in record.delivered.visibility for record in records)]
