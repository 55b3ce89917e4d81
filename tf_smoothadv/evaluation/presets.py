"""The attacks with their parameters: the paper's, and the ones that serve each attack best."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import tf_smoothadv as sa
from tf_smoothadv import checks
from tf_smoothadv.attacks import (
    ALMA,
    BP,
    DDN,
    FGSM,
    FMN,
    IFGSM,
    PGD2,
    Attack,
    CarliniWagner,
    NearestClasses,
    Standard,
    gradient,
)
from tf_smoothadv.evaluation.families import (
    DETECTOR,
    DIGITS,
    EYE,
    FAMILIES,
    NAMES,
    PAPER,
    PHOTOGRAPHS,
    SMALL,
    SMOOTHING,
    TEXTURE,
    TUNED,
    masking,
)

__all__ = ["ATTACKS", "ENTRIES", "LATER", "LEVELS", "MINIMAL_NORM", "Preset", "at", "label", "preset"]

Preset = dict[str, tuple[Attack, ...]]
Variants = tuple[Attack, ...]

LEVELS = 256  # of 8 bits
STEPS_TO_EPSILON = 4
GREEN, PINK = "#009E73", "#CC79A7"  # of Okabe and Ito's colours, which the colour-blind tell apart
GOLD = "#A89B00"  # their yellow, darker
WINE = "#882255"  # of Tol's


class Entry(NamedTuple):
    """All that the binaries know of an attack.

    Attributes:
        label: what figures call it.
        color, marker: its line in figures; the marker tells it in print without colours.
        tuned: by family of images, the best parameters found; several attacks are merged image by image (section 5.1).
        paper: by family, the paper's.
        transfer: by family, what is other where it has one setting and goes for a distortion of about 5 (section 5.4).
    """

    label: str
    color: str
    marker: str
    tuned: Mapping[str, Variants]
    paper: Mapping[str, Variants] = types.MappingProxyType({})
    transfer: Mapping[str, dict[str, Any]] = types.MappingProxyType({})


def _over(attack: Attack, epsilons: np.ndarray) -> Variants:
    """The same attack at several epsilons."""
    return tuple(attack.replaced(epsilon=epsilon) for epsilon in epsilons.tolist())


def _sixths(epsilon: float) -> np.ndarray:
    """From a sixth of an epsilon to all of it, as section 5.2 has them."""
    return np.linspace(epsilon / 6, epsilon, 6)


def at(epsilon: float) -> dict[str, Any]:
    """Settings of a gradient attack that spends all of one epsilon: the iterate of largest margin within it is kept."""
    return {
        "epsilon": epsilon,
        "step_size": epsilon / STEPS_TO_EPSILON,
        "binary_search_steps": 0,
        "keep": gradient.STRONGEST,
    }


def _minimal(
    name: str, label: str, markers: str, make: Callable[[sa.Smoothing | None, float, str], Attack]
) -> dict[str, Entry]:
    """The entries of an attack that searches the norm itself, with at most 100 gradients: plain and smooth.

    Args:
        name, label: of the plain one.
        markers: of both.
        make: from the smoothing, the step size and the loss. Smooth perturbations are larger and need longer steps: on
            photographs at alpha 0.9999, a step size of 0.2 leaves one of 183 without success.
    """
    latent = dataclasses.replace(SMOOTHING[DIGITS, TUNED], alpha=0.94)
    plain = {
        DIGITS: (make(None, 0.5, "cross_entropy"),),
        SMALL: (make(None, 0.1, "margin"),),
        PHOTOGRAPHS: (make(None, 0.2, "margin"),),
    }
    smooth = {
        DIGITS: (make(latent, 0.5, "cross_entropy"),),
        SMALL: (make(SMOOTHING[SMALL, TUNED], 0.2, "margin"),),
        PHOTOGRAPHS: (make(SMOOTHING[PHOTOGRAPHS, TUNED], 0.4, "margin"),),
    }
    return {
        name: Entry(label, GREEN, markers[0], plain),
        f"s{name}": Entry(f"s{label}", PINK, markers[1], smooth),
    }


def _masked(plain: Entry, name: str, own: Mapping[str, dict[str, float]] | None = None) -> Entry:
    """The entry of an attack under the masking of that name, with settings of its own if it has any; of a smooth
    one without emphasis of detail, which would undo the smoothing.
    """
    tuned = {}
    for family, (attack,) in plain.tuned.items():
        spec = masking(family, name)
        spec = dataclasses.replace(spec, emphasis=0.0) if getattr(attack, "smoothing", None) else spec
        tuned[family] = (attack.replaced(masking=spec, **(own or {}).get(family, {})),)
    return Entry(f"m{plain.label}", GOLD, plain.marker, tuned, transfer=plain.transfer)


# The paper's, section 5.2. Where it is silent: gamma as in the authors' demo, 100 steps and 9 constants for C&W as in
# their code, 10 steps for the gradient attacks. It has no small images: they have the parameters of its photographs.
_PIXELS = {DIGITS: 0.3, SMALL: 0.1255, PHOTOGRAPHS: 0.1255}
_NORM = 6.0
_PGD2 = PGD2(_NORM, 3.0, 10)
_CW = {
    family: CarliniWagner(100, 9, 0.1, learning_rate_decay=False, initial_const=const, confidence=confidence)
    for family, const, confidence in ((DIGITS, 15.0, 1.0), (SMALL, 100.0, 0.0), (PHOTOGRAPHS, 100.0, 0.0))
}
# Tuned: the gradient attacks bisect each image's epsilon and descend the margin where cross-entropy saturates. On
# photographs one step of Adam moves every pixel by the learning rate, on 268,203 of them a norm of 500 times as much,
# hence the small ones; many pixels are saturated, hence C&W's small border.
# The constant that it needs differs from network to network, hence each image's own on photographs. Smooth C&W on
# digits adds the penalty (14): without it the front of distortion and energy lies higher.
_TUNED_PGD2 = {
    DIGITS: PGD2(6.0, 1.5, 12, loss="margin", binary_search_steps=6),
    SMALL: PGD2(2.0, 0.3, 8, loss="margin", binary_search_steps=4),
    PHOTOGRAPHS: PGD2(3.0, 0.3, 8, loss="margin", binary_search_steps=4),
}
_TRANSFER_PGD2 = {DIGITS: at(5.1), SMALL: at(5.0), PHOTOGRAPHS: at(5.0)}
_TUNED_CW = CarliniWagner(steps=100, binary_search_steps=3, learning_rate=0.5, initial_const=1.0)
# Masked, Adam moves what a pixel changes in proportion to; plain w of (4), of which it changes by a quarter at most.
_MASKED_CW = {
    DIGITS: {"learning_rate": 0.05},
    SMALL: {"learning_rate": 0.002},
    PHOTOGRAPHS: {"learning_rate": 0.001, "initial_const": 0.3},
}
_FGSM, _IFGSM = FGSM(0.3), IFGSM(0.03, 0.003, 8, loss="margin", binary_search_steps=4)

ENTRIES: dict[str, Entry] = {
    "fgsm": Entry(
        "FGSM",
        "#999999",
        "o",
        {
            DIGITS: _over(_FGSM, np.linspace(0.01, 0.3, 30)),
            SMALL: _over(_FGSM, np.geomspace(0.001, 0.1255, 10)),
            PHOTOGRAPHS: _over(_FGSM, np.geomspace(0.001, 0.1255, 10)),
        },
        {family: _over(_FGSM, _sixths(_PIXELS[family])) for family in FAMILIES},
        {DIGITS: {"epsilon": 0.25}, SMALL: {"epsilon": 16 / 255}, PHOTOGRAPHS: {"epsilon": 3 / 255}},
    ),
    "ifgsm": Entry(
        "I-FGSM",
        "#E69F00",
        "s",
        {
            DIGITS: (IFGSM(0.3, 0.075, 12, loss="margin", binary_search_steps=6),),
            SMALL: (_IFGSM,),
            PHOTOGRAPHS: (_IFGSM,),
        },
        {family: _over(IFGSM(0.3, 0.08, 10), _sixths(_PIXELS[family])) for family in FAMILIES},
        {DIGITS: at(0.25), SMALL: at(16 / 255), PHOTOGRAPHS: at(3 / 255)},
    ),
    "pgd2": Entry(
        "PGD₂",
        "#0072B2",
        "^",
        {family: (attack,) for family, attack in _TUNED_PGD2.items()},
        {family: _over(_PGD2, _sixths(_NORM)) for family in FAMILIES},
        _TRANSFER_PGD2,
    ),
    "cw": Entry(
        "C&W",
        "#D55E00",
        "D",
        {
            DIGITS: (_TUNED_CW,),
            SMALL: (CarliniWagner(20, 3, learning_rate=0.005, initial_const=0.3, border=1e-3),),
            PHOTOGRAPHS: (CarliniWagner(20, 3, learning_rate=0.005, initial_const=0.0, border=1e-3),),
        },
        {family: (attack,) for family, attack in _CW.items()},
    ),
    "spgd2": Entry(
        "sPGD₂",
        "#56B4E9",
        "v",
        {family: (_TUNED_PGD2[family].replaced(smoothing=SMOOTHING[family, TUNED]),) for family in FAMILIES},
        {family: _over(_PGD2.replaced(smoothing=SMOOTHING[family, PAPER]), _sixths(_NORM)) for family in FAMILIES},
        _TRANSFER_PGD2,
    ),
    "scw": Entry(
        "sC&W",
        "#000000",
        "X",
        {
            DIGITS: (
                _TUNED_CW.replaced(
                    learning_rate=0.2,
                    smoothing=dataclasses.replace(SMOOTHING[DIGITS, TUNED], alpha=0.9),
                    smoothness_penalty=2.0,
                ),
            ),
            SMALL: (CarliniWagner(50, 2, learning_rate=0.02, initial_const=3.0, smoothing=SMOOTHING[SMALL, TUNED]),),
            PHOTOGRAPHS: (
                CarliniWagner(50, 2, learning_rate=0.01, initial_const=3.0, smoothing=SMOOTHING[PHOTOGRAPHS, TUNED]),
            ),
        },
        {family: (attack.replaced(smoothing=SMOOTHING[family, PAPER]),) for family, attack in _CW.items()},
    ),
    **_minimal("ddn", "DDN", "<>", lambda spec, step, loss: DDN(step_size=step, smoothing=spec, loss=loss)),
    **_minimal("fmn", "FMN", "P*", lambda spec, step, _: FMN(step_size=step, smoothing=spec)),
    **_minimal("bp", "BP", "ss", lambda spec, step, _: BP(step_size=step, smoothing=spec)),
    **_minimal("alma", "ALMA", "DD", lambda spec, step, _: ALMA(step_size=step, smoothing=spec)),
    **_minimal(  # FMN at each of three classes, with a third of the steps, each longer
        "nfmn",
        "FMN, nearest classes",
        "*P",
        lambda spec, step, _: NearestClasses(FMN(steps=30, step_size=2 * step, smoothing=spec)),
    ),
}

ENTRIES |= {f"m{name}": _masked(ENTRIES[name], TEXTURE) for name in ("pgd2", "spgd2")}
ENTRIES |= {f"m{name}": _masked(ENTRIES[name], EYE) for name in ("fmn", "sfmn")}
ENTRIES["mcw"] = _masked(ENTRIES["cw"], EYE, _MASKED_CW)
ENTRIES["standard"] = Entry("standard", WINE, "h", {family: (Standard(),) for family in FAMILIES})
ENTRIES["hfmn"] = _masked(ENTRIES["fmn"], DETECTOR)._replace(label="hFMN")

ATTACKS = tuple(name for name, entry in ENTRIES.items() if entry.paper)  # the paper's
# Published since then, and smooth or masked here; "tuned" has them.
_later = [name for name in ENTRIES if name not in ATTACKS]
LATER = tuple(sorted(_later, key=lambda name: (GREEN, GOLD, PINK, WINE).index(ENTRIES[name].color)))
MINIMAL_NORM = tuple(name for name in LATER if ENTRIES[name].color == GREEN)


def label(attack: str) -> str:
    """What an attack is called in figures; one that is not known, its name."""
    return ENTRIES[attack].label if attack in ENTRIES else attack


def preset(
    family: str, settings: str, attacks: Sequence[str], levels: int | None = None, gradients: int | None = None
) -> Preset:
    """The named attacks in the order given; several of one name are merged image by image (section 5.1).

    Args:
        family: of the images, see `families.family`.
        settings: one of NAMES.
        attacks: of ATTACKS, and of LATER where the settings are "tuned".
        levels: what every attack sees its images rounded to; None to leave them as computed.
        gradients: how many each takes, at most; None for what stands here.

    Raises:
        ValueError: unknown settings or attack, or none; fewer gradients than an attack needs for a step.
    """
    checks.one_of("settings", settings, NAMES)
    by_family = {name: getattr(entry, settings) for name, entry in ENTRIES.items()}
    known = {name: parameters[family] for name, parameters in by_family.items() if family in parameters}
    for name in attacks:
        checks.one_of("attack", name, tuple(known))
    delivery = levels and sa.Levels(levels)
    return {name: tuple(one.within(gradients).replaced(delivery=delivery) for one in known[name]) for name in attacks}
