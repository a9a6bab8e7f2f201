"""``safeconnect run``: replace this process by a Python program whose connects are safe."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import _run as run_package
from .._run.activation import OFF, VARIABLE
from .._run.settings import chosen, read, written
from .._run.traces import append
from . import FAILED, replace_with
from ._console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_WRONG_USAGE = 2
_SETTINGS = ("timeout", "retry", "attempt_timeout", "keepalive", "user_timeout", "memory", "clients", "trace")
_SUFFIXES = (".py", ".pyw", ".pyz")
_PATH = str(Path(run_package.__path__[0], "path").absolute())  # holds our sitecustomize


def run(arguments: argparse.Namespace) -> int:
    """Run the program in this process's place."""
    console = Console()
    try:
        settings = _settings(arguments, os.environ)
    except ValueError as error:
        console.messages.line(f"safeconnect: {VARIABLE}: {error}")
        return _WRONG_USAGE
    trace = settings.get("trace", "stderr")
    if trace != "stderr":
        settings["trace"] = trace = str(Path(trace).absolute())
        try:
            append(trace, b"")
        except OSError as error:
            console.messages.line(f"safeconnect: the trace cannot be written: {error}")
            return FAILED
    return replace_with(_command(arguments.command), environment(os.environ, settings), console.messages)


def _settings(arguments: argparse.Namespace, before: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the environment, changed to those of the command line.

    :raises ValueError: those of the environment are wrong.
    """
    text = before.get(VARIABLE, "").strip()
    settings = {} if text in OFF else read(text)
    given = {name.replace("_", "-"): getattr(arguments, name) for name in _SETTINGS}
    settings |= {name: value for name, value in given.items() if value is not None}
    chosen(settings)
    return settings


def environment(before: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with which a Python program connects safely."""
    paths = before.get("PYTHONPATH")
    # An empty entry is the working directory; an empty variable is none.
    rest = [path for path in paths.split(os.pathsep) if path != _PATH] if paths else []
    return {**before, VARIABLE: written(settings), "PYTHONPATH": os.pathsep.join([_PATH, *rest])}


def _command(words: Sequence[str]) -> Sequence[str]:
    """Return the command to run: a module or a Python file takes an interpreter, which is this one."""
    if words[0] == "-m":
        return [sys.executable, *words]
    return [sys.executable, *words] if _needs_python(words[0]) else words


def _needs_python(name: str) -> bool:
    """Return True for a Python file that the kernel would not run, or not find."""
    path = Path(name)
    try:
        if path.suffix not in _SUFFIXES or not path.is_file():
            return False
        if os.sep not in name or not os.access(path, os.X_OK):
            return True
        with path.open("rb") as file:
            return file.read(2) != b"#!"
    except PermissionError:  # the kernel may run what cannot be read, and says why not
        return False
