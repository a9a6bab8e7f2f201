"""The scripts of this folder do what users want to do, with nothing but what the documentation says.

Each is run as a user runs it. Each is also run where the library does not do its part: then it must fail.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .. import namespace
from ..support import has_ipv6

pytestmark = pytest.mark.linux("some jobs need namespaces, a shell, or 127.0.0.2")

JOBS = Path(__file__).parent
MODULE = f'"{sys.executable}" -m safeconnect'
COMMAND = f'exec {MODULE} "$@"'

# Commands that do not do their part.
AT_ONCE = 'while test "$1" != --; do shift; done; shift; exec "$@"'
PLAINLY = 'shift; exec "$@"'
ONE_PORT_FOR_ALL = 'shift 2; PORT=18999 exec "$@"'
FREE_PORTS = f'shift 2; exec {MODULE} ports --release -- "$@"'
NO_NAMES = f'command=$1; shift; exec {MODULE} "$command" --no-retry-names "$@"'
BLIND = 'case "$1" in ports) echo "{\\"sockets\\": []}";; *) exec ' + MODULE + ' "$@";; esac'
CONTENT = 'case "$1" in doctor) echo "{\\"findings\\": []}";; *) exec ' + MODULE + ' "$@";; esac'

WITHOUT_REDIS = f'shift; exec {MODULE} run --clients urllib3 "$@"'

# Functions that do not do their part.
PLAIN_CONNECT = """
import safeconnect, socket
safeconnect.create_connection = lambda address, timeout, **settings: socket.create_connection(address, timeout)
"""
PLAIN_ASYNCIO = """
import asyncio, safeconnect.asyncio
async def open_connection(address, *, timeout):
    async with asyncio.timeout(timeout):
        return await asyncio.open_connection(*address)
safeconnect.asyncio.open_connection = open_connection
"""
PLAIN_LINK = """
import safeconnect, socket
class PersistentConnection:
    def __init__(self, address):
        self.address, self.sock = address, None
    def run(self, ask, timeout):
        self.sock = self.sock or socket.create_connection(self.address, timeout)
        return ask(self)
    def sendall(self, data):
        self.sock.sendall(data)
    def recv_exactly(self, size):
        return self.sock.recv(size)
safeconnect.PersistentConnection = PersistentConnection
"""
NEVER_CLOSED = "import safeconnect; safeconnect.peer_closed = lambda sock: False"
NOTHING_UNREAD = "import safeconnect; safeconnect.unread_bytes = lambda sock: 0"
ALL_ADDRESSES = "import safeconnect; safeconnect.is_global_address = lambda ip: True"
PLAIN_ADAPTER = """
import requests.adapters, safeconnect.integrations.requests
safeconnect.integrations.requests.HTTPAdapter = lambda connector: requests.adapters.HTTPAdapter()
"""


@pytest.fixture
def call(tmp_path):
    """A function that runs a command, in a folder of its own; `safeconnect` is a command there."""
    script = tmp_path / "bin/safeconnect"
    script.parent.mkdir()

    def run(*command, safeconnect=COMMAND):
        script.write_text(f"#!/bin/sh\n{safeconnect}\n")
        script.chmod(0o755)
        env = {name: value for name, value in namespace.surroundings().items() if not name.lower().endswith("_proxy")}
        path = os.pathsep.join([str(script.parent), str(Path(sys.executable).parent), env["PATH"]])
        return subprocess.run(
            command, env=env | {"PATH": path}, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
        )

    return run


@pytest.fixture
def job(call):
    """A function that runs a script in Python, after code that breaks something."""

    def run(name, broken="", **settings):
        code = f"{broken}\nimport runpy, sys\nrunpy.run_path(sys.argv[1], run_name='__main__')"
        flags = ["-X", "dev", "-W", "error::ResourceWarning"]
        script = str(JOBS / name)
        return call(sys.executable, *flags, *(["-c", code] if broken else []), script, **settings)

    return run


def check_it_works(done):
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def check_it_fails(done, reason):
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    assert reason in done.stdout + done.stderr


@functools.cache
def no_mounts():
    """Why this process cannot have an /etc/hosts of its own, or None."""
    if namespace.unavailable():
        return namespace.unavailable()
    if not Path("/etc/nsswitch.conf").exists() or not shutil.which("unshare"):
        return "there is no unshare(1) or no nsswitch.conf"
    command = ["unshare", "-rm", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    return done.stderr if done.returncode else None


@pytest.fixture
def host(tmp_path):
    """A function that gives the start of a command: the rest is run on a host with these names and source ports."""
    if no_mounts():
        pytest.skip(no_mounts())
    hosts, switch = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    switch.write_text("hosts: files\n")
    mount = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'
    enter = "import os, sys; from tests import namespace; namespace.enter(sys.argv[1], None)"
    enter += "; os.execvp(sys.argv[2], sys.argv[2:])"

    def start(*lines, ports="32768 60999"):
        hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        names = ["unshare", "-rm", "sh", "-c", mount, "sh", str(hosts), str(switch)]
        return [*names, sys.executable, "-c", enter, ports]

    return start


class TestStartOrder:
    def test_it_works(self, call, host):
        check_it_works(call(*host(), "sh", str(JOBS / "start_order.sh")))

    @pytest.mark.parametrize(("safeconnect", "reason"), [(NO_NAMES, "can never be up"), (AT_ONCE, "program\n")])
    def test_it_can_fail(self, call, host, safeconnect, reason):
        check_it_fails(call(*host(), "sh", str(JOBS / "start_order.sh"), safeconnect=safeconnect), reason)


class TestRunUnchanged:
    @pytest.fixture
    def run(self, call, host):
        for package in ("redis", "requests"):
            pytest.importorskip(package, reason=f"{package} is not installed")
        if not shutil.which("redis-server"):
            pytest.skip("redis-server is not installed")
        where = host("127.0.0.1 web", "127.0.0.2 web", ports="40000 40007")
        return functools.partial(call, *where, sys.executable, str(JOBS / "run_unchanged.py"))

    def test_it_works(self, run):
        check_it_works(run())

    @pytest.mark.parametrize(
        ("safeconnect", "reason"),
        [(PLAINLY, "the dead address cost the whole timeout"), (WITHOUT_REDIS, "the program had Redis's port")],
    )
    def test_it_can_fail(self, run, safeconnect, reason):
        check_it_fails(run(safeconnect=safeconnect), reason)

    def test_the_program_knows_nothing_of_us(self):
        code = (JOBS / "unchanged_program.py").read_text().partition('"""\n')[2]
        assert "safeconnect" not in code


