"""Puts `eval` and `models` inside the package of a wheel, where the command `smoothadv` looks for them."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

PARTS = {"eval": "_eval", "models": "_models"}


class BuildWithParts(build_py):
    """Copies them where a wheel is built; an editable one has them beside it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder, inner in PARTS.items():
                target = pathlib.Path(self.build_lib, "tf_smoothadv", inner)
                shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithParts})
