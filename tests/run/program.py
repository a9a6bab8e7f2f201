"""Programs that know nothing of the library, run under it; what their connects did is in a trace."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import safeconnect

from ..namespace import ROOT

START = str(Path(safeconnect.__file__).parent / "_run/path")
_PACKAGE = Path(safeconnect.__file__).parent
LINE = next(path for path in (_PACKAGE / "_run/startup.pth", _PACKAGE.with_suffix(".pth")) if path.exists())  # wheel's
RUN = (sys.executable, "-m", "safeconnect", "run")
_SECONDS = 60


def environment(settings="1", *paths, **changes):
    """An environment in which Python starts as below `safeconnect run`, without one more process."""
    paths = [START, *map(str, paths), str(ROOT)]
    return {**os.environ, "SAFECONNECT": settings, "PYTHONPATH": os.pathsep.join(paths), **changes}


def plainly(**changes):
    """The environment of a shell in which nobody has set anything."""
    left = {name: value for name, value in os.environ.items() if name != "SAFECONNECT"}
    return {**left, "PYTHONPATH": str(ROOT), **changes}


def call(*command, env, **settings):
    """Run a command to its end."""
    settings = {"cwd": ROOT} | settings
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=_SECONDS, check=False, **settings)


def python(code, *arguments, env, **settings):
    """What Python prints that runs the code; nothing goes wrong."""
    done = call(sys.executable, "-c", textwrap.dedent(code), *arguments, env=env, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class Trace:
    """A file of JSON lines, to which programs append."""

    def __init__(self, path):
        self.path = path

    @property
    def setting(self):
        return f'trace="{self.path}"'

    def records(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def to(self, port):
        """The records of connects to a port of 127.0.0.1 that have succeeded."""
        return [each for each in self.records() if each["peer"] == f"127.0.0.1:{port}" and each["connected"]]
