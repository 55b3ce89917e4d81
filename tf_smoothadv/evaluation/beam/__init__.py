"""White-box evaluation by Apache Beam: on all the cores of a machine, or on many machines."""

from tf_smoothadv.evaluation.beam.driver import LOCAL, evaluate

__all__ = ["LOCAL", "evaluate"]
