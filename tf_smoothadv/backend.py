"""What is set before Keras starts: that it runs on TensorFlow, or an error, before anything else imports Keras."""

from __future__ import annotations

import os
import pathlib
import sys

if sys.argv and pathlib.PurePath(sys.argv[0]).stem == "smoothadv":  # `eval` is too late: TensorFlow comes before it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

REMEDY = "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(f"tf_smoothadv needs Keras on TensorFlow; received {os.environ['KERAS_BACKEND']!r}: {REMEDY}")

import keras  # noqa: E402 (a backend that is not installed is an error of Keras's own)

if keras.backend.backend() != "tensorflow":  # by Keras's own file of settings
    raise ImportError(f"tf_smoothadv needs Keras on TensorFlow; received {keras.backend.backend()!r}: {REMEDY}")
