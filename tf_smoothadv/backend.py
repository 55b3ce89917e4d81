"""Keras must run on TensorFlow, which is told when this is imported: before anything else imports Keras."""

from __future__ import annotations

import os

REMEDY = "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(f"tf_smoothadv needs Keras on TensorFlow; received {os.environ['KERAS_BACKEND']!r}: {REMEDY}")

import keras  # noqa: E402 (a backend that is not installed is an error of Keras's own)

if keras.backend.backend() != "tensorflow":  # by Keras's own file of settings
    raise ImportError(f"tf_smoothadv needs Keras on TensorFlow; received {keras.backend.backend()!r}: {REMEDY}")
