"""The command `smoothadv`: the binaries of `eval/`, where the library is installed without a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
from typing import Any

__all__ = ["called", "main"]

BINARIES = (
    "photo",
    "white_box",
    "beam",
    "transfer",
    "front",
    "study",
    "referee",
    "deliver",
    "detect",
    "blind",
    "report",
    "export",
    "figures",
    "magnify",
    "merge",
)
EXTRAS = {"beam": "beam"}  # of pip's names, that a binary needs beside `eval`
PARTS = {"models": "_models", "eval": "_eval"}  # packages beside the library in a checkout, inside it in the wheel

USAGE = f"""\
usage: smoothadv BINARY [--flags] [arguments]

    smoothadv white_box --model=net.keras --dataset=folder --data=photographs
    smoothadv report results/white_box

The binaries are {", ".join(BINARIES)}; smoothadv BINARY --help tells what each does.
"""


def main(argv: list[str] | None = None) -> None:
    """Runs the binary that the first argument names.

    Args:
        argv: the command's name and its arguments; by default those of the process.
    """
    argv = sys.argv if argv is None else argv
    if len(argv) < 2 or argv[1] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return
    if argv[1] not in BINARIES:
        print(f"error: {argv[1]!r} is none of {', '.join(BINARIES)}; smoothadv --help tells more", file=sys.stderr)
        sys.exit(2)
    _place_parts()
    try:
        binary = importlib.import_module(f"eval.{argv[1]}")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(argv[1], "eval")
        print(f"error: smoothadv {argv[1]} needs {error.name}: pip install 'tf_smoothadv[{extra}]'", file=sys.stderr)
        sys.exit(2)
    console = importlib.import_module("models.console")
    console.run(binary.main, binary.FLAGS, argv=[f"{argv[0]} {argv[1]}", *argv[2:]])


def called(module: str, function: str, *arguments: Any) -> Any:
    """What a function of `eval` or `models` returns, in a process that has not imported it yet.

    Args:
        module: as "models.loading".
        function: its name there.
        arguments: which it is called with.
    """
    _place_parts()
    return getattr(importlib.import_module(module), function)(*arguments)


def _place_parts() -> None:
    """Makes `eval` and `models` importable: those inside the library of a wheel, or those beside it in a checkout."""
    library = pathlib.Path(__file__).parent
    for name, inner in PARTS.items():
        folder = library / inner if (library / inner).exists() else library.parent / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if name in sys.modules or spec is None or spec.loader is None:
            continue
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
