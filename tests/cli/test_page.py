"""The sessions on the page about the command line are real ones: each command is run again in a network of its own."""

import doctest
import json
import re
import sys
from pathlib import Path

import pytest

from .. import namespace
from ..namespace import ROOT
from ..support import linux_only, needs_port_range
from .terminal import environment

PAGE = ROOT / "docs/command-line.md"
SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# In there a server that sends back what it gets listens on 127.0.0.1:5432, and one for HTTP on port 8000; else it is as
# empty as a new machine. A thousand connects may come upon the source port of an earlier connection; without
# tcp_tw_reuse they leave it in TIME_WAIT.
RUN = """
    import json, os, pathlib, socket, subprocess, sys
    from safeconnect import testing
    pathlib.Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("0")
    def answer(peer):
        path = peer.recv().partition(b" ")[2].partition(b" ")[0]
        status = {{b"/health": b"200 OK", b"/starting": b"503 Starting"}}.get(path, b"400 What")
        peer.sendall(b"HTTP/1.1 " + status + b"\\r\\nConnection: close\\r\\n\\r\\n")
    with testing.echo(port=5432), testing.serve(answer, port=8000):
        for command in json.loads({commands!r}):
            shell = ["sh", "-c", command]
            out = subprocess.PIPE
            done = subprocess.run(shell, stdout=out, stderr=subprocess.STDOUT, text=True, env={env!r}, timeout=60)
            print(json.dumps(done.stdout))
"""

pytestmark = [
    pytest.mark.slow,
    linux_only,
    needs_port_range,
    pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests"),
]


def sessions():
    """The commands on the page and what they print."""
    for block in SESSION.findall(PAGE.read_text()) if PAGE.exists() else ():
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


def comparable(text):
    """Without what differs from run to run: times, bars, counts of tries, the ports of clients."""
    text = re.sub(r"[\d.]+ (?:ms|s)\b", "TIME", text)
    text = re.sub(r"127\.0\.0\.1:[1-6]\d{4}\b(?<!:40000)", "CLIENT", text)
    text = re.sub(r"│ *━+ *│", "│BAR│", text)
    text = re.sub(r"(refused|connected) (once|\d+ times)", r"\1 N times", text)
    return re.sub(r" +", " ", text)


def test_every_command_prints_what_the_page_says():
    expected = list(sessions())
    assert len(expected) > 8
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    commands = json.dumps([command for command, _ in expected])
    printed = namespace.run(RUN.format(commands=commands, env=environment(PATH=path)), timeout=100).splitlines()
    for (command, wanted), got in zip(expected, map(json.loads, printed), strict=True):
        got_lines, wanted_lines = (comparable(text) for text in (got, wanted))
        matches = doctest.OutputChecker().check_output(wanted_lines, got_lines, doctest.ELLIPSIS)
        assert matches, f"{command} printed\n{got}\nin the place of\n{wanted}"
