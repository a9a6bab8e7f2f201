"""CPython's own tests pass with safeconnect installed, each name in an interpreter of its own."""

import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RUNNER = Path(__file__).with_name("stdlib_suite.py")
NAMES = runpy.run_path(str(RUNNER))["NAMES"]
# The tests that regrtest runs with -u walltime take another minute.
WHOLE = ("--use=walltime",) if os.environ.get("SAFECONNECT_WHOLE_STDLIB") == "1" else ()
FIGURES = re.compile(
    r"^(?P<name>\S+): (?P<verdict>[\w ]+): (?P<run>\d+) run, (?P<failures>\d+) failures, (?P<errors>\d+) errors, "
    r"(?P<skipped>\d+) skipped, (?P<connects>\d+) connects, ",
    re.MULTILINE,
)
NOTHING_RAN = 5


def has_tests(module):
    try:
        return find_spec(f"test.{module}") is not None
    except ModuleNotFoundError:
        return False


def run(*arguments, path=None):
    """What the runner did, and all that it printed, for the messages of asserts."""
    # The runner sees the safeconnect that this process sees, installed or not.
    places = [*([str(path)] if path else []), str(RUNNER.parent.parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    command = [sys.executable, str(RUNNER), *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    return done, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"


def skip_without_tests(module):
    if not has_tests(module):
        pytest.skip(f"this interpreter comes without test.{module}")


@pytest.mark.parametrize("name", NAMES)
def test_passes_with_safeconnect_installed(name):
    skip_without_tests(name.partition(".")[0])
    done, output = run(*WHOLE, name)
    if done.returncode == NOTHING_RAN:
        pytest.skip(done.stdout.partition("\n  skipped: ")[2].strip())
    figures = FIGURES.search(done.stdout)
    assert figures, output
    assert done.returncode == 0, output
    assert (figures["name"], figures["verdict"]) == (name, "ok"), output
    assert "ours: " not in done.stdout, output
    assert int(figures["run"]) > int(figures["failures"]) + int(figures["errors"]), output
    assert int(figures["connects"]) > 0, output


SAMPLE = """
import socket, sys, unittest
from test import support

def connect():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()

class Sample(unittest.TestCase):
    def test_good(self):
        connect()

    def test_body(self):
        BODY
"""
OURS = "assert not socket.create_connection.__module__.startswith('safeconnect')"
# An event without a socket: nothing leaves this machine, even were the runner to let it pass.
LEAVES = "sys.audit('socket.connect', None, ('192.0.2.1', 9))"


@pytest.mark.parametrize(
    ("name", "body", "code", "verdict", "line"),
    [
        ("sample", "pass", 0, "ok", "2 run, 0 failures"),
        ("sample", "self.fail()", 0, "ok", "baseline: sample.Sample.test_body"),
        ("sample", OURS, 1, "FAILED", "ours: sample.Sample.test_body"),
        ("sample", "socket.create_connection = print", 1, "REPLACED", ""),
        ("sample", LEAVES, 1, "LEFT LOOPBACK", "baseline: sample.Sample.test_body"),
        ("sample.Sample.test_body", "pass", 1, "NOT EXERCISED", "1 run, 0 failures, 0 errors, 0 skipped, 0 connects"),
        (
            "sample",
            "pass\n\nsupport.requires('network')",
            NOTHING_RAN,
            "skipped",
            "skipped: Use of the 'network' resource not enabled",
        ),
    ],
)
def test_tells_whose_failure_it_is(tmp_path, *, name, body, code, verdict, line):
    skip_without_tests("support")
    (tmp_path / "sample.py").write_text(SAMPLE.replace("BODY", body), encoding="utf-8")
    done, output = run(name, path=tmp_path)
    assert done.returncode == code, output
    assert FIGURES.search(done.stdout)["verdict"] == verdict, output
    assert line in done.stdout, output
