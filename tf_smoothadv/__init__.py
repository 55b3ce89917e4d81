"""Smooth adversarial examples for TensorFlow and Keras."""

from tf_smoothadv import backend as backend  # isort: skip (before anything that imports Keras)

import importlib
from typing import Any

from tf_smoothadv import addons, attacks, criteria, defenses, detection, magnification, metrics, protocol, transfer
from tf_smoothadv.attacks import AttackResult
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.delivery import Levels
from tf_smoothadv.detection import Detectability, detectability
from tf_smoothadv.ensemble import Ensemble
from tf_smoothadv.front import Front, front
from tf_smoothadv.inspection import check, without_softmax
from tf_smoothadv.jpeg import Jpeg
from tf_smoothadv.magnification import magnify
from tf_smoothadv.masking import Masker, Masking
from tf_smoothadv.protocol import evaluate
from tf_smoothadv.resizing import Resized
from tf_smoothadv.rounding import deliver
from tf_smoothadv.smoothing import GuidedSmoothing, Smoother, Smoothing
from tf_smoothadv.version import __version__
from tf_smoothadv.visibility import Visibility, visibility

__all__ = [
    "AttackResult",
    "Classifier",
    "Detectability",
    "Ensemble",
    "Front",
    "GuidedSmoothing",
    "Jpeg",
    "Levels",
    "Masker",
    "Masking",
    "Resized",
    "Smoother",
    "Smoothing",
    "Visibility",
    "__version__",
    "addons",
    "attacks",
    "check",
    "criteria",
    "defenses",
    "deliver",
    "detectability",
    "detection",
    "evaluate",
    "evaluation",
    "front",
    "load_results",
    "magnification",
    "magnify",
    "metrics",
    "plots",
    "protocol",
    "transfer",
    "visibility",
    "without_softmax",
]

# What needs the extra `eval` is imported when it is asked for.
_LATER = {
    "evaluation": "tf_smoothadv.evaluation.run",
    "load_results": "tf_smoothadv.evaluation.dataframe",
    "plots": "tf_smoothadv.evaluation.rendering.plots",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_LATER[name])
    except ImportError as error:
        raise ImportError(f"sa.{name} needs {error.name}: pip install 'tf_smoothadv[eval]'") from error
    if name == "evaluation":
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(module, name, module)
