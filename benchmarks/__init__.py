"""Speed: the smoothing against other solvers, the attacks against the bare gradient and against other libraries."""
