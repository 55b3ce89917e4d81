"""How the project's binaries start and fail: a wrong input is one line on stderr and exit status 2."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags, logging


def run(
    main: Callable[..., None],
    values: flags.FlagValues,
    argv: list[str] | None = None,
) -> None:
    """Parses the flags and runs `main`, with the list of what is no flag if it takes one.

    Args:
        main: of the binary, whose file's docstring --help shows.
        values: its flags.
        argv: the command's name and its arguments; by default those of the process.
    """
    if "debug" not in values:
        flags.DEFINE_bool("debug", False, "Show the traceback of an error.", flag_values=values)
    if "help" not in values:
        flags.DEFINE_bool("help", False, "Show this.", flag_values=values, short_name="?")
        flags.DEFINE_bool("helpshort", False, "Show this.", flag_values=values)
    flags.FLAGS.mark_as_parsed()  # absl's own, as they stand
    values.unparse_flags()  # a binary that is run again has its defaults again
    logging.use_absl_handler()
    arguments = parsed(values, sys.argv if argv is None else argv)[1:]
    if _asks_for_help(values):
        print(f"\n{inspect.getdoc(inspect.getmodule(main))}\n\nflags:\n{_explained(values)}")
        return
    try:
        if inspect.signature(main).parameters:
            main(arguments)
        elif arguments:
            raise ValueError(f"unexpected arguments: {' '.join(arguments)}")
        else:
            main()
    except (ValueError, OSError) as error:
        if values.debug:
            raise
        _fail(error)


def parsed(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """What is no flag; the others are parsed then."""
    try:
        arguments: list[str] = values(argv)
        return arguments
    except flags.Error as error:
        if _asks_for_help(values):  # without what is required
            return []
        _fail(f"{error}; --help tells the flags")


def _asks_for_help(values: flags.FlagValues) -> bool:
    return bool(values["help"].value or values["helpshort"].value)


def _explained(values: flags.FlagValues) -> str:
    """What each flag is for, but for those of absl itself."""
    text = values.get_help(include_special_flags=False)
    return "\n".join(line for line in text.splitlines() if not (line and not line[0].isspace()))


def _fail(what: object) -> NoReturn:
    """Ends the process with one line."""
    print("error:", " ".join(str(what).splitlines()), file=sys.stderr)
    sys.exit(2)
