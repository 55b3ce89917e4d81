"""The binaries: run them from a checkout, as in `python -m eval.white_box --help`."""

import os

# TensorFlow's notices about devices that a machine does not have would bury what a binary has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
