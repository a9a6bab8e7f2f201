"""What takes the place of clients' own connects does what those do beside their connect."""

import asyncio
import socket
import sys
import types

import pytest

from safeconnect import Connector, install, uninstall
from safeconnect._install import asyncio as on_asyncio
from safeconnect._install import blocking, clients

from .. import support
from ..integrations import kit


@pytest.fixture(autouse=True)
def starts():
    """The targets of our attempts, in their order."""
    found = []

    def told(event):
        if type(event).__name__ == "Start":
            found.append(event.candidate[4])

    install(clients=(), connector=Connector(trace=told))
    yield found
    uninstall()


def keeps_alive(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0


class TestWebsocketClient:
    @pytest.fixture(autouse=True)
    def module(self, monkeypatch):
        module = types.SimpleNamespace(DEFAULT_SOCKET_OPTION=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])
        monkeypatch.setitem(sys.modules, "websocket._http", module)

    def test_its_options_and_its_timeout(self, address):
        found = socket.getaddrinfo(*address, 0, socket.SOCK_STREAM)
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        with blocking.websocket_open_socket(found, options, 7) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert keeps_alive(sock)
            assert sock.gettimeout() == 7

    def test_the_addresses_that_it_has_looked_up(self, address, hole, starts):
        found = support.resolver(hole, address)("a.test", address[1])
        with blocking.websocket_open_socket(found, [], 30) as sock:
            assert sock.getpeername() == address
        assert starts == [hole, address]

    def test_a_refusal_has_the_address(self):
        with support.held_port() as held:
            found = socket.getaddrinfo(*held.getsockname(), 0, socket.SOCK_STREAM)
            error = support.ran_into(ConnectionRefusedError, blocking.websocket_open_socket, found, [], 5)
        assert error.remote_ip == "127.0.0.1"
        assert "failed after" in error.__notes__[0]

    def test_other_families_are_its_own_matter(self, monkeypatch):
        monkeypatch.setattr(clients.WEBSOCKET, "original", lambda *arguments: arguments)
        assert blocking.websocket_open_socket([], [1], 5) == ([], [1], 5)


def test_amqp(address):
    transport = types.SimpleNamespace(sock=None)
    blocking.amqp_connect(transport, *address, 5)
    with transport.sock as sock:
        assert sock.getpeername() == address
        assert sock.gettimeout() == 5


def pymongo_on_threads(address, timeout=5):
    return blocking.pymongo_create_connection(address, types.SimpleNamespace(connect_timeout=timeout))


def pymongo_on_asyncio(address, timeout=5):
    options = types.SimpleNamespace(connect_timeout=timeout)
    return asyncio.run(on_asyncio.pymongo_create_connection(address, options))


@pytest.mark.parametrize("connect", [pymongo_on_threads, pymongo_on_asyncio])
class TestPymongo:
    @pytest.fixture(autouse=True)
    def module(self, monkeypatch):
        def probe_after_2_minutes(sock):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 9)

        csot = types.SimpleNamespace(remaining=lambda: None)
        module = types.SimpleNamespace(_csot=csot, _set_keepalive_times=probe_after_2_minutes)
        monkeypatch.setitem(sys.modules, "pymongo.pool_shared", module)
        return module

    @pytest.mark.parametrize("timeout", [7, None])
    def test_its_options_and_its_timeout(self, connect, address, timeout):
        with connect(address, timeout) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert keeps_alive(sock)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 9
            assert sock.gettimeout() == timeout

    def test_what_is_left_of_an_operation(self, connect, address, module):
        module._csot.remaining = lambda: 3
        with connect(address) as sock:
            assert sock.gettimeout() == 3
        module._csot.remaining = lambda: -1
        support.ran_into(TimeoutError, connect, address)

    def test_localhost_is_ipv4(self, connect, address, starts, monkeypatch):
        kit.names_lead_to(monkeypatch, ("::1", address[1], 0, 0), address)
        connect(("localhost", address[1])).close()
        assert starts == [address]

    def test_a_path_is_its_own_matter(self, connect, monkeypatch):
        def own(*arguments):
            return arguments[0]

        async def own_async(*arguments):
            return arguments[0]

        monkeypatch.setattr(clients.PYMONGO, "original", own)
        monkeypatch.setattr(clients.PYMONGO_ASYNCIO, "original", own_async)
        assert connect(("/tmp/mongodb.sock", None)) == ("/tmp/mongodb.sock", None)

    def test_what_it_refuses_to_set_leaves_nothing_open(self, connect, address, module):
        module._set_keepalive_times = lambda sock: sock.setsockopt(0, 99999, 0)
        support.ran_into(OSError, connect, address)  # conftest looks for descriptors left open
