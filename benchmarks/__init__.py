"""Speed: the smoothing against other solvers, the attacks against the bare gradient and against other libraries."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
