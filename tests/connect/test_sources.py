"""Where a connect comes from: ports, lists, interfaces, shared ports, pools. On the real kernel, in every driver."""

import errno
import os
import random
import socket
import sys

import psutil  # before any test pretends to be on another platform
import pytest

from safeconnect import Connector, PortRange, PortSet, PortsExhaustedError, create_connection
from safeconnect._host import tcp_table
from safeconnect._local.binding import bind_socket
from safeconnect._local.source_pool import SourcePool
from safeconnect._sockets import kernel

from .. import namespace, support
from ..drivers import each_driver
from ..support import closed_port, linux_only, needs_ipv6, needs_port_range, resolver

LOW = "20000-20499"  # below the kernel's own range, and apart from the ports that other tests name


@each_driver
class TestPorts:
    @pytest.mark.parametrize("ports", [LOW, "40000-40999", "20000,40000,61001-61010", "40001-40009"])
    def test_are_the_only_ones_used(self, connect, server, ports):
        for _ in range(3):
            with connect(server.getsockname(), 5, source_ports=ports) as sock:
                assert sock.getsockname()[1] in PortSet.parse(ports)
                support.reset(sock)

    def test_taken_ones_are_passed_over(self, connect, server):
        address = server.getsockname()
        with create_connection(address, 5, source_ports=LOW) as first:
            port = first.getsockname()[1]
            ports = PortSet([port, port + 1000])
            with connect(address, 5, source_ports=ports) as second:
                assert second.getsockname()[1] == port + 1000
                with pytest.raises(PortsExhaustedError, match="all 2 source ports") as caught:
                    connect(address, 5, source_ports=ports)
                assert caught.value.errno == errno.EADDRNOTAVAIL
                support.reset(second)
            support.reset(first)

    def test_the_target_is_left_out(self, connect):
        port = closed_port()
        with pytest.raises(PortsExhaustedError, match="the target's own"):
            connect(("127.0.0.1", port), 5, source_ports=str(port))
        with pytest.raises(ConnectionRefusedError):
            connect(("127.0.0.1", port), 5, source_ports=PortRange(port, port + 20))

    @linux_only
    def test_a_port_may_go_to_several_destinations(self, connect, server):
        with support.listening() as other:
            for each in ("20777", "40777"):
                with connect(server.getsockname(), 5, source_ports=each) as one:
                    with connect(other.getsockname(), 5, source_ports=each) as two:
                        assert one.getsockname() == two.getsockname()
                        support.reset(two)
                    support.reset(one)


@linux_only
@needs_port_range
class TestPortsOnTheRealKernel:
    def test_one_is_found_whenever_there_is_one(self):
        code = """
            import random, socket, safeconnect
            from safeconnect import PortSet
            from tests.support import reset
            chance = random.Random(7)
            server = socket.create_server(("127.0.0.1", 40003), backlog=64)
            for _ in range(150):
                allowed = PortSet(chance.sample(range(39995, 40012), chance.randrange(1, 9)))
                taken = []
                for port in chance.sample(range(39995, 40012), chance.randrange(0, 14)):
                    if port != 40003:
                        taken.append(safeconnect.create_connection(server.getsockname(), 5, source_ports=str(port)))
                used = {sock.getsockname()[1] for sock in taken}
                free = set(allowed) - used - {40003}
                try:
                    sock = safeconnect.create_connection(server.getsockname(), 5, source_ports=allowed)
                except safeconnect.PortsExhaustedError:
                    assert not free, (allowed, used)
                else:
                    assert sock.getsockname()[1] in free, (allowed, used, sock)
                    taken.append(sock)
                for sock in taken:
                    reset(sock)
                    server.accept()[0].close()
            print("done")
        """
        assert namespace.run(code, ports="40000 40009") == "done\n"

    def test_none_outside_is_used_when_the_kernels_range_changes(self):
        code = """
            import socket, safeconnect
            from pathlib import Path
            from tests.support import reset
            server = socket.create_server(("127.0.0.1", 7))
            safeconnect.create_connection(server.getsockname(), 5).close()
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50999")
            for _ in range(5):
                sock = safeconnect.create_connection(server.getsockname(), 5, source_ports="40000-40099")
                print(40000 <= sock.getsockname()[1] <= 40099)
                reset(sock)
        """
        assert namespace.run(code, ports="40000 40999").split() == ["True"] * 5

    def test_who_holds_many_ports_is_not_asked(self, monkeypatch, server):
        monkeypatch.setattr(tcp_table, "sockets", lambda: pytest.fail("that takes long"))
        ports = PortSet(PortRange(20600, 20616))
        socks = [create_connection(server.getsockname(), 5, source_ports=ports) for _ in ports]
        with pytest.raises(PortsExhaustedError):
            create_connection(server.getsockname(), 5, source_ports=ports)
        for sock in socks:
            support.reset(sock)

    def test_without_the_option_all_are_bound(self, monkeypatch, server):
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        with create_connection(server.getsockname(), 5, source_ports="40000-40999") as sock:
            assert 40000 <= sock.getsockname()[1] <= 40999
            support.reset(sock)

    def test_privileged_ones_are_passed_over(self, server):
        if namespace.privileged_below() <= 21:
            pytest.skip("this user may bind to any port")
        with create_connection(server.getsockname(), 5, source_ports="20-21,20500") as sock:
            assert sock.getsockname()[1] == 20500
            support.reset(sock)


