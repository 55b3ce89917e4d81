"""White-box evaluation by Apache Beam: on all the cores of a machine, or on many machines."""

import logging


def _not_of_beam(record: logging.LogRecord) -> bool:
    return "apache_beam" not in record.pathname


logging.getLogger().addFilter(_not_of_beam)  # what it misses that nothing here needs

from tf_smoothadv.evaluation.beam.driver import evaluate  # noqa: E402

__all__ = ["evaluate"]
