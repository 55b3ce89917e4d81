"""Robust accuracy, the share of images that an adversary of a given strength leaves correctly classified."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_smoothadv import checks
from tf_smoothadv.detection import Estimate

__all__ = ["mcnemar", "robust", "robust_accuracy", "wilson"]

ROUNDING = 1e-6  # a projection to norm epsilon in float32 ends as far above it, as a share of it


def wilson(successes: int, count: int, confidence: float = 0.95) -> Estimate:
    """The share of successes with Wilson's interval, which stays within [0, 1] and has a width at shares of 0 and 1.

    Args:
        successes: from 0 to `count`.
        count: of independent trials.
        confidence: with which the interval holds the true share, in (0, 1).

    Raises:
        ValueError: a value outside these.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953. Needs SciPy.

    >>> print(wilson(72, 200))
    0.360 (0.297 to 0.429)
    """
    from scipy import stats

    checks.count("count", count)
    checks.count("successes", successes, at_least=0)
    checks.in_range("confidence", confidence, 0, 1, open_low=True)
    if successes > count:
        raise ValueError(f"successes must be at most count; received successes={successes}, count={count}")
    interval = stats.binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return Estimate(successes / count, float(interval.low), float(interval.high))


def robust(distortions: Any, correct: Any, epsilon: float) -> np.ndarray:
    """Where a model is robust at epsilon: it is right about the image, and no adversarial image lies within epsilon.

    Args:
        distortions: [N], the least distortion of an adversarial image that is known, infinite where none is.
        correct: [N] bool, whether the model classifies the image itself correctly.
        epsilon: the radius of the ball, above 0, in the units of the distortions.

    Returns:
        [N] bool.

    Raises:
        ValueError: an epsilon that is not above 0, or arrays that are not of one shape [N].

    >>> robust([0.5, 1.5, float("inf"), float("inf")], [True, True, True, False], 1.0).tolist()
    [False, True, True, False]
    """
    checks.in_range("epsilon", epsilon, 0, open_low=True)
    distortions, correct = np.asarray(distortions), np.asarray(correct, bool)
    if distortions.ndim != 1 or distortions.shape != correct.shape:
        raise ValueError(
            f"distortions and correct must have one shape [N]; received {distortions.shape} and {correct.shape}"
        )
    holds: np.ndarray = correct & ~(distortions <= epsilon * (1 + ROUNDING))
    return holds


def robust_accuracy(distortions: Any, correct: Any, epsilon: float, confidence: float = 0.95) -> Estimate:
    """The share of all images that a model is `robust` on, those that it gets wrong unattacked counted as lost.

    Args:
        distortions, correct, epsilon: see `robust`.
        confidence: of the interval, see `wilson`.

    Raises:
        ValueError: what `robust` and `wilson` refuse.

    Source: the convention of RobustBench, Croce et al. 2021, https://arxiv.org/abs/2010.09670.

    >>> print(robust_accuracy([0.5, 1.5, float("inf"), float("inf")], [True, True, True, False], 1.0))
    0.500 (0.150 to 0.850)
    """
    found = robust(distortions, correct, epsilon)
    return wilson(int(np.sum(found)), len(found), confidence)


def mcnemar(a: Any, b: Any) -> float:
    """The p-value of McNemar's exact test, two-sided: that two models are robust on equally many images.

    Only the n images on which they differ tell: if the models are equally robust, each of these is as likely the one's
    as the other's, so that their numbers are of a binomial distribution of n and 1/2. Without any it is 1.

    Args:
        a, b: [N] bool, where each model is robust, on the same images.

    Raises:
        ValueError: arrays that are not of one shape [N].

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996. Needs SciPy.

    One model holds on six images that the other loses, 2 / 2**6:

    >>> mcnemar([True] * 6 + [True, False], [False] * 6 + [True, False])
    0.03125
    """
    from scipy import stats

    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a and b must have one shape [N]; received {a.shape} and {b.shape}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
