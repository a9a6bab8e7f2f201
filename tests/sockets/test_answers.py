"""What a resolver may answer, and what a user may write: sockets of other types, zones, NULs, no addresses at all."""

import socket

import pytest

import safeconnect
from safeconnect import bind_socket, reserve_port, self_connect_exposure
from safeconnect._sockets import answers
from safeconnect.doctor import gather
from safeconnect.testing import serve

from .. import namespace
from ..drivers import each_driver
from ..support import linux_only, ran_into

DGRAM = (socket.AF_INET, socket.SOCK_DGRAM, 17, "")


def answering(*candidates):
    return lambda *_: iter(candidates)


class TestTypes:
    """Only streams are connections."""

    @each_driver
    @pytest.mark.parametrize("host", ["anybody.test", "127.0.0.1"])
    def test_udp_is_passed_over(self, connect, address, host):
        candidates = [(*DGRAM, address), (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
        with connect((host, address[1]), 5, resolver=answering(*candidates)) as sock:
            assert sock.type == socket.SOCK_STREAM
            assert sock.getpeername() == address

    @each_driver
    def test_no_stream_is_an_error_that_says_so(self, connect, address):
        error = ran_into(OSError, connect, ("anybody.test", 80), 5, resolver=answering((*DGRAM, address)))
        assert "no address for TCP (SOCK_STREAM), only for SOCK_DGRAM" in str(error)
        assert error.__notes__ == ["while looking up host 'anybody.test', port 80"]

    @each_driver
    @pytest.mark.parametrize("replaced", ["db.test", "localhost"])
    def test_from_a_getaddrinfo_of_another_tool(self, connect, address, replaced, monkeypatch):
        candidates = [(*DGRAM, address), (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
        monkeypatch.setattr(socket, "getaddrinfo", answering(*candidates))
        with connect((replaced, address[1]), 5) as sock:
            assert sock.type == socket.SOCK_STREAM

    @each_driver
    @pytest.mark.parametrize("proto", [0, 6])
    def test_a_type_of_0_stands_for_any(self, connect, address, proto):
        candidates = [(socket.AF_INET, 0, 17, "", address), (socket.AF_INET, 0, proto, "", address)]
        with connect(("anybody.test", 80), 5, resolver=answering(*candidates)) as sock:
            assert sock.type == socket.SOCK_STREAM

    @linux_only
    def test_flags_in_the_type_change_nothing(self, address):
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        found = answers.usable([(socket.AF_INET, kind, 6, "", address)])
        assert found == [(socket.AF_INET, kind, 6, "", address)]

    def test_a_type_without_a_name(self, address):
        error = ran_into(OSError, answers.usable, [(socket.AF_INET, 77, 6, "", address)])
        assert "only for type 77" in str(error)

    def test_binding(self, address, monkeypatch):
        answer = [(*DGRAM, ("127.0.0.9", 0)), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
        with reserve_port("anybody.test") as reserved:
            assert reserved.address[0] == "127.0.0.1"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        assert "no address for 'anybody.test'" in str(ran_into(OSError, reserve_port, "anybody.test"))


@linux_only
class TestZones:
    """The kernel wants a scope id, Python's sockets drop the zone in the text: in a namespace where lo is fe80::1."""

    SETUP = """
        import asyncio, fcntl, socket, struct, trio
        import safeconnect, safeconnect.asyncio, safeconnect.trio
        from safeconnect import SourcePool, bind_socket, create_connection, reserve_port, simultaneous_open
        from tests.support import wait_until
        with socket.socket(socket.AF_INET6) as sock:
            six = socket.inet_pton(socket.AF_INET6, "fe80::1") + struct.pack("=Ii", 64, socket.if_nametoindex("lo"))
            fcntl.ioctl(sock, 0x8916, six)  # SIOCSIFADDR, struct in6_ifreq
        LO = socket.if_nametoindex("lo")

        def can_be_bound_to():
            with socket.socket(socket.AF_INET6) as probe:
                try:
                    probe.bind(("fe80::1", 0, 0, LO))
                except OSError:  # tentative: the kernel looks for duplicates of a new address, later
                    return False
            return True

        wait_until(can_be_bound_to)
        server = socket.socket(socket.AF_INET6)
        server.bind(("::", 0))
        server.listen()
        port = server.getsockname()[1]

        def answer(*_):
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", sockaddr)]

        def check(sock):
            with sock:
                assert sock.getpeername() == ("fe80::1", port, 0, LO), sock.getpeername()
                return sock.getsockname()

        async def on_asyncio(*arguments, **settings):
            return check(await safeconnect.asyncio.create_connection(*arguments, **settings))

        async def on_trio(address, timeout, settings):
            check(await safeconnect.trio.create_connection(address, timeout, **settings))

        def everywhere(address, **settings):
            local = check(create_connection(address, 5, **settings))
            asyncio.run(on_asyncio(address, 5, **settings))
            trio.run(on_trio, address, 5, settings)
            return local
    """

    def inside(self, code):
        assert namespace.run(f"{self.SETUP}\n{code}") == "done\n"

    def test_from_a_resolver(self):
        self.inside("""
        for sockaddr in [("fe80::1%lo", port, 0, 0), ("fe80::1%lo", port), (f"fe80::1%{LO}", port, 0, 0)]:
            everywhere(("anybody.test", port), resolver=answer)
            everywhere(("anybody.test", port, 0, 0), resolver=answer)
        for address in [("fe80::1%lo", port), ("fe80::1%lo", port, 0, 0)]:
            everywhere(address)
        print("done")
        """)

    def test_of_a_source(self):
        self.inside("""
        pair = ("fe80::1%lo", 0)
        for source in [pair, (*pair, 0, 0), [pair], "fe80::1%lo", ["fe80::1%lo"], SourcePool(["fe80::1%lo"]),
                       [(*pair, 0, 0)]]:
            assert everywhere(("fe80::1%lo", port), source_address=source)[0] == "fe80::1"
        local = everywhere(("fe80::1%lo", port), source_address=pair, source_ports="40000-40009")
        assert 40000 <= local[1] <= 40009
        local = everywhere(("fe80::1%lo", port), source_address="fe80::1%lo", source_ports="20000-20009")
        assert 20000 <= local[1] <= 20009
        local = check(create_connection(("fe80::1%lo", port), 5, (b"fe80::1%lo", 0)))
        assert local[0] == "fe80::1"
        print("done")
        """)

    def test_of_what_is_bound(self):
        self.inside("""
        with bind_socket(("fe80::1%lo", 0, 0, 0)) as sock:
            assert sock.getsockname()[0::3] == ("fe80::1", LO)
        with reserve_port("fe80::1%lo") as reserved:
            assert reserved.address[0::3] == ("fe80::1", LO)
        here = ("fe80::1%lo", 20001)
        with simultaneous_open(here, here, timeout=5, allow_self_connect=True) as sock:
            assert sock.getpeername() == ("fe80::1", 20001, 0, LO)
        print("done")
        """)

    def test_in_integrations(self):
        pytest.importorskip("aiohttp")
        pytest.importorskip("anyio")
        self.inside("""
        import aiohttp, aiohttp.abc, anyio, pymysql, yarl
        from safeconnect.anyio import connect_tcp
        from safeconnect.integrations.aiohttp import TCPConnector
        import threading
        def serve():
            while True:
                peer = server.accept()[0]
                peer.recv(4096)
                peer.sendall(b"HTTP/1.0 204 No Content\\r\\n\\r\\n")
                peer.close()
        threading.Thread(target=serve, daemon=True).start()

        class Resolver(aiohttp.abc.AbstractResolver):
            async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
                return [dict(hostname=host, host="fe80::1%lo", port=port, family=socket.AF_INET6, proto=6, flags=0)]
            async def close(self):
                pass

        async def main():
            local = ("fe80::1%lo", 0)
            async with aiohttp.ClientSession(connector=TCPConnector(resolver=Resolver(), local_addr=local)) as session:
                async with session.get(f"http://anybody.test:{port}/") as response:
                    assert response.status == 204
            async with await connect_tcp("fe80::1%lo", port, local_host="fe80::1%lo", timeout=5):
                pass
        asyncio.run(main())
        print("done")
        """)


class TestUnknownZones:
    SOCKADDR = ("fe80::1%nosuch0", 80, 0, 0)
    TOLD = "this host has no interface 'nosuch0', the zone in 'fe80::1%nosuch0'"

    @each_driver
    def test_from_a_resolver(self, connect):
        answer = answering((socket.AF_INET6, socket.SOCK_STREAM, 6, "", self.SOCKADDR))
        error = ran_into(OSError, connect, ("anybody.test", 80), 5, resolver=answer)
        assert self.TOLD in str(error)

    @each_driver
    def test_beside_an_address_that_will_do(self, connect, address):
        bad = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", self.SOCKADDR)
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        connect(("anybody.test", 80), 5, resolver=answering(bad, good)).close()

    @each_driver
    @pytest.mark.parametrize("source", [("fe80::1%nosuch0", 0), "fe80::1%nosuch0", ["fe80::1%nosuch0"]])
    def test_of_a_source(self, connect, source):
        error = ran_into(OSError, connect, ("::1", 1), 5, source_address=source)
        assert self.TOLD in str(error)

    @each_driver
    def test_in_an_address(self, connect):
        error = ran_into(socket.gaierror, connect, ("fe80::1%nosuch0", 80), 5)
        assert self.TOLD in error.__notes__

    @each_driver
    def test_a_source_of_the_other_family_stays_an_error_of_its_own(self, connect, address):
        ran_into(socket.gaierror, connect, address, 5, source_address=("fe80::1%nosuch0", 0))

    def test_no_descriptor_left_is_told_as_that(self, monkeypatch):
        def full(_):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(socket, "if_nametoindex", full)
        assert ran_into(OSError, safeconnect.create_connection, ("::1", 1), 5, ("fe80::1%a", 0)).errno == 24


class TestNul:
    """C ends a name at a NUL: another host would be connected to."""

    @each_driver
    @pytest.mark.parametrize("host", ["127.0.0.1\0.example", b"127.0.0.1\0.example", "localhost\0", "\0"])
    def test_in_a_host(self, connect, address, host):
        with pytest.raises(ValueError, match="host must be without NUL"):
            connect((host, address[1]), 5)
        with pytest.raises(ValueError, match="host must be without NUL"):
            connect((host, address[1]), 5, resolver=answering((socket.AF_INET, 1, 6, "", address)))

    @each_driver
    @pytest.mark.parametrize("kind", [str, str.encode])
    def test_in_a_port(self, connect, address, kind):
        with pytest.raises(ValueError, match="port must be without NUL"):
            connect(("127.0.0.1", kind(f"{address[1]}\0")), 5)

    @each_driver
    @pytest.mark.parametrize("host", ["127.0.0.1\0x", b"127.0.0.1\0x", bytearray(b"127.0.0.1\0x")])
    def test_in_a_source(self, connect, address, host):
        with pytest.raises(ValueError, match="source_address must be without NUL"):
            connect(address, 5, source_address=(host, 0))

    def test_in_what_is_bound(self):
        for bind in (reserve_port, lambda host: reserve_port([host]), lambda host: bind_socket((host, 0))):
            with pytest.raises(ValueError, match="host must be without NUL"):
                bind("127.0.0.1\0x")

    def test_elsewhere(self):
        with pytest.raises(ValueError, match="host must be without NUL"):
            self_connect_exposure("127.0.0.1\0x", 40000)
        with pytest.raises(ValueError, match="host must be without NUL"):
            serve(host="127.0.0.1\0x")
        with pytest.raises(ValueError, match="host must be without NUL"):
            safeconnect.wait_for_port(("127.0.0.1\0x", 1), 0)
        with pytest.raises(ValueError, match="host must be without NUL"):
            gather(("127.0.0.1\0x", 1))


class TestNoAddresses:
    """What is no address is refused at once, by a name."""

    @each_driver
    @pytest.mark.parametrize(
        "address", [{"host": "a", "port": 1}, {0: "127.0.0.1", 1: 80}, "ab", b"ab", None, 5, {"a", "b"}, iter("ab")]
    )
    def test_of_a_wrong_type(self, connect, address):
        for settings in ({}, {"resolver": answering()}, {"retry": safeconnect.Retry(1)}):
            with pytest.raises(TypeError, match="address must be a tuple"):
                connect(address, 5, **settings)

    @each_driver
    @pytest.mark.parametrize(
        ("tail", "kind", "told"),
        [
            (("a", 0), TypeError, "the flowinfo of address must be an int, not str: 'a'"),
            ((0, []), TypeError, "the scope_id of address must be an int, not list"),
            ((0, -1), ValueError, "the scope_id of address must be 0-4294967295, not -1"),
            ((2**20, 0), ValueError, "the flowinfo of address must be 0-1048575, not 1048576"),
        ],
    )
    def test_of_four_parts(self, connect, tail, kind, told):
        with pytest.raises(kind, match=told):
            connect(("::1", 80, *tail), 5)
        with pytest.raises(kind, match=told):
            connect(("::1", 80, *tail), 5, resolver=answering())

    @each_driver
    @pytest.mark.parametrize(
        "port",
        ["9" * 5001, b"9" * 5001, 10**5000, "70000", -1, 65536, 70000, b"65536"],
        ids=["str", "bytes", "int", "short", "negative", "above", "far above", "short bytes"],
    )
    def test_of_a_port_that_is_none(self, connect, port):
        with pytest.raises(ValueError, match="port must be 0-65535, not ") as caught:
            connect(("127.0.0.1", port), 5)
        assert isinstance(caught.value, socket.gaierror), "clients that catch OSError go on as before"

    @each_driver
    @pytest.mark.parametrize("address", [(), ("a",), ("a", 1, 2), ("a", 1, 2, 3, 4)])
    def test_of_a_wrong_length(self, connect, address):
        with pytest.raises(ValueError, match=r"address must be \(host, port\)"):
            connect(address, 5)

    def test_leading_zeros_are_no_digits_too_many(self):
        answers.Question(("127.0.0.1", f"{80:0>6001}"))
