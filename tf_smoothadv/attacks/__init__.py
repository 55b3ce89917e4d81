"""White-box attacks, each plain or smooth by `smoothing=`."""

from tf_smoothadv.attacks.augmented_lagrangian import ALMA
from tf_smoothadv.attacks.carlini_wagner import CarliniWagner
from tf_smoothadv.attacks.core import Attack, AttackResult
from tf_smoothadv.attacks.gradient import FGSM, IFGSM, PGD2
from tf_smoothadv.attacks.minimal_norm import BP, DDN, FMN
from tf_smoothadv.attacks.nearest_classes import NearestClasses
from tf_smoothadv.attacks.square import Square
from tf_smoothadv.attacks.standard import Standard

__all__ = [
    "ALMA",
    "BP",
    "DDN",
    "FGSM",
    "FMN",
    "IFGSM",
    "PGD2",
    "Attack",
    "AttackResult",
    "CarliniWagner",
    "NearestClasses",
    "Square",
    "Standard",
]
