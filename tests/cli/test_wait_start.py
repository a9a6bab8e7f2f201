"""What ``safeconnect wait`` loads before its first SYN."""

import json
import socket
import subprocess
import sys

import pytest

from safeconnect.cli import _wait

from ..support import linux_only
from .terminal import call

pytestmark = linux_only

CODE = """
from safeconnect import cli
status = cli.main(sys.argv[1:])
loaded = sorted(sys.modules)
import json
print(json.dumps([status, loaded]))
"""
# Each takes as long to load as several modules of this package.
SLOW = {"asyncio", "dataclasses", "inspect", "ipaddress", "json", "logging", "pathlib", "shutil", "ssl", "typing"}
if (3, 14) <= sys.version_info < (3, 15):  # argparse loads them there, for its colors
    SLOW -= {"dataclasses", "inspect"}
SLOW |= {"threading", "urllib", "unicodedata", "rich", "safeconnect.events", "safeconnect.cli._exchanges"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_one_target_loads_little(server, host):
    target = f"{host}:{server.getsockname()[1]}"
    # -S and -I: site-packages' own start-up files may import anything.
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{CODE}"
    command = [sys.executable, "-I", "-S", "-c", code, "wait", target]
    status, loaded = json.loads(subprocess.check_output(command, timeout=60, stderr=subprocess.DEVNULL))
    assert status == 0
    assert SLOW & set(loaded) == set()


def test_a_line_now_and_then_for_one_target(monkeypatch, down):
    monkeypatch.setattr(_wait, "REPORT_SECONDS", 0.01)
    told = call("wait", down, "-t", "0.5").stderr
    assert told.startswith(f"waiting for {down}, for up to ")
    assert f"\n{down} waiting for " in told


@pytest.mark.parametrize("seconds", ["0", "0.9"])
def test_the_only_try_tells_who_has_the_port(monkeypatch, server, seconds):
    def time_is_up(waiting, _):
        raise waiting._timed_out()

    monkeypatch.setattr(_wait, "pause", time_is_up)  # as on a busy machine
    with socket.create_connection(server.getsockname()) as client:
        port = client.getsockname()[1]
        told = call("wait", f"127.0.0.1:{port}", "-t", seconds).stderr
    assert f"\n  127.0.0.1:{port} is held by " in told
