"""PersistentConnection with ``max_age``: when a connection is made anew, how the old one ends, and what sees it."""

import random
import socket
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import AddressNotAllowedError, ConnectMemory, Connector
from safeconnect._persistent.shared import Link
from safeconnect.events import Connected

from .. import support
from ..support import listening, resolver

pytestmark = support.linux_only

MAX_AGE = 100.0
NOBODY = SimpleNamespace(is_over=False)


class Time:
    """The clock and the chance of one connection: it is old after 90 seconds."""

    def __init__(self, connection):
        self.now = 1000.0
        link = getattr(connection, "connection", connection)._link
        link.clock = lambda: self.now
        link.draw = lambda: 0.5


async def use(connection):
    """One exchange; says which connection it had."""
    async with connection.exchange(5) as exchange:
        await exchange.sendall(b"x")
        return exchange.socket.getsockname()[1]


@pytest.fixture
def server():
    with listening() as listener:
        yield listener


class TestEachDriver:
    async def test_an_old_connection_is_closed_in_order_and_made_anew(self, connect, server):
        async with connect(server.getsockname(), max_age=MAX_AGE) as connection:
            time = Time(connection)
            first = await use(connection)
            time.now += 89.9
            assert await use(connection) == first  # a busy one is no younger
            time.now += 0.1
            second = await use(connection)
            assert second != first
            time.now += 89.9
            assert await use(connection) == second
        for _ in range(2):
            with server.accept()[0] as peer:
                assert peer.recv(3, socket.MSG_WAITALL) == b"xx"  # and the end of the stream: a FIN, no RST

    async def test_no_exchange_is_broken_off(self, connect, server):
        async with connect(server.getsockname(), max_age=MAX_AGE) as connection:
            time = Time(connection)
            async with connection.exchange(5) as exchange:
                await exchange.sendall(b"x")
                time.now += 10 * MAX_AGE
                with server.accept()[0] as peer:
                    peer.sendall(b"reply")
                    assert await exchange.recv_exactly(5) == b"reply"
                    assert peer.recv(1) == b"x"
                    first = exchange.socket.getsockname()[1]
            assert await use(connection) != first

    async def test_a_change_of_addresses_is_followed(self, connect, server):
        """Also with a memory, which knows the old address as the one that has answered last."""
        addresses = [server.getsockname()]
        connector = Connector(resolver=lambda *_: resolver(*addresses)("db.internal", 1), memory=ConnectMemory())
        with listening() as other:
            async with connect(("db.internal", 1), connector=connector, max_age=MAX_AGE) as connection:
                time = Time(connection)
                for expected in (server, server, other):
                    async with connection.exchange(5) as exchange:
                        assert exchange.socket.getpeername() == expected.getsockname()
                    time.now += 45
                    addresses[:] = [other.getsockname()]

    async def test_an_address_that_is_not_allowed_is_not_followed(self, connect, server):
        addresses = [server.getsockname(), ("127.0.0.2", server.getsockname()[1])]
        connector = Connector(resolver=lambda *_: resolver(addresses.pop(0))("a.test", 1), allow=["127.0.0.1"])
        async with connect(("a.test", 1), connector=connector, max_age=MAX_AGE) as connection:
            time = Time(connection)
            await use(connection)
            time.now += MAX_AGE
            with pytest.raises(AddressNotAllowedError, match=r"does not permit 127\.0\.0\.2"):
                await use(connection)

    async def test_on_connect_and_the_trace_see_each_connection(self, connect, server):
        greeted, trace = [], []
        settings = {"on_connect": greeted.append, "connector": Connector(trace=trace.append)}
        async with connect(server.getsockname(), max_age=MAX_AGE, **settings) as connection:
            time = Time(connection)
            for _ in range(4):
                await use(connection)
                time.now += 60
        assert len(greeted) == 2
        assert [type(each) for each in trace].count(Connected) == 2

    async def test_no_pause_is_due(self, connect, server):
        """That a connection is old is no failure."""
        async with connect(server.getsockname(), max_age=0) as connection:
            ports = [await use(connection) for _ in range(5)]
            assert len(set(ports)) == 5
            assert getattr(connection, "connection", connection)._link.reconnection.lost == 0

    @pytest.mark.parametrize(("value", "kind"), [(-1, ValueError), (float("nan"), ValueError), ("60", TypeError)])
    async def test_what_is_no_time(self, connect, value, kind):
        with pytest.raises(kind, match="max_age must be"):
            connect(("host", 1), max_age=value)


def link(max_age, draw, now=0.0):
    made = Link(("host", 1), None, retry=None, idle_limit=None, max_age=max_age, on_connect=None)
    made.clock, made.draw = lambda: now, draw
    with closing(socket.socket()) as sock:
        made.take_over(NOBODY, sock)
    return made


def is_stale(made, now):
    made.clock = lambda: now
    return made._is_stale()


@given(st.floats(0.001, 1e6), st.floats(0, 1, exclude_max=True), st.floats(0, 1e6))
def test_the_age_is_from_four_fifths_of_the_limit_up_to_it(max_age, share, made_at):
    made = link(max_age, lambda: share, made_at)
    assert not is_stale(made, made_at + 0.79 * max_age)
    assert is_stale(made, made_at + 1.01 * max_age)
    assert made_at + 0.8 * max_age <= made._old_at * (1 + 1e-9)
    assert made._old_at <= made_at + max_age


def test_without_a_limit_no_chance_is_asked_for():
    made = link(None, draw=None)
    assert not is_stale(made, 1e12)


def test_an_unlimited_age():
    assert not is_stale(link(float("inf"), lambda: 0.5), 1e12)


def test_a_fleet_that_connected_at_one_instant_comes_back_over_a_fifth_of_the_limit():
    draw = random.Random(20811).random
    ends = [link(MAX_AGE, draw)._old_at for _ in range(2000)]
    for second in range(80, 100):
        assert 60 <= sum(second <= end < second + 1 for end in ends) <= 140  # of 100
