"""The paper's networks."""

from models import slim
from models.c4 import c4
from models.loading import load

__all__ = ["c4", "load", "slim"]
