"""Evaluations by Apache Beam: on all the cores of a machine, or on many machines."""

import logging


def _not_of_beam(record: logging.LogRecord) -> bool:
    return "apache_beam" not in record.pathname


logging.getLogger().addFilter(_not_of_beam)  # what it misses that nothing here needs

from tf_smoothadv.evaluation.beam.driver import referee, transfer, white_box  # noqa: E402
from tf_smoothadv.evaluation.beam.starting import Where  # noqa: E402

__all__ = ["Where", "referee", "transfer", "white_box"]
