"""socket_options() and socket_factory(): prevention for clients that connect themselves."""

import asyncio
import errno
import socket

import pytest

from safeconnect import PortRange, PortSet, ephemeral_ports
from safeconnect._sockets import kernel, port_window
from safeconnect.integrations import socket_factory, socket_options

from .. import namespace, support
from . import kit


def pretend(monkeypatch, ports, *, lacking=()):
    monkeypatch.setattr(kernel, "source_ports", lambda refresh=False: PortSet(ports))
    monkeypatch.setattr(kernel, "missing", set(lacking))


def bounds(options):
    """The range of ports that the one option sets."""
    [(level, name, value)] = options
    assert (level, name) == (socket.IPPROTO_IP, support.IP_LOCAL_PORT_RANGE)
    assert -(1 << 31) <= value < 1 << 31, "setsockopt() takes a C int"
    return value & 0xFFFF, value >> 16 & 0xFFFF


@support.needs_port_range
@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (32768, (32769, 60999)),
        (40000, (40001, 60999)),
        (46883, (46884, 60999)),
        (46884, (32768, 46883)),
        (50000, (32768, 49999)),
        (60999, (32768, 60998)),
    ],
)
def test_options_take_the_larger_side_of_the_source_ports(monkeypatch, port, expected):
    pretend(monkeypatch, PortRange(32768, 60999))
    assert bounds(socket_options(port)) == expected


@support.needs_port_range
def test_reserved_ports_do_not_count_for_the_larger_side(monkeypatch):
    pretend(monkeypatch, [PortRange(32768, 33000), PortRange(40000, 40010), PortRange(60000, 60999)])
    assert bounds(socket_options(40005)) == (40006, 60999)


@pytest.mark.parametrize("port", [1, 80, 32767, 61000, 65535])
def test_a_port_that_is_no_source_port_needs_no_options(monkeypatch, port):
    pretend(monkeypatch, PortRange(32768, 60999))
    assert socket_options(port) == []


def test_no_options_where_the_kernel_has_no_other_source_port(monkeypatch):
    pretend(monkeypatch, [40000])
    assert socket_options(40000) == []


def test_no_options_where_the_kernel_lacks_them(monkeypatch):
    pretend(monkeypatch, PortRange(32768, 60999), lacking=[support.IP_LOCAL_PORT_RANGE])
    assert socket_options(40000) == []


@pytest.mark.parametrize("port", [None, "80", 80.0, True])
def test_a_port_is_an_int(port):
    with pytest.raises(TypeError, match="port must be an int, not"):
        socket_options(port)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_is_in_range(port):
    with pytest.raises(ValueError, match=f"port must be 1-65535, not {port}"):
        socket_options(port)


@support.needs_port_range
@support.both_families
def test_a_socket_of_the_factory_stays_on_its_side(family):
    target = ephemeral_ports().first + 1000
    with socket_factory((family, socket.SOCK_STREAM, 0, "", (support.LOOPBACK[family], target))) as sock:
        assert sock.family == family
        assert sock.gettimeout() == 0
        value = sock.getsockopt(socket.IPPROTO_IP, support.IP_LOCAL_PORT_RANGE)
        assert (value & 0xFFFF, value >> 16 & 0xFFFF) == (target + 1, ephemeral_ports().last)


@support.linux_only
def test_the_factory_opens_sockets_of_other_families_as_they_are():
    with socket_factory((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/nowhere")) as sock:
        assert sock.family == socket.AF_UNIX


def test_the_factory_closes_what_it_cannot_dress(monkeypatch):
    monkeypatch.setattr("safeconnect.integrations.socket_options", lambda port: [(0, 99999, 0)])
    with pytest.raises(OSError, match="Protocol not available") as caught:
        socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 40000)))
    assert caught.value.errno == errno.ENOPROTOOPT  # conftest looks for descriptors left open


@pytest.mark.parametrize(
    ("addr_info", "error", "message"),
    [
        (None, TypeError, "addr_info must be a tuple as getaddrinfo"),
        ((2, 1, 6), ValueError, r"addr_info must be \(family, type, proto, canonname, sockaddr\), not \(2, 1, 6\)"),
        ((2, 1, 6, "", ("127.0.0.1", 70000)), ValueError, "port must be 1-65535, not 70000"),
    ],
)
def test_the_factory_checks_its_argument(addr_info, error, message):
    with pytest.raises(error, match=message):
        socket_factory(addr_info)


def test_aiohttp_and_its_sockets():
    aiohttp = pytest.importorskip("aiohttp", "3.12", reason="aiohttp 3.12 is not installed")

    async def fetch(port):
        connector = aiohttp.TCPConnector(socket_factory=socket_factory)
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://127.0.0.1:{port}/") as a:
            return await a.read()

    with kit.web_server() as port:
        assert asyncio.run(fetch(port)) == b"GET /"


@support.needs_port_range
def test_sockets_of_the_factory_find_the_last_free_port_of_their_side():
    """With a window of few ports most of these connects would fail, and the client would try no other window."""
    printed = namespace.run(
        """
        import contextlib, socket
        from safeconnect.integrations import socket_factory

        ports = range(40001, 40257)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 40000), backlog=512))
            for port in ports:
                if port != 40123:
                    source = ("127.0.0.1", port)
                    stack.enter_context(socket.create_connection(server.getsockname(), source_address=source))
            for _ in range(20):
                with socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", server.getsockname())) as sock:
                    sock.settimeout(5)
                    sock.connect(server.getsockname())
                    assert sock.getsockname()[1] == 40123
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        print("found")
        """,
        ports="40000 40256",
    )
    assert printed == "found\n"


def test_no_window_is_dealt_for_them(monkeypatch):
    monkeypatch.setattr(port_window, "choose", None)
    socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 40000))).close()
