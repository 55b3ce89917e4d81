"""Runs binaries: `here` in this process; `outcomes` each in one of its own, forked from one that has TensorFlow.

To import it takes seconds, a run that is refused a tenth of one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from multiprocessing import connection
from typing import NamedTuple
from unittest import mock

from absl import logging

from models import console, loading

ROOT = pathlib.Path(__file__).parents[1]
IMPORTED = ("tf_smoothadv.evaluation.run", "tf_smoothadv.evaluation.rendering.report")

C4 = functools.cache(loading.c4)  # one for all runs, which share what is compiled for it


class Finished(NamedTuple):
    status: int
    stdout: str
    stderr: str


def here(module: str, *arguments: object, columns: int = 80) -> Finished:
    """What becomes of a command, with so many columns on the terminal."""
    binary = importlib.import_module(module)
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch.dict(os.environ, COLUMNS=str(columns)),
        mock.patch.object(loading, "c4", C4),
        mock.patch.object(logging.get_absl_handler().python_handler, "stream", errors),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        try:
            console.run(binary.main, binary.FLAGS, argv=[module, *map(str, arguments)])
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Finished(status, output.getvalue(), errors.getvalue())


def outcomes(commands: Sequence[Sequence[str]]) -> list[Finished]:
    """What becomes of each command: a module and its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": "80", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", "tests.many_runs", folder]
        text = json.dumps(commands)
        finished = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, env=environment)
        assert finished.returncode == 0, finished.stderr
        texts = [
            [pathlib.Path(folder, f"{number}.{stream}").read_text() for stream in ("stdout", "stderr")]
            for number in range(len(commands))
        ]
    return [Finished(status, *streams) for status, streams in zip(json.loads(finished.stdout), texts)]


def run(number: int, command: Sequence[str], folder: pathlib.Path) -> None:
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        os.dup2(os.open(folder / f"{number}.{name}", os.O_CREAT | os.O_WRONLY), stream.fileno())
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def main(folder: pathlib.Path) -> None:
    """Commands from stdin, what they print to the folder, their exit statuses to stdout."""
    commands = json.load(sys.stdin)
    for name in IMPORTED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    waiting = [context.Process(target=run, args=(*one, folder)) for one in enumerate(commands)]
    processes, running = list(waiting), []
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            running.append(waiting.pop(0))
            running[-1].start()
        connection.wait([process.sentinel for process in running])
        running = [process for process in running if process.is_alive()]
    print(json.dumps([process.exitcode for process in processes]))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
