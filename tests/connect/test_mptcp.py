"""Multipath TCP, by a resolver that says so: the kernel makes it, the library only connects."""

import contextlib
import socket

import pytest

from safeconnect import KeepAlive, NoDelay, SelfConnectError, is_self_connected, reset, tcp_info

from .. import namespace, support
from ..drivers import each_driver

MPTCP = getattr(socket, "IPPROTO_MPTCP", 262)
_SOL_MPTCP, _MPTCP_INFO = 284, 1  # linux/socket.h, linux/mptcp.h


def has_mptcp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_mptcp(), reason="this kernel has no MPTCP, or net.mptcp.enabled is 0")


def multipath(host, port, family=0, *_):
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return [(own, kind, MPTCP, name, address) for own, kind, _, name, address in found]


def speaks_mptcp(sock):
    """Whether it is MPTCP on the wire; EOPNOTSUPP: it has fallen back to TCP."""
    try:
        return bool(sock.getsockopt(_SOL_MPTCP, _MPTCP_INFO, 64))
    except OSError:
        return False


@contextlib.contextmanager
def listening(proto):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)
        yield server


@each_driver
class TestConnects:
    @pytest.mark.parametrize("proto", [MPTCP, socket.IPPROTO_TCP], ids=["MPTCP", "TCP"])
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"source_address": ("127.0.0.1", 0)},
            {"source_ports": "20700-20709"},
            {"source_address": "127.0.0.1", "source_ports": "20710-20719", "share_source": True},
            {"options": [NoDelay(), KeepAlive(30, 10, 3)]},
        ],
        ids=["plain", "bound", "ports", "shared", "options"],
    )
    def test_to_a_server_of_either_kind(self, connect, proto, settings):
        with (
            listening(proto) as server,
            connect(server.getsockname(), 5, resolver=multipath, **settings) as sock,
            server.accept()[0] as peer,
        ):
            assert sock.proto == MPTCP
            assert speaks_mptcp(sock) == (proto == MPTCP)
            assert not is_self_connected(sock)
            assert tcp_info(sock).state == "ESTABLISHED"
            sock.settimeout(5)
            sock.sendall(b"x")
            assert peer.recv(1) == b"x"
            reset(sock)

    def test_nobody_listens(self, connect):
        with support.held_port() as held:
            support.ran_into(ConnectionRefusedError, connect, held.getsockname(), 5, resolver=multipath)

    def test_never_to_itself(self, connect):
        with support.held_port() as held:
            address = held.getsockname()
        support.ran_into(SelfConnectError, connect, address, 5, source_address=address, resolver=multipath)


@support.needs_port_range
def test_the_window_leaves_the_target_out():
    code = """
        import safeconnect, socket
        from tests.support import reset
        from tests.connect.test_mptcp import MPTCP, multipath
        for _ in range(20):
            try:
                safeconnect.create_connection(("127.0.0.1", 40000), 5, resolver=multipath)
            except ConnectionRefusedError as error:
                print(type(error).__name__)
    """
    assert namespace.run(code, ports="40000 40001").split() == ["ConnectionRefusedError"] * 20


def test_where_it_is_switched_off():
    """An address counts once, whatever the protocol: a resolver that is to go on with TCP has to know it before."""
    code = """
        import errno, safeconnect, socket
        from pathlib import Path
        from tests.connect.test_mptcp import multipath
        def both(*arguments):
            return [*multipath(*arguments), *socket.getaddrinfo(*arguments[:2], 0, socket.SOCK_STREAM)]
        with socket.create_server(("127.0.0.1", 0)) as server:
            Path("/proc/sys/net/mptcp/enabled").write_text("0")
            try:
                safeconnect.create_connection(server.getsockname(), 5, resolver=both)
            except OSError as error:
                print(errno.errorcode[error.errno])
    """
    assert namespace.run(code) == "ENOPROTOOPT\n"
