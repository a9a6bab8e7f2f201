"""Without a free descriptor nothing can be asked: that is no answer, and nothing of it is remembered."""

import errno
import os
import socket
import sys
from contextlib import contextmanager

import pytest

from safeconnect import create_connection, ephemeral_ports, reserved_ports
from safeconnect._host import holders, tcp_table
from safeconnect._sockets import kernel, other_systems, port_window
from safeconnect.cli import _ports
from safeconnect.doctor import diagnose, gather, gathering
from safeconnect.testing import _namespaces as namespaces

from .. import namespace
from ..support import linux_only, listening, ran_into

pytestmark = linux_only


@contextmanager
def descriptors(free):
    """Let this process open so many more."""
    import resource

    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(free + 1)]
    highest = held[-1]  # below it all numbers are taken but those that are closed now
    for number in held:
        os.close(number)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def asked_afresh():
    kernel.forget()
    yield
    kernel.forget()


def test_the_source_ports_are_a_guess_for_once():
    code = """
        import socket
        from tests.connect.test_scarce import descriptors
        from safeconnect import create_connection, ephemeral_ports, reserved_ports
        from safeconnect._sockets import port_window, kernel
        from safeconnect._sockets.spare_ports import spare_ports
        server = socket.create_server(("127.0.0.1", 30000))
        "".encode("ascii"), "".encode("idna")
        with descriptors(0):
            print(ephemeral_ports(), ephemeral_ports(refresh=True), len(spare_ports()), kernel.is_told())
        with descriptors(1):
            sock = create_connection(("127.0.0.1", 30000), 5)
            windows = (*port_window._stock.windows, *port_window._stock.prefetched)
            print(40000 <= sock.getsockname()[1] <= 40010, kernel.is_told(), windows)
        print(ephemeral_ports(), kernel.source_ports(), kernel.is_told())
        with descriptors(0):
            print(ephemeral_ports(refresh=True))
    """
    printed = namespace.run(code, ports="40000 40010").splitlines()
    guess = "32768-60999"
    assert printed == [f"{guess} {guess} 4536 False", "True False ()", "40000-40010 40000-40010 True", "40000-40010"]


def test_a_command_that_cannot_be_run(asked_afresh, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert other_systems._run("true") == ""
    with descriptors(0):
        error = ran_into(OSError, other_systems._run, "true")
    assert error.errno == errno.EMFILE


def test_a_connect_with_one_descriptor(asked_afresh):
    with listening() as server, descriptors(1):
        sock = create_connection(server.getsockname(), 5)
        deck = list(port_window._stock.prefetched)
    sock.close()
    assert deck == []
    assert ephemeral_ports() == kernel.told_range()
    assert reserved_ports() == kernel._read_reserved()


def test_whose_sockets_they_are():
    with listening() as server:
        port = server.getsockname()[1]
        mine = [each for each in tcp_table.sockets() if each.local == server.getsockname()]
        assert [owner.pid for owner in tcp_table.owners(mine)[mine[0]]] == [os.getpid()]
        told = OSError()
        with descriptors(0):
            error = ran_into(OSError, tcp_table.owners, mine)
            nobody = ran_into(OSError, tcp_table._name, os.getpid())
            holders.tell_port(told, port)
    assert error.errno == nobody.errno == errno.EMFILE
    assert told.__notes__ == [f"who holds port {port}? Too many open files"]


def test_whether_there_is_ipv6():
    with descriptors(0):
        known = gathering.is_own(("::1", 0))
        error = ran_into(OSError, _ports.every_address)
    assert known is None
    assert error.errno == errno.EMFILE


def test_namespaces_are_tried_again():
    if namespaces.namespaces_unavailable() is not None:
        pytest.skip("there are no namespaces here")
    namespaces._first_failure.cache_clear()
    with descriptors(3):
        reason = namespaces.namespaces_unavailable()
    assert reason.startswith(namespaces.UNTRIED)
    assert "Too many open files" in reason
    assert namespaces.namespaces_unavailable() is None


def test_what_the_doctor_says():
    gather()  # has loaded what it needs
    namespaces._first_failure.cache_clear()
    with descriptors(4):
        snapshot = gather(("127.0.0.1", 1))
    found = {finding.code: finding for finding in diagnose(snapshot)}
    assert snapshot.host.user_namespaces is None
    assert snapshot.host.no_user_namespaces_because.startswith(gathering._UNTRIED)
    assert snapshot.host.descriptors_free == 4
    assert "user-namespaces-off" not in found
    assert found["descriptors-exhausted"].severity == "warning"


def test_what_the_doctor_says_with_none(asked_afresh):
    gather()
    kernel.forget()
    namespaces._first_failure.cache_clear()
    with descriptors(0):
        snapshot = gather(("127.0.0.1", 1))
    (error,) = [finding for finding in diagnose(snapshot) if finding.code == "descriptors-exhausted"]
    assert error.severity == "error"
    assert snapshot.host.descriptors_free == 0
    assert snapshot.source_ports.first is None
    assert snapshot.names.ipv6_loopback is None
    assert snapshot.no_table_because == "Too many open files"
    assert [attempt.outcome for attempt in snapshot.target.attempts] == ["failed"]


def test_processes_that_cannot_be_looked_at(monkeypatch):
    def fail(_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with socket.create_server(("127.0.0.1", 0)):
        monkeypatch.setattr(tcp_table, "owners", fail)
        snapshot = gather()
    assert (snapshot.table, snapshot.listening.listeners) == (None, None)
    assert snapshot.no_table_because == "Too many open files"
