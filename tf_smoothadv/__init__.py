"""Smooth adversarial examples for TensorFlow and Keras."""

from tf_smoothadv import backend as backend  # isort: skip (before anything that imports Keras)

from tf_smoothadv import addons, attacks, criteria, defenses, magnification, protocol, tradeoff, transfer
from tf_smoothadv.attacks import AttackResult
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.magnification import magnify
from tf_smoothadv.smoothing import GuidedSmoothing, Smoother, Smoothing
from tf_smoothadv.tradeoff import front
from tf_smoothadv.version import __version__

__all__ = [
    "AttackResult",
    "Classifier",
    "GuidedSmoothing",
    "Smoother",
    "Smoothing",
    "__version__",
    "addons",
    "attacks",
    "criteria",
    "defenses",
    "front",
    "magnification",
    "magnify",
    "protocol",
    "tradeoff",
    "transfer",
]
