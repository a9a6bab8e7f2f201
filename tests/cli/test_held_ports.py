"""A plain client that is connected to itself holds a server's port: every command says so, and who it is."""

import json
import re

import pytest

from .. import namespace
from ..support import linux_only, needs_port_range
from .terminal import PROGRAM, environment

pytestmark = [linux_only, needs_port_range, pytest.mark.slow]

# The only source port is 40000, so a plain connect to it meets itself; then other programs have source ports again.
WORLD = """
    import os, socket, subprocess, sys
    from pathlib import Path
    from safeconnect._host import tcp_table

    name = Path("/proc/self/comm").read_text().strip()
    client = socket.create_connection(("127.0.0.1", 40000))
    assert client.getsockname() == client.getpeername()
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 49999")
    {then}
    done = subprocess.run([*{program!r}, *{arguments!r}], text=True, capture_output=True, env={environment!r})
    me = f"{{name}} (process {{os.getpid()}})"
    print(done.stdout.replace(me, "ME").replace(f"kill {{os.getpid()}}", "kill PID"), "---", sep="\\n")
    print(done.stderr.replace(me, "ME"), done.returncode, sep="\\n")
"""
OVER = "client.close()"
RESET = "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4)); client.close()"
SERVED = f"{RESET}; server = socket.create_server(('127.0.0.1', 40000))"

HELD = "127.0.0.1:40000 is held by ME, ESTABLISHED, connected to itself"
WAITS = "127.0.0.1:40000 is in TIME_WAIT for up to 60 s, once connected to itself"


def in_world(*arguments, then=""):
    """What a command prints there, its messages, and its exit status."""
    code = WORLD.format(then=then, program=PROGRAM, arguments=arguments, environment=environment())
    printed, _, rest = namespace.run(code, ports="40000 40000").partition("\n---\n")
    messages, _, status = rest.rstrip().rpartition("\n")
    return printed, messages, int(status)


@pytest.mark.parametrize(("then", "line"), [("", HELD), (OVER, WAITS)], ids=["held", "TIME_WAIT"])
class TestEveryCommand:
    def test_wait(self, then, line):
        _, messages, status = in_world("wait", "127.0.0.1:40000", "--timeout", "0", then=then)
        assert status == 124
        assert f"Connection refused\n  {line}\n" in messages
        printed, _, _ = in_world("wait", "localhost:40000", "--timeout", "0", "--json", "-q", then=then)
        assert json.loads(printed)["targets"][0]["notes"][-1] == line

    def test_connect(self, then, line):
        printed, _, status = in_world("connect", "127.0.0.1:40000", then=then)
        assert status == 1
        assert printed.rstrip().endswith(f"\n  {line}")
        printed, _, _ = in_world("connect", "127.0.0.1:40000", "--json", then=then)
        assert json.loads(printed)["notes"][-1] == line

    def test_connect_often(self, then, line):
        printed, _, status = in_world("connect", "localhost:40000", "--repeat", "3", then=then)
        assert (status, printed.splitlines()[-2:]) == (1, ["3 x [Errno 111] Connection refused", f"  {line}"])
        printed, _, _ = in_world("connect", "127.0.0.1:40000", "--repeat", "2", "--json", then=then)
        assert json.loads(printed)["notes"] == [line]

    def test_ports(self, then, line):
        note = f"note: {line}, which keeps servers from the port; what to do: `safeconnect doctor 127.0.0.1:40000`\n"
        _, messages, status = in_world("ports", then=then)
        assert (messages, status) == (note, 0)
        assert in_world("ports", "40000", then=then)[1:] == (note, 0)
        (told,) = json.loads(in_world("ports", "--json", then=then)[0])["self_connected"]
        assert (told["host"], told["port"], len(told["owners"])) == ("127.0.0.1", 40000, line == HELD)

    def test_doctor(self, then, line):
        printed, _, status = in_world("doctor", "127.0.0.1:40000", then=then)
        assert status == 1
        first = re.search(r"^findings\n  error: (.*)\n    (.*)\n    - (.*)$", printed, re.MULTILINE).groups()
        if line == HELD:
            assert first == (
                "The target's port is held by a socket that does not listen [target-port-held]",
                "port 40000 is held by ME, ESTABLISHED, connected to itself (127.0.0.1:40000): end it",
                "end it, kill PID; the port is then in TIME_WAIT for up to 60 s",
            )
        else:
            assert first[0] == "The target's port is in TIME_WAIT [target-port-in-time-wait]"
            assert first[1].startswith("port 40000 is in TIME_WAIT for up to 60 s, once connected to itself")
            assert first[2].startswith("wait, at most 60 s; SO_REUSEADDR on the server helps only if")
        assert re.search(rf"^  has the port +{re.escape(line)}$", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("target", "then"), [("127.0.0.1:40000", RESET), ("127.0.0.1:40002", ""), ("192.0.2.1:40000", "")], ids=str
)
def test_nothing_is_said_of_other_places(target, then):
    for command in (["wait", target, "--timeout", "0"], ["connect", target, "--timeout", "0.1"], ["doctor", target]):
        printed, messages, status = in_world(*command, then=then)
        assert status != 0
        assert "connected to itself" not in (printed + messages).replace("connects to itself", "")
        assert "target-port" not in printed


class TestOnePort:
    def test_a_server_with_its_connections(self):
        then = f"{SERVED}; one = socket.create_connection(('127.0.0.1', 40000), source_address=('127.0.0.1', 40007))"
        printed, messages, status = in_world("ports", "40000", then=then)
        assert (messages, status) == ("", 0)
        head, *rows = (re.split(" {2,}", row) for row in printed.splitlines() if row)
        assert head == ["state", "local", "remote", "process"]
        assert rows == [
            ["LISTEN", "127.0.0.1:40000", "-", "ME"],
            ["ESTABLISHED", "127.0.0.1:40000", "127.0.0.1:40007", "-"],  # nobody has accepted it
            ["ESTABLISHED", "127.0.0.1:40007", "127.0.0.1:40000", "ME"],
        ]
        told = json.loads(in_world("ports", "40007", "--json", then=then)[0])
        assert (told["port"], told["exit_status"]) == (40007, 0)
        first, second = told["sockets"]
        assert (first["local"], first["remote"]) == (
            {"host": "127.0.0.1", "port": 40007},
            {"host": "127.0.0.1", "port": 40000},
        )
        assert (second["local"], second["owners"]) == (first["remote"], [])
        assert [each["state"] for each in told["sockets"]] == ["ESTABLISHED"] * 2

    def test_nobody(self):
        printed, messages, status = in_world("ports", "80")
        assert (printed.strip(), status) == ("none", 0)
        assert messages.startswith("note: no socket has port 80 as its own, unless one is bound and ")
        assert json.loads(in_world("ports", "80", "--json")[0])["sockets"] == []


def test_a_server_that_is_up_is_not_in_its_own_way():
    printed, _, status = in_world("doctor", "127.0.0.1:40000", then=SERVED)
    assert status == 0
    assert "target-port" not in printed
