"""The drop-in: what the standard library's create_connection does, ours does."""

import errno
import gc
import inspect
import socket
import traceback
from unittest import mock

import pytest

import safeconnect
from safeconnect import create_connection

from .. import namespace
from ..support import LOOPBACK, both_families, closed_port, linux_only, listening, needs_ipv6, resolver

STANDARD = socket.create_connection


def outcome(connect, *args, **kwargs):
    """What a connect comes to, in terms that can be compared: the peer and timeout, or the errors."""
    try:
        with connect(*args, **kwargs) as sock:
            return sock.getpeername(), sock.gettimeout(), sock.family, sock.type, sock.proto
    except ExceptionGroup as group:
        return group.message, [(type(error), error.errno) for error in group.exceptions]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error), getattr(error, "errno", None), str(error)


def assert_same(*args, **kwargs):
    standard = outcome(STANDARD, *args, **kwargs)
    assert outcome(create_connection, *args, **kwargs) == standard
    return standard


def test_has_the_parameters_of_the_standard_library_first():
    ours = list(inspect.signature(create_connection).parameters.values())
    for mine, theirs in zip(ours, inspect.signature(STANDARD).parameters.values(), strict=False):
        assert (mine.name, mine.kind, mine.default) == (theirs.name, theirs.kind, theirs.default)
    assert [extra.kind for extra in ours[4:]] == [inspect.Parameter.VAR_KEYWORD]


