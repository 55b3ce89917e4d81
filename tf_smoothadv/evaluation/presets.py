"""The attacks with their parameters: the paper's, and the ones that serve each attack best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    optimizers,
)
from tf_smoothadv.front import over_alpha

Preset = dict[str, tuple[Attack, ...]]

NAMES = ("tuned", "paper")
ATTACKS = ("fgsm", "ifgsm", "pgd2", "cw", "spgd2", "scw")  # the paper's
MINIMAL_NORM = ("ddn", "fmn", "bp", "alma", "nfmn")  # the last is FMN aimed at the nearest classes
LEVELS = 256  # of 8 bits
# Published since then, and smooth here; "tuned" has them.
LATER = tuple(smooth + name for smooth in ("", "s") for name in MINIMAL_NORM)


class Look(NamedTuple):
    """How an attack is shown: what it is called, its colour, and its marker in print without colours."""

    label: str
    color: str
    marker: str


LOOKS = {  # Okabe and Ito's colours, which the colour-blind tell apart
    "fgsm": Look("FGSM", "#999999", "o"),
    "ifgsm": Look("I-FGSM", "#E69F00", "s"),
    "pgd2": Look("PGD₂", "#0072B2", "^"),
    "cw": Look("C&W", "#D55E00", "D"),
    "spgd2": Look("sPGD₂", "#56B4E9", "v"),
    "scw": Look("sC&W", "#000000", "X"),
    "ddn": Look("DDN", "#009E73", "<"),
    "fmn": Look("FMN", "#009E73", "P"),
    "bp": Look("BP", "#009E73", "s"),
    "alma": Look("ALMA", "#009E73", "D"),
    "nfmn": Look("FMN, nearest classes", "#009E73", "*"),
    "sddn": Look("sDDN", "#CC79A7", ">"),
    "sfmn": Look("sFMN", "#CC79A7", "*"),
    "sbp": Look("sBP", "#CC79A7", "s"),
    "salma": Look("sALMA", "#CC79A7", "D"),
    "snfmn": Look("sFMN, nearest classes", "#CC79A7", "P"),
}


def label(attack: str) -> str:
    """What an attack is called in figures; one that is not known, its name."""
    return LOOKS[attack].label if attack in LOOKS else attack


def mnist_smoothing(settings: str) -> sa.Smoothing:
    """The smoothing of the smooth attacks on MNIST; its graph measures the energy of every attack of a run."""
    if settings == "paper":
        return sa.Smoothing(alpha=0.95, gamma=10.0, solver="dense")
    return sa.Smoothing(alpha=0.95, gamma=3.0, tol=1e-2)


def paper(smoothing: sa.Smoothing, largest_pixel: float, initial_const: float, confidence: float) -> Preset:
    """Section 5.2. Where it is silent: gamma as in the authors' demo, 100 steps and 9 constants for C&W as in their
    code, 10 steps for the gradient attacks, and targets from a sixth of the given epsilon to all of it.
    """
    pixels = np.linspace(largest_pixel / 6, largest_pixel, 6).tolist()
    norms = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    cw = CarliniWagner(
        100, 9, learning_rate=0.1, learning_rate_decay=False, initial_const=initial_const, confidence=confidence
    )
    return {
        "fgsm": tuple(FGSM(epsilon) for epsilon in pixels),
        "ifgsm": tuple(IFGSM(epsilon, 0.08, 10) for epsilon in pixels),
        "pgd2": tuple(PGD2(epsilon, 3.0, 10) for epsilon in norms),
        "cw": (cw,),
        "spgd2": tuple(PGD2(epsilon, 3.0, 10, smoothing) for epsilon in norms),
        "scw": (dataclasses.replace(cw, smoothing=smoothing),),
    }


def mnist_paper() -> Preset:
    """What section 5.2 gives for C4."""
    return paper(mnist_smoothing("paper"), largest_pixel=0.3, initial_const=15.0, confidence=1.0)


def mnist_tuned() -> Preset:
    """Settings for C4: the gradient attacks bisect each image's epsilon; both C&W take 300 gradients.

    The gradient attacks descend the margin where cross-entropy saturates. Smooth C&W adds the penalty (14): without it
    the front of distortion and energy lies higher.
    """
    smoothing = mnist_smoothing("tuned")
    latent = dataclasses.replace(smoothing, alpha=0.9)
    pgd2 = PGD2(6.0, 1.5, 12, loss="margin", binary_search_steps=6)
    cw = CarliniWagner(steps=100, binary_search_steps=3, learning_rate=0.5, initial_const=1.0)
    return {
        "fgsm": tuple(FGSM(epsilon) for epsilon in np.linspace(0.01, 0.3, 30).tolist()),
        "ifgsm": (IFGSM(0.3, 0.075, 12, loss="margin", binary_search_steps=6),),
        "pgd2": (pgd2,),
        "cw": (cw,),
        "spgd2": (dataclasses.replace(pgd2, smoothing=smoothing),),
        "scw": (dataclasses.replace(cw, learning_rate=0.2, smoothing=latent, smoothness_penalty=2.0),),
        **minimal_norm(
            dataclasses.replace(smoothing, alpha=0.94), loss="cross_entropy", step_size=0.5, smooth_step_size=0.5
        ),
    }


def minimal_norm(smoothing: sa.Smoothing, loss: str, step_size: float, smooth_step_size: float) -> Preset:
    """Attacks of 100 gradients that search the norm itself; the loss is DDN's.

    FMN is also aimed at three classes, with a third of the steps, each longer.
    """
    preset: Preset = {}
    for prefix, spec, step in (("", None, step_size), ("s", smoothing, smooth_step_size)):
        attacks: dict[str, Attack] = {
            "ddn": DDN(step_size=step, smoothing=spec, loss=loss),
            "fmn": FMN(step_size=step, smoothing=spec),
            "bp": BP(step_size=step, smoothing=spec),
            "alma": ALMA(step_size=step, smoothing=spec),
            "nfmn": NearestClasses(FMN(steps=30, step_size=2 * step, smoothing=spec)),
        }
        preset |= {f"{prefix}{name}": (attack,) for name, attack in attacks.items()}
    return preset


def imagenet_smoothing(settings: str) -> sa.Smoothing:
    """As `mnist_smoothing`, on photographs."""
    if settings == "paper":
        return sa.Smoothing(alpha=0.997, gamma=10.0, solver="cg", iterations=50)
    return sa.Smoothing(alpha=0.997, gamma=10.0, iterations=25)


def imagenet_paper() -> Preset:
    """What section 5.2 gives for InceptionV3 and ResNetV2-50."""
    return paper(imagenet_smoothing("paper"), largest_pixel=0.1255, initial_const=100.0, confidence=0.0)


def imagenet_tuned() -> Preset:
    """Settings for photographs: about 35 gradients for the attacks that search epsilon, 60 for C&W, 100 for smooth C&W.

    One step of Adam moves every pixel by the learning rate: on 268,203 of them that is a norm of 500 times as much,
    hence the small ones here. Many pixels of a photograph are saturated, hence C&W's small border. What is smooth is
    longer, hence the longer steps: with 0.2 one photograph of 183 does not get there at alpha 0.9999.
    """
    smoothing = imagenet_smoothing("tuned")
    pgd2 = PGD2(3.0, 0.3, 8, loss="margin", binary_search_steps=4)
    cw = CarliniWagner(20, 3, learning_rate=0.003, initial_const=0.3, border=1e-3)
    scw = CarliniWagner(50, 2, learning_rate=0.01, initial_const=3.0, smoothing=smoothing)
    return {
        "fgsm": tuple(FGSM(epsilon) for epsilon in np.geomspace(0.001, 0.1255, 10).tolist()),
        "ifgsm": (IFGSM(0.03, 0.003, 8, loss="margin", binary_search_steps=4),),
        "pgd2": (pgd2,),
        "cw": (cw,),
        "spgd2": (dataclasses.replace(pgd2, smoothing=smoothing),),
        "scw": (scw,),
        **minimal_norm(smoothing, loss="margin", step_size=0.2, smooth_step_size=0.4),
    }


PRESETS = {
    ("mnist", "paper"): mnist_paper,
    ("mnist", "tuned"): mnist_tuned,
    ("imagenet", "paper"): imagenet_paper,
    ("imagenet", "tuned"): imagenet_tuned,
}


def preset(
    dataset: str, settings: str, attacks: Sequence[str], levels: int | None = None, gradients: int | None = None
) -> Preset:
    """The named attacks in the order given; several of one name are merged image by image (section 5.1).

    Args:
        dataset: "mnist", or any other for photographs.
        settings: one of NAMES.
        attacks: of ATTACKS, and of LATER where the settings are "tuned".
        levels: what every attack sees its images rounded to; None to leave them as computed.
        gradients: how many each takes, at most; None for what stands here.

    Raises:
        ValueError: unknown settings or attack, or none; fewer gradients than an attack needs for a step.
    """
    checks.one_of("settings", settings, NAMES)
    family = "mnist" if dataset == "mnist" else "imagenet"
    known = PRESETS[family, settings]()
    for name in attacks:
        checks.one_of("attack", name, tuple(known))
    return {
        name: tuple(variant.within(gradients).replaced(levels=levels) for variant in known[name]) for name in attacks
    }


def front(
    dataset: str, settings: str, attacks: Sequence[str], alphas: Sequence[float], gradients: int | None = None
) -> Preset:
    """The named attacks at each alpha, by names such as "fmn-0.97", with the rounding to 8 bits inside.

    Args:
        dataset: see `preset`.
        settings: "tuned".
        attacks: of MINIMAL_NORM.
        alphas: bandwidths of (6), in [0, 1); 0 is plain.
        gradients: how many each takes, at most.

    Raises:
        ValueError: other settings, unknown attacks or alphas, or none.
    """
    checks.one_of("settings", settings, NAMES[:1])
    smoothing = reference(dataset, settings)
    chosen: Preset = {}
    for name in attacks:
        checks.one_of("attack", name, MINIMAL_NORM)
        ((plain,), (smooth,)) = preset(dataset, settings, [name, f"s{name}"], LEVELS, gradients).values()
        variants = over_alpha(smooth, alphas, smoothing).values()
        chosen |= {f"{name}-{alpha:g}": (variant if alpha else plain,) for alpha, variant in zip(alphas, variants)}
    return chosen


def transfer(dataset: str, settings: str, attacks: Sequence[str], levels: int | None = None) -> Preset:
    """`preset` with one setting an attack, as section 5.4 asks: the gradient attacks at one epsilon, without a search.

    They go for a distortion of about 5, as in table 3. On digits the border of [0, 1] takes some of it: epsilon 0.25,
    and 6 for PGD2. On photographs of 299 x 299 x 3 it is 2.5 grey levels in every pixel, of which 8 bits make 2 or 3:
    3, with which I-FGSM comes nearest, and 5 for PGD2. A step is as long as epsilon: the attacks keep the least
    distorted success of their iterates, which after a shorter step would be the first, well below the target. C&W
    and what searches the norm have no target and stay as they are.

    Args and Raises: see `preset`.
    """
    pixel, norm = (0.25, 6.0) if dataset == "mnist" else (3 / 255, 5.0)
    ifgsm = {"epsilon": pixel, "step_size": pixel, "binary_search_steps": 0}
    pgd2 = {"epsilon": norm, "step_size": norm, "binary_search_steps": 0}
    replaced: dict[str, dict[str, float]] = {"fgsm": {"epsilon": pixel}, "ifgsm": ifgsm, "pgd2": pgd2, "spgd2": pgd2}
    return {
        name: (variants[0].replaced(**replaced.get(name, {})),)
        for name, variants in preset(dataset, settings, attacks, levels).items()
    }


def reference(dataset: str, settings: str) -> sa.Smoothing:
    """The smoothing whose graph measures the energy of every attack of a run."""
    return mnist_smoothing(settings) if dataset == "mnist" else imagenet_smoothing(settings)


def described(variants: Sequence[Attack]) -> dict[str, Any]:
    """The parameters of attacks that run under one name; a parameter in which they differ is a list.

    What JSON can hold: an optimiser is given by its name.
    """
    configs = [
        {field.name: plain(getattr(attack, field.name)) for field in dataclasses.fields(attack)} for attack in variants
    ]
    values = {key: [config[key] for config in configs] for key in configs[0]}
    merged = {
        key: column[0] if all(value == column[0] for value in column) else column for key, column in values.items()
    }
    return {"attack": type(variants[0]).__name__, **merged}


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, Attack):
        return described([value])
    if isinstance(value, sa.Smoothing):
        return dataclasses.asdict(value)
    return optimizers.name_of(value) if callable(value) else value
