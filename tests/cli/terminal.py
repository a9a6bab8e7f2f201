"""Commands in this process, as a program runs them, and as a person does: in a pseudo-terminal of their own."""

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from unittest import mock

from safeconnect import cli

from ..namespace import ROOT

PROGRAM = (sys.executable, "-m", "safeconnect")
# Libraries that the extra `cli` brings, as if they were not installed.
_WITHOUT = "import sys; sys.modules.update(rich=None, psutil=None, shtab=None); "
WITHOUT_EXTRAS = (sys.executable, "-c", f"{_WITHOUT}from safeconnect.cli import main; sys.exit(main())")
_SECONDS = 60
# For a command that is interrupted: a signal that strikes in coverage's own code leaves its lock taken, for good.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
# What a child runs first: the terminal becomes its own, so that Ctrl-C in it reaches the child.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(**changes):
    """This process's without what would change the output, and with these changes."""
    changing = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONUNBUFFERED")
    left = {name: value for name, value in os.environ.items() if name not in changing}
    return {**left, "TERM": "xterm-256color", "http_proxy": "http://127.0.0.1:9", **changes}


def written(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def call(*arguments, **changes):
    """Run it in this process, to its end: `run` is for what takes a process, such as CMD, signals and streams."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**changes), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = cli.main(arguments)
        except SystemExit as ended:
            status = ended.code or 0
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def run(*arguments, program=PROGRAM, **changes):
    """Run it without a terminal, to its end."""
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env=environment(**changes),
    )


def start(*arguments, program=PROGRAM, **changes):
    """Start it without a terminal; who calls waits for its end."""
    return subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env=environment(**changes),
    )


class Terminal:
    """A command in a terminal: what it shows, and keys for it. As a context it is gone at the end."""

    def __init__(self, *arguments, program=PROGRAM, **changes):
        self._master, slave = os.openpty()
        self.shown = ""
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TAKE_TERMINAL, *program, *arguments],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                cwd=ROOT,
                env=environment(**changes),
            )
        finally:
            os.close(slave)

    def see(self, text):
        """Wait until it has shown the text; gives all that it has shown, without colours and the like."""
        until = time.monotonic() + _SECONDS
        while text not in self.text and self._read(until):
            pass
        assert text in self.text, f"{text!r} was not shown, but {self.text!r}"
        return self.text

    def press(self, keys):
        os.write(self._master, keys)

    def end(self):
        """Wait for its end; gives its exit status."""
        until = time.monotonic() + _SECONDS
        while self._read(until):
            pass
        return self.process.wait(max(until - time.monotonic(), 1))

    @property
    def text(self):
        return _CONTROL.sub("", self.shown).replace("\r\n", "\n")

    def _read(self, until):
        """Whether there may be more."""
        ready, _, _ = select.select([self._master], [], [], max(until - time.monotonic(), 0))
        assert ready, f"nothing more was shown after {self.text!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the terminal any more
            return False
        self.shown += data.decode()
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
