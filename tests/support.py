"""What several tests need: closed ports, listeners, a look into the kernel's tables."""

import contextlib
import functools
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest

from safeconnect import ephemeral_ports
from safeconnect._sockets import kernel
from safeconnect._sockets.lifecycle import reset  # noqa: F401 - for the tests

from .namespace import ROOT

IP_LOCAL_PORT_RANGE = 51
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
TIME_WAIT = 0x06

linux_only = pytest.mark.linux("it looks into Linux's /proc, or at what only Linux does")
needs_port_range = pytest.mark.skipif(
    not kernel.has_port_range(), reason="the kernel has no IP_LOCAL_PORT_RANGE (Linux 6.3)"
)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6 loopback address")
both_families = pytest.mark.parametrize(
    "family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)], ids=["IPv4", "IPv6"]
)


def one_port(port):
    """The socket option that leaves ``port`` as the only source port: a connect to it then meets itself."""
    value = port << 16 | port
    return (socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, value - (1 << 32) if value >= 1 << 31 else value)


def closed_port(parity=None):
    """A port inside the range of source ports that nobody uses, by default of the parity that connect() prefers."""
    ports = ephemeral_ports()
    parity = ports.first % 2 if parity is None else parity
    while True:
        port = random.choice(ports_of(ports, parity))
        with contextlib.suppress(OSError), socket.socket() as v4:
            v4.bind(("0.0.0.0", port))
            return port


def ports_of(ports, parity):
    return range(ports.first + (ports.first - parity) % 2, ports.last + 1, 2)


@contextlib.contextmanager
def listening(family=socket.AF_INET, host=None, port=0, backlog=128):
    with socket.create_server((host or LOOPBACK[family], port), family=family, backlog=backlog) as server:
        if not port and sys.platform == "linux" and has_company(server.getsockname()[1]):
            with listening(family, host, backlog=backlog) as another:
                yield another
            return
        yield server


@contextlib.contextmanager
def held_port():
    """A bound socket that does not listen: connects are refused until it does."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


@contextlib.contextmanager
def black_hole(count=None, host="127.0.0.1", port=0):
    """The address of a listener whose queue is full, so that connects are not answered; or ``count`` of them."""
    with contextlib.ExitStack() as stack:
        holes = [stack.enter_context(listening(host=host, port=port, backlog=0)) for _ in range(count or 1)]
        for hole in holes:
            filler = None
            while filler is None or select.select([], [filler], [], 0.05)[1]:
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0)
                filler.connect_ex(hole.getsockname())
        addresses = [hole.getsockname() for hole in holes]
        yield addresses if count else addresses[0]


def has_company(port):
    """Whether earlier connections to a listener's port are in TIME_WAIT: they would be counted with its own."""
    ends = list(tcp_table())
    return any(port == peer for _, peer, _ in ends) or sum(port == own for own, _, _ in ends) > 1


# Far above what is expected and far below what a failure takes: 250 ms is the attempt delay, 5 s the timeout.
SOON = 4.0


def resolver(*sockaddrs):
    """A resolver whose every name has these addresses."""

    def getaddrinfo(host, port, family=0, *_):
        families = [socket.AF_INET6 if len(sockaddr) == 4 else socket.AF_INET for sockaddr in sockaddrs]
        found = zip(families, sockaddrs, strict=True)
        return [(own, socket.SOCK_STREAM, 6, "", sockaddr) for own, sockaddr in found if family in (0, own)]

    return getaddrinfo


def ran_into(kind, call, *arguments, **settings):
    """The error that a call ends in, which must be of that class and no subclass of it."""
    with pytest.raises(kind) as caught:
        call(*arguments, **settings)
    assert type(caught.value) is kind
    return caught.value


def notes_of(error):
    """The notes without their durations."""
    return [re.sub(r"after [\d.]+ m?s", "after ...", note) for note in error.__notes__]


def wait_until(condition):
    """Wait for something that happens in another thread or in the kernel, 10 seconds at most."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.001)


@contextlib.contextmanager
def meanwhile(work):
    """Let a function run in a thread, and pass on what it raises."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    for error in raised:
        raise error


def in_threads(work, arguments):
    """Call a function in a thread for each of these arguments, and wait until all have returned."""
    with contextlib.ExitStack() as stack:
        for argument in arguments:
            stack.enter_context(meanwhile(functools.partial(work, argument)))


def timed(connect):
    began = time.monotonic()
    sock = connect()
    return sock, time.monotonic() - began


def serve_plainly(port, host="127.0.0.1", family=socket.AF_INET):
    """Bind and listen as servers do, with SO_REUSEADDR; OSError where something is in the way."""
    socket.create_server((host, port), family=family).close()


def descriptors():
    """The open descriptors of this process and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib would keep the directory open
        with contextlib.suppress(OSError):  # the one that the listing itself uses
            found[int(name)] = str(Path("/proc/self/fd", name).readlink())
    return found


def sockets():
    """The open sockets of this process, where there is /proc; else none."""
    return {what for what in descriptors().values() if what.startswith("socket:")} if sys.platform == "linux" else set()


def opened_since(before):
    return {number: what for number, what in descriptors().items() if number not in before}


def tcp_sockets(port, *, remote=False, peer=None):
    """The states of all TCP sockets of this network namespace whose own port, or whose peer's, is ``port``.

    With ``peer`` only those to that port: other tests may have connections from the same one.
    """
    wanted = ((ends[remote], ends[not remote], state) for *ends, state in tcp_table())
    return [state for near, far, state in wanted if near == port and peer in (None, far)]


def tcp_table():
    """All TCP sockets of this network namespace: own port, peer's port, state."""
    for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            local, remote, state = line.split()[1:4]
            yield int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16), int(state, 16)


def python(code, *, timeout=60, **settings):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
        **settings,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def in_a_child(work):
    """What a forked child returns (0: all right), after at most 10 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test's server are here
        pid = os.fork()
    if not pid:
        signal.alarm(10)
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