@each_driver
class TestAddresses:
    def test_one_of_the_family_is_chosen(self, connect, server):
        with connect(server.getsockname(), 5, source_address=["::1", "127.0.0.3", "127.0.0.4"]) as sock:
            assert sock.getsockname()[0] == "127.0.0.3"

    def test_a_candidate_of_another_family_is_passed_over(self, connect, server):
        names = resolver(("::1", 7, 0, 0), server.getsockname())
        with connect(("name", 1), 5, resolver=names, source_address=["127.0.0.3"]) as sock:
            assert sock.getsockname()[0] == "127.0.0.3"

    def test_none_of_the_family(self, connect, server):
        with pytest.raises(OSError, match="no source address is an IPv4 address: ::1") as caught:
            connect(server.getsockname(), 5, source_address=["::1"])
        assert caught.value.errno == errno.EADDRNOTAVAIL

    def test_text_is_an_address(self, connect, server):
        with connect(server.getsockname(), 5, source_address="127.0.0.9", source_ports=LOW) as sock:
            assert sock.getsockname()[0] == "127.0.0.9"
            assert sock.getsockname()[1] in PortSet.parse(LOW)
            support.reset(sock)

    @linux_only
    def test_or_an_interface(self, connect, server):
        with connect(server.getsockname(), 5, source_address="lo") as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        with pytest.raises(OSError, match="No such device"):
            connect(server.getsockname(), 5, source_address="nosuchif")


@linux_only
def test_a_platform_without_a_safe_way_to_share(monkeypatch, server):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE, kernel.IP_BIND_ADDRESS_NO_PORT})
    with pytest.raises(OSError, match="no safe way to share"):
        create_connection(server.getsockname(), 5, ("127.0.0.1", 20557), share_source=True)


@each_driver
class TestPool:
    def test_spreads_connects(self, connect, server):
        pool = SourcePool([f"127.0.0.{last}" for last in range(2, 6)])
        used = set()
        for _ in range(60):
            with connect(server.getsockname(), 5, source_address=pool) as sock:
                used.add(sock.getsockname()[0])
                support.reset(sock)
            server.accept()[0].close()
        assert used == set(pool.addresses)

    @linux_only
    def test_uses_all_ports_of_all_addresses(self, connect, server):
        address = server.getsockname()
        low, high = (f"127.0.{1 + os.getpid() % 250}.{last}" for last in (2, 3))  # not those of other processes
        pool = SourcePool([low, high], {low: "20100-20102", high: "41000-41002"})
        assert pool.room(address) == {low: 3, high: 3}
        held = [connect(address, 5, source_address=pool) for _ in range(6)]
        try:
            assert {sock.getsockname() for sock in held} == {
                *((low, port) for port in range(20100, 20103)),
                *((high, port) for port in range(41000, 41003)),
            }
            assert pool.room(address) == {low: 0, high: 0}
            with pytest.raises(PortsExhaustedError, match=r"and so for every other address of a pool of 2 addresses"):
                connect(address, 5, source_address=pool)
        finally:
            for sock in held:
                support.reset(sock)

    def test_without_an_address_of_the_family(self, connect, server):
        with pytest.raises(OSError, match="no source address is of the family"):
            connect(server.getsockname(), 5, source_address=SourcePool(["::1"]))


