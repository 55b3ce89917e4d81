"""Presets that answer one question: how smooth, how it transfers, what is seen at one distortion or margin."""

from __future__ import annotations

from collections.abc import Sequence

from tf_smoothadv import checks
from tf_smoothadv.attacks import FGSM, Standard
from tf_smoothadv.attacks.gradient import GradientAttack
from tf_smoothadv.evaluation.families import MASKINGS, NAMES, SMOOTHING
from tf_smoothadv.evaluation.presets import ENTRIES, LEVELS, MINIMAL_NORM, Preset, at, preset
from tf_smoothadv.front import over_alpha

__all__ = ["at_epsilon", "deciding", "front", "transfer", "with_confidence"]


def front(
    family: str,
    settings: str,
    attacks: Sequence[str],
    alphas: Sequence[float],
    gradients: int | None = None,
    maskings: Sequence[str] = (),
) -> Preset:
    """The named attacks at each alpha and under each masking, by names such as "fmn-0.97" and "mfmn-eye".

    The rounding to 8 bits is inside.

    Args:
        family: see `preset`.
        settings: "tuned".
        attacks: of MINIMAL_NORM.
        alphas: bandwidths of (6), in [0, 1); 0 is plain.
        gradients: how many each takes, at most.
        maskings: names of `families.MASKINGS`.

    Raises:
        ValueError: other settings, unknown attacks, alphas or maskings; no alpha.
    """
    checks.one_of("settings", settings, NAMES[:1])
    smoothing = SMOOTHING[family, settings]
    chosen: Preset = {}
    for name in attacks:
        checks.one_of("attack", name, MINIMAL_NORM)
        ((plain,), (smooth,)) = preset(family, settings, [name, f"s{name}"], LEVELS, gradients).values()
        variants = over_alpha(smooth, alphas, smoothing).values()
        chosen |= {f"{name}-{alpha:g}": (variant if alpha else plain,) for alpha, variant in zip(alphas, variants)}
        for masking in maskings:
            checks.one_of("masking", masking, tuple(MASKINGS[family]))
            chosen[f"m{name}-{masking}"] = (plain.replaced(masking=MASKINGS[family][masking]),)
    return chosen


def transfer(
    family: str, settings: str, attacks: Sequence[str], levels: int | None = None, gradients: int | None = None
) -> Preset:
    """`preset` with one setting an attack, as section 5.4 asks: gradient attacks at one epsilon, all of which they use.

    They go for a distortion of about 5, as in table 3, or less where the iterate of largest margin lies within. On
    digits the border of [0, 1] takes some of it: epsilon 0.25, and 5.1 for PGD2. On small images 16 levels come to
    between 3 and 7. On photographs of 299 x 299 x 3 it is 2.5 levels in every pixel, of which 8 bits make 2 or 3: 3,
    with which I-FGSM comes nearest, and 5 for PGD2. C&W and what searches the norm have no target and stay as they are.

    Args and Raises: see `preset`.
    """
    return {
        name: (variants[0].replaced(**ENTRIES[name].transfer.get(family, {})).within(gradients),)
        for name, variants in preset(family, settings, attacks, levels).items()
    }


def at_epsilon(
    family: str,
    settings: str,
    attacks: Sequence[str],
    epsilon: float,
    levels: int | None = None,
    gradients: int | None = None,
) -> Preset:
    """The gradient attacks at one epsilon, without a search: of each image the iterate of largest margin within it.

    A step is a quarter of epsilon.

    Raises:
        ValueError: what `preset` refuses, an attack that has no epsilon, or an epsilon that it refuses.
    """
    chosen: Preset = {}
    for name, (first, *_) in preset(family, settings, attacks, levels).items():
        if isinstance(first, FGSM):
            chosen[name] = (first.replaced(epsilon=epsilon),)
        elif isinstance(first, GradientAttack):
            chosen[name] = (first.replaced(**at(epsilon)).within(gradients),)
        else:
            raise ValueError(f"epsilon is of attacks that have one, such as pgd2; received {name}: leave it out")
    return chosen


def with_confidence(attacks: Preset, confidence: float) -> Preset:
    """The attacks, with successes that are wrong by so much, in logits.

    Raises:
        ValueError: an attack that knows no confidence, or a confidence that it refuses.
    """
    for name, variants in attacks.items():
        if not hasattr(variants[0], "confidence"):
            raise ValueError(f"confidence is of attacks that have one, such as fmn; received {name}: leave it out")
    return {name: tuple(one.replaced(confidence=confidence) for one in variants) for name, variants in attacks.items()}


def deciding(attacks: Preset, epsilons: tuple[float, ...]) -> Preset:
    """The attacks, of which `Standard` decides robust accuracy at these epsilons."""
    return {
        name: tuple(one.replaced(epsilons=epsilons) if isinstance(one, Standard) else one for one in variants)
        for name, variants in attacks.items()
    }
