"""The paper's networks."""

from models import slim
from models.c4 import c4
from models.files import fingerprint
from models.imagenet import application, inception_v3, resnet_v2_50
from models.inspection import check, without_softmax
from models.loading import FORMS, load, load_all

__all__ = [
    "FORMS",
    "application",
    "c4",
    "check",
    "fingerprint",
    "inception_v3",
    "load",
    "load_all",
    "resnet_v2_50",
    "slim",
    "without_softmax",
]
