"""How the project's binaries start and fail: a wrong input is one line on stderr and exit status 2."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def run(main: Callable[..., None], takes_arguments: bool = False) -> None:
    """Parses the flags and runs `main`, if `takes_arguments` with the list of what is no flag."""

    def guarded(argv: list[str]) -> None:
        try:
            if takes_arguments:
                main(argv[1:])
            elif len(argv) > 1:
                raise ValueError(f"unexpected arguments: {' '.join(argv[1:])}")
            else:
                main()
        except (ValueError, OSError) as error:
            if FLAGS.debug:
                raise
            fail(error)

    app.run(guarded, flags_parser=parsed)


def parsed(argv: list[str]) -> list[str]:
    """What is no flag; the others are parsed then."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        fail(f"{error}; --help tells the flags")


def fail(what: object) -> NoReturn:
    """Ends the process with one line."""
    print("error:", " ".join(str(what).splitlines()), file=sys.stderr)
    sys.exit(2)


def output_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """The folder that a binary writes to, made if it is not there.

    Raises:
        ValueError: it cannot be made, or nothing can be written there.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}; name another folder") from error
    return folder
