"""Connects as Winsock reports them: under way is EWOULDBLOCK, and select() has failed ones in its third set only."""

import errno
import select
import selectors
import socket

import pytest

from safeconnect import testing

from ..drivers import blocking, on_a_loop_without_writers

# The selectors of event loops are the standard library's and trio's.
DRIVERS = pytest.mark.parametrize("connect", [blocking, on_a_loop_without_writers], ids=["selector", "proactor"])


def is_connected(sock):
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


@pytest.fixture
def failed(monkeypatch, on_platform):
    """Make it Windows; lists the sockets whose connects were reported as failed."""
    reported, real = [], select.select

    class Winsock(socket.socket):
        def connect_ex(self, address):
            code = super().connect_ex(address)
            return errno.EWOULDBLOCK if code == errno.EINPROGRESS else code

    def winsock_select(readers, writers, excepted, timeout=None):
        # select() of Linux has both in the second set.
        readable, ended, _ = real(readers, writers, [], timeout)
        numbers = {each if isinstance(each, int) else each.fileno(): each for each in ended}
        good = []
        for number, each in numbers.items():
            sock = socket.socket(fileno=number)
            (good if is_connected(sock) else reported).append(each)
            sock.detach()
        return readable, good, [each for each in reported if each in excepted]

    def selector_select(self, readers, writers, _, timeout=None):
        readable, writable, failed = winsock_select(readers, writers, writers, timeout)
        return readable, writable + failed, []

    on_platform("win32")
    monkeypatch.delattr(selectors, "PollSelector")
    monkeypatch.setattr(selectors.SelectSelector, "_select", selector_select)  # as on Windows
    monkeypatch.setattr(select, "select", winsock_select)
    monkeypatch.setattr(socket, "socket", Winsock)
    return reported


@pytest.fixture
def closed():
    with testing.refused() as fault:
        yield fault.address


@DRIVERS
def test_refused(closed, failed, connect):
    with pytest.raises(ConnectionRefusedError):
        connect(closed, 60, trace=lambda *_: None)
    assert len(failed) == 1


@DRIVERS
def test_connected(address, failed, connect):
    with connect(address, 60, trace=lambda *_: None) as sock:
        assert sock.getpeername() == address
    assert failed == []
