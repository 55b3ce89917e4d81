"""Optimality, how near an attack comes to the best of several attacks at every distortion."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_smoothadv import checks

__all__ = ["gradients_within", "local_optimality", "overall_optimality"]


def local_optimality(distortions: Any, epsilon_0: float | None = None) -> np.ndarray:
    """How near each of A attacks on one model comes to the best of them on every image.

    An attack a leaves rho_a(epsilon) of the accuracy within epsilon. rho_best is that of the best attack on each image.
    The optimality is the area that the attack takes from the accuracy, as a share of what the best takes:

        optimality(a) = integral of (rho(0) - rho_a) / integral of (rho(0) - rho_best), both from 0 to epsilon_0
                      = sum over images max(epsilon_0 - d_a, 0) / sum over images max(epsilon_0 - d_best, 0)

    It is 1 for an attack that is the best on every image, and 0 for one without a success within epsilon_0.

    Args:
        distortions: [A, B], of each attack and image: the least distortion of an adversarial image, infinite where
            there is none. An image that the model gets wrong unattacked is left out or has 0 in every row; both
            give the same, since rho(0) does not count it.
        epsilon_0: where the curves end, above 0, in the units of the distortions; None for the largest finite
            distortion of the best attack, where its accuracy no longer falls.

    Returns:
        [A] float64, from 0 to 1; NaN where no attack has a success below epsilon_0.

    Raises:
        ValueError: distortions that are not [A, B] of at least one each, are below 0 or NaN, or are 0 for some attacks
            only; an epsilon_0 that is not above 0.

    Source: Cina et al. 2024 (AttackBench), https://arxiv.org/abs/2404.19460. Its code, `analysis/utils.py`, joins the
    points of a curve by the trapezoidal rule, from the least distortion on; here the steps of the curves are
    integrated as they are. Its best attack is of all in that benchmark, here of those given: give the same attacks
    to compare. Where an image resists every attack, its epsilon_0 is infinite; here it is the last finite one.

    The first is best on both images, the second needs twice the distortion, the third has one success:

    >>> local_optimality([[1.0, 2.0], [2.0, 4.0], [float("inf"), 2.0]], epsilon_0=4.0).tolist()
    [1.0, 0.4, 0.4]
    """
    distortions = np.asarray(distortions, np.float64)
    if distortions.ndim != 2 or not distortions.size:
        raise ValueError(f"distortions must have the shape [A, B], at least 1 each; received {distortions.shape}")
    if not (distortions >= 0).all():
        raise ValueError("distortions must be at least 0, infinite where there is no success; received another")
    best = distortions.min(axis=0)
    if (distortions[:, best == 0] > 0).any():
        raise ValueError("an image of distortion 0 is wrong unattacked, and must have 0 in every row")
    attacked = best > 0
    distortions, best = distortions[:, attacked], best[attacked]
    if epsilon_0 is None:
        epsilon_0 = float(np.max(best, where=np.isfinite(best), initial=0.0))
    else:
        checks.in_range("epsilon_0", epsilon_0, 0, open_low=True)
    taken = np.maximum(epsilon_0 - distortions, 0).sum(axis=1)
    most = np.maximum(epsilon_0 - best, 0).sum()
    values: np.ndarray = taken / most if most > 0 else np.full(len(taken), np.nan)
    return values


def overall_optimality(local: Any) -> np.ndarray:
    """AttackBench's global optimality: the mean of the local ones over models.

    Args:
        local: [M, A], by model and attack, each of `local_optimality`.

    Returns:
        [A] float64.

    Raises:
        ValueError: another shape, a value outside [0, 1], or NaN.

    >>> overall_optimality([[1.0, 0.5], [0.5, 0.25]]).tolist()
    [0.75, 0.375]
    """
    local = np.asarray(local, np.float64)
    if local.ndim != 2 or not local.size:
        raise ValueError(f"local must have the shape [M, A], at least 1 each; received {local.shape}")
    if not ((local >= 0) & (local <= 1)).all():
        raise ValueError("local must be within [0, 1]; received a value that is not")
    values: np.ndarray = local.mean(axis=0)
    return values


def gradients_within(queries: int) -> int:
    """How many gradients a budget of queries holds, forwards and backwards of the model counted alike.

    A gradient is one forward and one backward. AttackBench's budget is 2,000 queries.

    Raises:
        ValueError: queries that are no integer of at least 2.

    >>> gradients_within(2000)
    1000
    """
    checks.count("queries", queries, at_least=2)
    return queries // 2