class TestPoolsTurns:
    def test_an_exhausted_address_rests(self):
        pool = SourcePool(["127.0.0.2", "127.0.0.3"])
        pool.exhausted("127.0.0.2")
        order = [next(iter(pool.turns(ipv6=False)))[0] for _ in range(1000)]
        assert "127.0.0.2" not in order[:60]
        assert "127.0.0.2" in order[200:]

    def test_it_is_tried_last_while_it_rests(self):
        pool = SourcePool(["127.0.0.2", "127.0.0.3"])
        pool.exhausted("127.0.0.2")
        assert [address for address, _ in pool.turns(ipv6=False)] == ["127.0.0.3", "127.0.0.2"]

    @needs_ipv6
    def test_room_toward_an_ipv6_destination(self):
        pool = SourcePool(["::1"], "20100-20101")
        with (
            support.listening(socket.AF_INET6) as server,
            create_connection(server.getsockname(), 5, source_address=pool) as sock,
        ):
            if sys.platform == "linux":
                assert pool.room(server.getsockname()) == {"::1": 1}
            support.reset(sock)

    def test_room_by_psutil(self, monkeypatch, server):
        pool = SourcePool(["127.0.0.2"], "20100-20104")
        with create_connection(server.getsockname(), 5, source_address=pool) as sock:
            monkeypatch.setattr(sys, "platform", "darwin")
            assert psutil.__version__
            assert pool.room(server.getsockname()) == {"127.0.0.2": 4}
            monkeypatch.setitem(sys.modules, "psutil", None)
            with pytest.raises(OSError, match="needs psutil"):
                pool.room(server.getsockname())
            monkeypatch.undo()
            support.reset(sock)

    @pytest.mark.parametrize(
        ("arguments", "kind", "words"),
        [
            ((["name"],), ValueError, "literal addresses, not 'name'"),
            (([5],), TypeError, "literal addresses, not 5"),
            (([],), ValueError, "at least one"),
            ((["127.0.0.2", "127.0.0.2"],), ValueError, "none twice"),
            (("127.0.0.2",), TypeError, "several addresses"),
            ((["127.0.0.2"], {"127.0.0.3": "1-2"}), ValueError, "not in the pool: 127.0.0.3"),
            ((["127.0.0.2"], 5.5), TypeError, "ports must be"),
        ],
    )
    def test_wrong_arguments(self, arguments, kind, words):
        with pytest.raises(kind, match=words):
            SourcePool(*arguments)

    def test_is_printed(self):
        assert repr(SourcePool(["127.0.0.2"])) == "SourcePool(['127.0.0.2'])"
        assert str(SourcePool([f"127.0.0.{n}" for n in range(9)])) == (
            "a pool of 9 addresses (127.0.0.0, 127.0.0.1, 127.0.0.2, ...)"
        )
        assert len(SourcePool(["127.0.0.2"])) == 1


class TestSettings:
    def test_are_compared_by_value(self):
        assert Connector(source_ports=LOW) == Connector(source_ports=PortRange(20000, 20499))
        assert Connector(source_ports=LOW) != Connector()
        assert hash(Connector(source_address=["::1"])) == hash(Connector(source_address=["::1"]))

    @linux_only
    def test_a_socket_that_need_not_wait(self, server, hole):
        with create_connection(server.getsockname(), 0, source_ports=LOW) as sock:
            assert sock.gettimeout() == 0
            support.reset(sock)
        with pytest.raises(TimeoutError):
            create_connection(hole, 0, source_ports=LOW)


def test_a_bound_socket_of_the_users_own_keeps_its_port(server):
    """What bind_socket() gives can be connected by hand, too."""
    port = random.randrange(21000, 30000)
    with bind_socket(("127.0.0.1", port)) as sock:
        sock.connect(server.getsockname())
        assert sock.getsockname()[1] == port
        support.reset(sock)
