"""Whether persons see what an attack changed: shares of right answers, d', and tests against chance.

Answers are of one of two designs. In a *pair* an observer sees an original and an adversarial image side by side and
says which one was changed, a forced choice of two; a *single* image was changed or not, as often the one as the other,
and the observer says which. In both, who sees nothing is right in half of the trials.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tf_smoothadv import checks
from tf_smoothadv.detection import Estimate

__all__ = ["DESIGNS", "Sight", "Trial", "above_chance", "clopper_pearson", "d_prime", "d_prime_pair", "holm", "sights"]

LEFT, RIGHT = "left", "right"
CHANGED, UNCHANGED = "changed", "unchanged"
DESIGNS = {"pair": (LEFT, RIGHT), "single": (CHANGED, UNCHANGED)}
"""By name, what may be true and what may be answered."""
CHANCE = 0.5
SIGNIFICANCE = 0.05

K = TypeVar("K")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One question that an observer answered.

    Attributes:
        attack: what made the changed image.
        image: its name.
        catch: whether the change is one that nobody overlooks, which tells who does not look.
        truth: of a pair the side of the changed image, "left" or "right"; of a single image "changed" or "unchanged".
        answer: one of the same two.
        ms: what the answer took, in milliseconds.

    >>> Trial("scw", "00007", False, "left", "right", 2140.0).right
    False
    """

    attack: str
    image: str
    catch: bool
    truth: str
    answer: str
    ms: float

    @property
    def right(self) -> bool:
        """Whether the answer is what is true."""
        return self.answer == self.truth


@dataclasses.dataclass(frozen=True)
class Sight:
    """What answers say of whether a change is seen.

    Attributes:
        answers: N, how many there are.
        right: how many of them are right.
        share: of right answers, see `clopper_pearson`.
        d_prime: the distance of what is seen with and without the change, in standard deviations of the observer's own
            noise: 0 is unseen, 1 is right in 0.76 of pairs, 3 in 0.98.
        p_value: see `above_chance`.
        p_holm: the same corrected for all that were tested with it, see `holm`.

    >>> Sight(20, 18, clopper_pearson(18, 20), 1.8, 2e-4, 4e-4).verdict
    'seen'
    """

    answers: int
    right: int
    share: Estimate
    d_prime: float
    p_value: float
    p_holm: float

    @property
    def verdict(self) -> str:
        """Whether chance is excluded, at 5 % after the correction."""
        return "seen" if self.p_holm <= SIGNIFICANCE else "chance not excluded"


def sights(groups: Mapping[K, Sequence[Trial]]) -> dict[K, Sight]:
    """What the answers of each group say, the p-values corrected for the number of groups.

    Intervals and tests take trials for independent, as they are when one observer sees each image once and images are
    a sample of those asked about. Several answers of one observer, or of several observers on one image, have more in
    common: then the interval is too narrow for other observers and other images, and tells of these ones alone.

    Args:
        groups: trials of one design, at least one in each; of single images about as many changed as unchanged.

    Raises:
        ValueError: a group without trials.

    >>> trials = [Trial("fgsm", str(image), False, "left", "left", 900.0) for image in range(9)]
    >>> trials += [Trial("scw", str(image), False, "left", ("left", "right")[image % 2], 4000.0) for image in range(9)]
    >>> found = sights({attack: [one for one in trials if one.attack == attack] for attack in ("fgsm", "scw")})
    >>> for attack, sight in found.items():
    ...     print(f"{attack}: {sight.share}, d' {sight.d_prime:.2f}, p {sight.p_holm:.3f}, {sight.verdict}")
    fgsm: 1.000 (0.664 to 1.000), d' 2.33, p 0.004, seen
    scw: 0.556 (0.212 to 0.863), d' 0.18, p 0.500, chance not excluded
    """
    counts = {key: (sum(one.right for one in trials), len(trials)) for key, trials in groups.items()}
    p_values = {key: above_chance(*count) for key, count in counts.items()}
    corrected = dict(zip(p_values, holm(list(p_values.values()))))
    return {
        key: Sight(
            answers=len(trials),
            right=counts[key][0],
            share=clopper_pearson(*counts[key]),
            d_prime=_d_prime_of(trials),
            p_value=p_values[key],
            p_holm=corrected[key],
        )
        for key, trials in groups.items()
    }


