"""Evaluations over folders of images and results; needs the extra `eval`."""
