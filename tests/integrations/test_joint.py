"""What a client says and what its connector says, put together."""

import socket

import pytest

from safeconnect import Connector, PortRange
from safeconnect.integrations import _common

from .. import support
from . import kit


@pytest.fixture
def address(server):
    return server.getsockname()


def test_the_clients_options_keep_the_connectors_source(address):
    port = kit.free_port()
    connector = Connector(source_ports=PortRange(port), options=[(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)])
    options = [[socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1]]
    with _common.connect(connector, address, 5, options=options) as sock:
        assert sock.getsockname()[1] == port
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves no TIME_WAIT behind


def test_the_clients_source_address_replaces_the_connectors_source(address):
    connector = Connector(source_ports=PortRange(kit.free_port()))
    with _common.connect(connector, address, 5, ("127.0.0.3", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.3"
        assert sock.getsockname()[1] not in range(10000, 32768)


def test_no_client_is_given_a_group_of_errors():
    with pytest.raises(ConnectionRefusedError):
        _common.connect(Connector(all_errors=True), ("127.0.0.1", 1), 5)


def test_options_that_are_none_are_named(address):
    with pytest.raises(TypeError, match="options must be"):
        _common.connect(Connector(), address, 5, options=["TCP_NODELAY"])


@pytest.mark.parametrize(
    ("own", "clients", "kept"),
    [({}, 5, 5), ({}, None, None), ({"timeout": 7}, 5, 5), ({"timeout": 7}, None, None), ({"timeout": None}, 5, 5)],
)
def test_the_socket_has_the_clients_timeout(address, own, clients, kept):
    with _common.connect(Connector(**own), address, clients) as sock:
        assert sock.gettimeout() == kept


def test_a_family_holds_for_a_resolver_of_the_connector(address):
    asked = []

    def resolver(host, port, family=0, *_):
        asked.append(family)
        return support.resolver(address)(host, port, family)

    connector = Connector(resolver=resolver, resolution_delay=0.01)
    with _common.connect(connector, ("two.test", 1), 5, family=socket.AF_INET) as sock:
        assert sock.getpeername() == address
    assert asked == [socket.AF_INET]