def _d_prime_of(trials: Sequence[Trial]) -> float:
    """The d' of trials of either design."""
    if trials[0].truth in DESIGNS["pair"]:
        return d_prime_pair(sum(one.right for one in trials), len(trials))
    said = {truth: [one.answer == CHANGED for one in trials if one.truth == truth] for truth in (CHANGED, UNCHANGED)}
    return d_prime(sum(said[CHANGED]), len(said[CHANGED]), sum(said[UNCHANGED]), len(said[UNCHANGED]))


def d_prime(hits: int, changed: int, false_alarms: int, unchanged: int) -> float:
    """The distance d' = z(H) - z(F) of answers yes or no, z the normal distribution's quantile.

    H and F are the shares of changed and of unchanged images that were called changed, with the log-linear correction
    (hits + 1/2) / (changed + 1), which keeps d' finite where a share is 0 or 1, and less biased where it is not.

    Args:
        hits, false_alarms: how many changed and unchanged images were called changed.
        changed, unchanged: how many there were; none is allowed, and tells nothing.

    Raises:
        ValueError: more hits than changed images or more false alarms than unchanged ones, or a count below 0.

    Source: Macmillan & Creelman, "Detection Theory", 2005, chapter 1; the correction: Hautus 1995,
    https://doi.org/10.3758/BF03203619.

    >>> round(d_prime(8, 10, 3, 10), 3)
    1.221
    """
    return _z(hits, changed) - _z(false_alarms, unchanged)


def d_prime_pair(right: int, count: int) -> float:
    """The distance d' = sqrt(2) z(share) of a forced choice of two, where the observer compares two samples of noise.

    Args:
        right: from 0 to `count`; the share has the correction of `d_prime`.
        count: of trials; none is allowed, and tells nothing.

    Raises:
        ValueError: values outside these.

    Source: Macmillan & Creelman, "Detection Theory", 2005, chapter 7.

    >>> round(d_prime_pair(76, 100), 2)
    0.99
    """
    return math.sqrt(2) * _z(right, count)


def _z(some: int, count: int) -> float:
    """The normal quantile of a share, log-linear."""
    _check_counts(some, count, at_least=0)
    return statistics.NormalDist().inv_cdf((some + 0.5) / (count + 1))


def clopper_pearson(right: int, count: int, confidence: float = 0.95) -> Estimate:
    """The share of right answers with the exact interval, which holds the true one at least as often as it says.

    Its ends are the shares under which as many right answers or more, as many or less, have a probability of half of
    what the confidence leaves.

    Args:
        right: from 0 to `count`.
        count: of independent trials, at least 1.
        confidence: in (0, 1).

    Raises:
        ValueError: values outside these.

    Source: Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404. Needs SciPy.

    >>> print(clopper_pearson(15, 20))
    0.750 (0.509 to 0.913)
    """
    from scipy import stats

    _check_counts(right, count)
    checks.in_range("confidence", confidence, 0, 1, open_low=True)
    interval = stats.binomtest(right, count).proportion_ci(confidence, method="exact")
    return Estimate(right / count, float(interval.low), float(interval.high))


def above_chance(right: int, count: int) -> float:
    """The probability that so many answers or more are right by chance, one in two: the exact binomial test, one-sided.

    Of single images, half of them changed, it is an upper bound for who says yes more often than no (Hoeffding 1956).

    Args:
        right: from 0 to `count`.
        count: of independent trials, at least 1.

    Raises:
        ValueError: values outside these.

    Needs SciPy.

    >>> above_chance(9, 10) == 11 / 2**10
    True
    """
    from scipy import stats

    _check_counts(right, count)
    return float(stats.binomtest(right, count, CHANCE, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: any false one among those below 5 % has a probability of at most 5 %.

    The smallest of m is multiplied by m, the next one by m - 1 and so on; none becomes smaller than one before it, nor
    larger than 1.

    Args:
        p_values: of tests that may depend on each other.

    Source: Holm 1979, https://www.jstor.org/stable/4615733.

    >>> holm([0.5, 0.0625, 0.25])
    [0.5, 0.1875, 0.5]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _check_counts(some: int, count: int, at_least: int = 1) -> None:
    """Raises ValueError unless `some` of `count` can be."""
    checks.count("count", count, at_least)
    checks.count("right", some, at_least=0)
    if some > count:
        raise ValueError(f"right must be at most count; received right={some}, count={count}")