class TestLateServer:
    def test_it_works(self, job):
        check_it_works(job("late_server.py"))

    def test_it_can_fail(self, job):
        check_it_fails(job("late_server.py", PLAIN_CONNECT), "ConnectionRefusedError")


@pytest.mark.skipif(not has_ipv6(), reason="the name has an IPv6 address, and this host has none")
class TestFailover:
    def test_it_works(self, job):
        check_it_works(job("failover.py"))

    def test_it_can_fail(self, job):
        check_it_fails(job("failover.py", PLAIN_ASYNCIO), "TimeoutError")


class TestServerRestart:
    def test_it_works(self, job):
        check_it_works(job("server_restart.py"))

    def test_it_can_fail(self, job):
        check_it_fails(job("server_restart.py", PLAIN_LINK), "assert connection.run(ask, timeout=10) == pid")


class TestParallelPorts:
    def test_it_works(self, job):
        check_it_works(job("parallel_ports.py"))

    @pytest.mark.parametrize(
        ("safeconnect", "reason"),
        [(ONE_PORT_FOR_ALL, "both have the same port"), (FREE_PORTS, "another program could take the port")],
    )
    def test_it_can_fail(self, job, safeconnect, reason):
        check_it_fails(job("parallel_ports.py", safeconnect=safeconnect), reason)


class TestFaultsInPytest:
    @pytest.fixture
    def run(self, call, tmp_path):
        shutil.copy(JOBS / "faults_in_pytest.py", tmp_path / "test_client.py")
        return functools.partial(call, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_client.py")

    def test_it_works(self, run):
        done = run()
        check_it_works(done)
        assert "4 passed" in done.stdout

    def test_it_can_fail(self, run, tmp_path):
        """Every fault is a server that works."""
        lines = ["import pytest"]
        for name in ("refused", "blackhole"):
            lines += ["@pytest.fixture", f"def safeconnect_{name}(safeconnect_echo): return safeconnect_echo"]
        lines += ["@pytest.fixture", "def safeconnect_half_closes_factory(safeconnect_echo):"]
        lines += ["    return lambda data: safeconnect_echo"]
        (tmp_path / "conftest.py").write_text("\n".join(lines))
        check_it_fails(run(), "3 failed, 1 passed")


class TestPortInUse:
    def test_it_works(self, job):
        check_it_works(job("port_in_use.py"))

    @pytest.mark.parametrize(
        ("safeconnect", "reason"), [(BLIND, '(found,) = safeconnect("ports"'), (CONTENT, '"target-port-held" in codes')]
    )
    def test_it_can_fail(self, job, safeconnect, reason):
        check_it_fails(job("port_in_use.py", safeconnect=safeconnect), reason)


class TestPool:
    def test_it_works(self, job):
        check_it_works(job("pool.py"))

    @pytest.mark.parametrize("broken", [NEVER_CLOSED, NOTHING_UNREAD])
    def test_it_can_fail(self, job, broken):
        check_it_fails(job("pool.py", broken), "assert pool.ask(")


class TestUserUrls:
    @pytest.fixture(autouse=True)
    def needs_requests(self):
        pytest.importorskip("requests", reason="requests is not installed")

    def test_it_works(self, job):
        check_it_works(job("user_urls.py"))

    @pytest.mark.parametrize("broken", [ALL_ADDRESSES, PLAIN_ADAPTER])
    def test_it_can_fail(self, job, broken):
        check_it_fails(job("user_urls.py", broken), "AssertionError: 127.0.0.1")
