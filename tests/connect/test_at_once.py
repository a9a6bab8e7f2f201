"""The first attempt in an event loop: what seldom happens to it, and that nothing of it is lost."""

import asyncio
import errno
import socket
from typing import ClassVar

import pytest

from safeconnect._connect import at_once
from safeconnect._connect.asyncio import AsyncioRace
from safeconnect._connect.settings import Settings
from safeconnect._sockets import kernel, port_window

from ..support import closed_port, linux_only, needs_port_range

pytestmark = linux_only

PLAIN = Settings()


def begin(address, settings=PLAIN, timeout=None):
    async def main():
        return at_once.begin(AsyncioRace, asyncio.get_running_loop().time, settings, address, timeout)

    return asyncio.run(main())


def first_of(address):
    """The socket or the error that a race is to go on with, and the race."""
    race = begin(address)
    assert isinstance(race, AsyncioRace)
    return race.first, race


@pytest.fixture
def default_timeout():
    socket.setdefaulttimeout(3)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.parametrize("settings", [PLAIN, Settings(options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])])
def test_the_socket_does_not_block(server, settings, default_timeout):
    with begin(server.getsockname(), settings) as sock:
        assert sock.gettimeout() == 0
        assert sock.type == socket.SOCK_STREAM
        assert sock.getpeername() == server.getsockname()


def test_refused():
    error, race = first_of(("127.0.0.1", closed_port(1)))
    assert type(error) is ConnectionRefusedError
    assert error.__traceback__ is None
    race.close()


def test_under_way(hole):
    sock, race = first_of(hole)
    with pytest.raises(OSError, match="not connected") as caught:
        sock.getpeername()
    assert caught.value.errno == errno.ENOTCONN
    race.close()
    assert sock.fileno() == -1


def test_no_descriptor_left(monkeypatch, server):
    class Fails(socket.socket):
        def __init__(self, *_):
            raise OSError(errno.EMFILE, "too many")

        def __del__(self):
            """Nothing was opened."""

    monkeypatch.setattr(socket, "socket", Fails)
    made = at_once.begin(AsyncioRace, lambda: 0.0, PLAIN, server.getsockname(), None)
    assert isinstance(made, AsyncioRace)
    assert made.first.errno == errno.EMFILE
    made.close()


class Odd(socket.socket):
    """A socket whose calls end as the class says."""

    opened: ClassVar = []
    raises: ClassVar = {}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.opened.append(self)

    def connect_ex(self, address):
        if "connect_ex" in self.raises:
            raise self.raises["connect_ex"]
        return super().connect_ex(address)

    def getsockname(self):
        if "getsockname" in self.raises:
            raise self.raises.pop("getsockname")
        return super().getsockname()

    def setsockopt(self, *args):
        if "setsockopt" in self.raises:
            raise self.raises.pop("setsockopt")
        return super().setsockopt(*args)


@pytest.fixture
def odd(monkeypatch, server):
    """The class of all sockets but the server's, which are kept."""
    monkeypatch.setattr(Odd, "opened", [])
    monkeypatch.setattr(Odd, "raises", {})
    monkeypatch.setattr(socket, "socket", Odd)
    return Odd


@pytest.mark.parametrize("call", ["connect_ex", "getsockname", "setsockopt"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_interrupted(odd, server, call, error):
    if call == "setsockopt" and not kernel.has_port_range():
        pytest.skip("this kernel has no port range per socket, so setsockopt() is not called")
    odd.raises[call] = error
    with pytest.raises(type(error)):
        at_once.begin(AsyncioRace, lambda: 0.0, PLAIN, server.getsockname(), None)
    assert [sock.fileno() for sock in odd.opened] == [-1]


def test_an_error_of_the_check(odd, server):
    odd.raises["getsockname"] = OSError(errno.ENOBUFS, "no buffers")
    made = at_once.begin(AsyncioRace, lambda: 0.0, PLAIN, server.getsockname(), None)
    assert made.first.errno == errno.ENOBUFS
    assert [sock.fileno() for sock in odd.opened] == [-1]
    made.close()


def test_self_connected(monkeypatch):
    """Without a window, and bound to the port of its target before the connect."""
    port = closed_port(1)

    def choose(sock, sockaddr):
        sock.bind(sockaddr)
        return port_window.ANY_PORT

    monkeypatch.setattr(port_window, "choose", choose)
    sock, race = first_of(("127.0.0.1", port))
    assert sock.getsockname() == sock.getpeername()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:1] == b"\1"  # whoever closes it resets it
    race.close()
    assert sock.fileno() == -1
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))  # nothing stays in TIME_WAIT


@needs_port_range
def test_a_window_that_the_kernel_ignores(monkeypatch, server):
    """The socket is connected; the source ports are read anew."""
    told = []
    monkeypatch.setattr(port_window, "choose", lambda sock, sockaddr: port_window.window_of(1, 2))
    monkeypatch.setattr(port_window, "missed", lambda sock, window: told.append(window))
    with begin(server.getsockname()) as sock:
        assert sock.getpeername() == server.getsockname()
    assert told == [port_window.window_of(1, 2)]


@needs_port_range
def test_a_window_without_a_free_port(monkeypatch, server):
    """Other ports are looked for, as by `start_from`."""
    own_choose, windows = port_window.choose, []
    ports = kernel.source_ports()

    def choose(sock, sockaddr):
        if windows:
            return own_choose(sock, sockaddr)
        windows.append(port_window.window_of(taken[0], taken[0]))
        sock.setsockopt(0, kernel.IP_LOCAL_PORT_RANGE, windows[0][0])
        return windows[0]

    with begin(server.getsockname()) as holder:
        taken = [holder.getsockname()[1]]
        assert taken[0] in ports
        monkeypatch.setattr(port_window, "choose", choose)
        with begin(server.getsockname()) as sock:
            assert sock.getsockname()[1] != taken[0]
    assert windows