class TestLikeTheStandardLibrary:
    @both_families
    @pytest.mark.parametrize(
        "timeout", [None, 5, 0.75, socket._GLOBAL_DEFAULT_TIMEOUT], ids=["None", "5", "0.75", "left out"]
    )
    def test_connects(self, family, timeout):
        with listening(family) as server:
            address = server.getsockname()[:2]
            assert assert_same(address, timeout)[0] == server.getsockname()
            assert assert_same(list(address), timeout=timeout)[2] == family

    @pytest.mark.parametrize(
        "host", ["localhost", b"localhost", "127.0.0.1", b"127.0.0.1", "127.1", "2130706433", None]
    )
    @pytest.mark.parametrize("kind", [int, str, lambda port: str(port).encode()], ids=["int", "str", "bytes"])
    def test_takes_every_way_to_write_an_address(self, server, host, kind):
        peer = assert_same((host, kind(server.getsockname()[1])), 5)[0]
        assert peer == server.getsockname()

    @pytest.mark.parametrize(
        "host", ["", "a..b", "x" * 64, "\udcff", "1.2.3.4.5", "no-such-host.invalid", "::1%nowhere"]
    )
    def test_fails_alike_for_hosts_that_are_none(self, host):
        assert issubclass(assert_same((host, 80), 5)[0], (OSError, UnicodeError))

    @pytest.mark.parametrize("port", [0, "http", None, "no-such-service"])
    def test_takes_other_ports(self, port):
        assert issubclass(assert_same(("127.0.0.1", port), 5)[0], OSError)

    def test_finds_idna_hosts(self, server, monkeypatch):
        looked_up = []

        def getaddrinfo(host, port, *args):
            looked_up.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        assert_same(("bücher.example", server.getsockname()[1]), 5)
        assert looked_up == ["bücher.example"] * 2

    def test_timeout_zero_does_not_wait(self, server):
        error, number, _ = assert_same(server.getsockname(), 0)
        assert (error, number) == (BlockingIOError, errno.EINPROGRESS)

    def test_default_timeout_is_the_process_wide_one(self, server):
        socket.setdefaulttimeout(1.25)
        try:
            assert assert_same(server.getsockname())[1] == 1.25
        finally:
            socket.setdefaulttimeout(None)

    @both_families
    def test_source_address(self, family):
        source = {socket.AF_INET: "127.0.0.7", socket.AF_INET6: "::1"}[family]
        with listening(family) as server, create_connection(server.getsockname()[:2], 5, (source, 0)) as sock:
            assert sock.getsockname()[0] == source
            assert_same(server.getsockname()[:2], 5, (source, 0))

    def test_source_port(self, server):
        port = closed_port()
        with create_connection(server.getsockname(), 5, ("127.0.0.1", port)) as sock:
            assert sock.getsockname() == ("127.0.0.1", port)
            assert assert_same(server.getsockname(), 5, ("127.0.0.1", port))[:2] == (OSError, errno.EADDRINUSE)
            safeconnect._sockets.lifecycle.reset(sock)

    @pytest.mark.parametrize("source", [("::1", 0), ("192.0.2.1", 0), ("no-such-host.invalid", 0)])
    def test_source_address_that_cannot_be_used(self, server, source):
        assert issubclass(assert_same(server.getsockname(), 5, source)[0], OSError)

    @both_families
    def test_refused(self, family):
        refused = assert_same((LOOPBACK[family], closed_port(1)), 5)
        assert refused[:2] == (ConnectionRefusedError, errno.ECONNREFUSED)

    def test_all_errors_gives_one_for_each_address(self, monkeypatch):
        port = closed_port(1)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (1, 2, 3)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        message, errors = assert_same(("name", port), 5, all_errors=True)
        assert message == "create_connection failed"
        assert errors == [(ConnectionRefusedError, errno.ECONNREFUSED)] * 3

    @pytest.mark.parametrize("all_errors", [False, True])
    def test_empty_answer_of_the_resolver(self, monkeypatch, all_errors):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
        assert "empty list" in assert_same(("name", 1), all_errors=all_errors)[2]

    def test_no_answer_in_time(self, monkeypatch, server):
        class Silent(socket.socket):
            def connect(self, _):
                raise TimeoutError("timed out")

        monkeypatch.setattr(socket, "socket", Silent)
        assert assert_same(server.getsockname(), 5) == (TimeoutError, None, "timed out")

    def test_socket_and_getaddrinfo_are_looked_up_at_call_time(self, server):
        with (
            mock.patch("socket.socket", wraps=socket.socket) as made,
            mock.patch("socket.getaddrinfo", wraps=socket.getaddrinfo) as looked_up,
        ):
            create_connection(server.getsockname(), 5).close()
        made.assert_called_once()
        looked_up.assert_called_once_with(*server.getsockname(), 0, socket.SOCK_STREAM)

    def test_a_socket_class_that_closes_itself_keeps_its_error(self, monkeypatch):
        class Closes(socket.socket):
            def connect(self, _):
                self.close()
                raise ConnectionRefusedError(errno.ECONNREFUSED, "proxy says no")

        monkeypatch.setattr(socket, "socket", Closes)
        assert assert_same(("127.0.0.1", 1), 5)[0] is ConnectionRefusedError

    @needs_ipv6
    def test_source_address_with_a_flow_label(self):
        assert assert_same(("::1", closed_port(1)), 5, ("::1", 0, 0))[0] is ConnectionRefusedError

    def test_works_with_a_mock_of_a_socket(self):
        with mock.patch("socket.socket") as made:
            sock = create_connection(("127.0.0.1", 1), 5)
        assert sock is made.return_value
        sock.settimeout.assert_called_once_with(5)
        sock.connect.assert_called_once_with(("127.0.0.1", 1))

    def test_leaves_no_reference_cycle(self, server):
        refused = closed_port(1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                create_connection(server.getsockname(), 5).close()
                with pytest.raises(OSError, match="refused"):
                    create_connection(("127.0.0.1", refused), 5)
                with pytest.raises(ExceptionGroup):
                    create_connection(("127.0.0.1", refused), 5, all_errors=True)
                with pytest.raises(OSError, match="Name or service"):
                    create_connection(("", refused), 5)
            del _
            from_us = [item for item in collected() if "safeconnect" in repr(item)]
        finally:
            gc.enable()
        assert from_us == []


def collected():
    """What only the cycle collector could free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


class TestAddress:
    @needs_ipv6
    def test_flow_and_scope_reach_the_kernel_whole(self, monkeypatch):
        seen = []

        class Recorder(socket.socket):
            def connect(self, address):
                seen.append(address)
                raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

        monkeypatch.setattr(socket, "socket", Recorder)
        found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]
        for host, tail in (("fe80::1", (5, 2)), ("name", (5, 0)), ("name", (0, 4)), ("name", ())):
            with monkeypatch.context() as patch:
                if host == "name":
                    patch.setattr(socket, "getaddrinfo", lambda *_: found)
                with pytest.raises(ConnectionRefusedError):
                    create_connection((host, 80, *tail), 5)
        assert seen == [("fe80::1", 80, 5, 2), ("fe80::1", 80, 5, 3), ("fe80::1", 80, 0, 4), ("fe80::1", 80, 0, 3)]

    def test_scope_of_a_name_with_ipv4_addresses_is_ignored(self, server):
        with create_connection(("localhost", server.getsockname()[1], 0, 0), 5) as sock:
            assert sock.getpeername() == server.getsockname()

    @pytest.mark.parametrize("port", [1.5, True, ("a",)])
    def test_port_of_a_wrong_type(self, port):
        with pytest.raises(TypeError, match="port must be an int, a str, bytes or None, not") as caught:
            create_connection(("127.0.0.1", port))
        assert isinstance(caught.value, OSError), "what the standard library raises, and its users catch"


class TestArguments:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "name"])
    def test_a_timeout_that_no_socket_takes_leaves_nothing(self, server, host):
        names = {"resolver": resolver(server.getsockname())} if host == "name" else {}
        for settings in (names, {**names, "trace": lambda _: None}):
            with pytest.raises(OverflowError):
                create_connection((host, server.getsockname()[1]), 1e20, **settings)

    def test_options_are_set_before_connect(self, monkeypatch, server):
        seen = []

        class Looker(socket.socket):
            def connect(self, address):
                seen.append(self.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                super().connect(address)

        monkeypatch.setattr(socket, "socket", Looker)
        options = iter([(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])
        with create_connection(server.getsockname(), 5, options=options) as sock:
            assert seen == [1]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    @pytest.mark.parametrize(
        ("option", "name"),
        [
            ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, b""), "(SOL_SOCKET, SO_KEEPALIVE, b'')"),
            ((socket.IPPROTO_TCP, 9999, 1), "(IPPROTO_TCP, 9999, 1)"),
            ((250, 1, 1), "(250, 1, 1)"),
            ((socket.SOL_SOCKET, socket.SO_REUSEADDR, b""), "(SOL_SOCKET, SO_REUSEADDR, b'')"),
            ((socket.IPPROTO_IP, socket.IP_TTL, 300), "(IPPROTO_IP, IP_TTL, 300)"),
        ],
    )
    def test_failure_names_the_option(self, server, option, name):
        with pytest.raises(OSError, match=r".") as caught:
            create_connection(server.getsockname(), 5, options=[option])
        assert f"the socket option {name} could not be set" in caught.value.__notes__


class TestErrors:
    def test_say_what_was_tried_and_what_happened(self, monkeypatch):
        port = closed_port(1)
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        with pytest.raises(OSError, match=r".") as caught:
            create_connection(("name", port), 5, ("127.0.0.7", 0))
        first, second = caught.value.__notes__
        assert first.startswith(f"[::1]:{port} from 127.0.0.7:0: ")
        assert second.startswith(f"127.0.0.1:{port} from 127.0.0.7:0: [Errno {errno.ECONNREFUSED}] ")
        assert second.endswith(" ms")

    def test_a_failed_lookup_names_the_host(self):
        with pytest.raises(socket.gaierror) as caught:
            create_connection(("no-such-host.invalid", 80), 5)
        assert caught.value.__notes__ == ["while looking up host 'no-such-host.invalid', port 80"]

    def test_traceback_has_no_other_errors_in_it(self):
        with pytest.raises(ConnectionRefusedError) as caught:
            create_connection(("127.0.0.1", closed_port(1)), 5)
        assert "During handling" not in "".join(traceback.format_exception(caught.value))

    @linux_only
    def test_no_address_to_connect_from_is_told_apart_from_no_port(self):
        # "::1" on a host without IPv6 also gives EADDRNOTAVAIL.
        code = """
            import errno, safeconnect
            from pathlib import Path
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
            try:
                safeconnect.create_connection(("::1", 80), 5)
            except OSError as error:
                print(type(error).__name__, error.errno == errno.EADDRNOTAVAIL)
        """
        assert namespace.run(code).split() == ["OSError", "True"]
