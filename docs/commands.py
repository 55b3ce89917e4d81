"""Writes docs/commands.md, the binaries' own help: `python -m docs.commands`, or `make reference`."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PAGE = pathlib.Path(__file__).with_suffix(".md")
HEAD = """# Command line

`smoothadv NAME`, or from a checkout `python -m eval.NAME`; each as its `--help` tells, by `make reference`.
"""


def binaries() -> list[str]:
    """The names of the files of `eval` that are programs."""
    return sorted(path.stem for path in (ROOT / "eval").glob("*.py") if "__main__" in path.read_text())


def help_of(name: str) -> str:
    """What `--help` prints, under the first line of the file."""
    title = (ast.get_docstring(ast.parse((ROOT / "eval" / f"{name}.py").read_text())) or "").splitlines()[0]
    command = [sys.executable, "-m", f"eval.{name}", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    lines = [line.rstrip() for line in shown.strip().splitlines()]
    return f"\n## {name}\n\n{title}\n\n```text\n" + "\n".join(lines) + "\n```\n"


def page() -> str:
    """All of it."""
    return HEAD + "".join(map(help_of, binaries()))


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
