"""The paper's networks."""

from models import slim
from models.c4 import c4
from models.imagenet import application, inception_v3, resnet_v2_50
from models.loading import FORMS, load, load_all, load_classifiers
from tf_smoothadv.inspection import check, num_classes, without_softmax
from tf_smoothadv.loading import fingerprint, import_module

__all__ = [
    "FORMS",
    "application",
    "c4",
    "check",
    "fingerprint",
    "import_module",
    "inception_v3",
    "load",
    "load_all",
    "load_classifiers",
    "num_classes",
    "resnet_v2_50",
    "slim",
    "without_softmax",
]
