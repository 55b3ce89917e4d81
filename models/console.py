"""How the project's binaries start and fail: a wrong input is one line on stderr and exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

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
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    app.run(guarded)
