"""PersistentConnection: what is kept, what is reset, what is sent again; one suite for all drivers."""

import errno
import socket
import time

import pytest

from safeconnect import Backoff, Connector, CrossedReplyError, PeerClosedError, Retry

from .. import replying, support
from ..replying import number_of, request
from .kit import AT_ONCE, SLOWLY, ask, wait_for_data

pytestmark = support.linux_only


async def send_and_fail(connection):
    async with connection.exchange(5) as exchange:
        await exchange.sendall(request(exchange.id, milliseconds=20))
        raise LookupError


async def cross(connection):
    async with connection.exchange(5) as exchange:
        await exchange.sendall(request(77))
        exchange.verify(number_of(await exchange.recv_exactly(8)))


async def test_one_connection_for_many_exchanges(connect, server):
    async with connect(server.address) as connection:
        assert server.accepted == 0  # on first use
        for number in range(1, 6):
            assert await ask(connection) == number
    assert server.requests == [(1, number) for number in range(1, 6)]


async def test_a_late_reply_dies_with_its_connection(connect, server):
    async with connect(server.address, retry=AT_ONCE) as connection:
        assert await ask(connection) == 1
        with pytest.raises(TimeoutError, match="timed out") as caught:
            await ask(connection, milliseconds=1000, timeout=0.02)
        assert "exchange 2: no reply in time; the connection was reset" in "".join(caught.value.__notes__)
        assert await ask(connection) == 3
    # The second's connection was reset, and the request with it if the server was slow to read.
    assert [each for each in server.requests if each != (1, 2)] == [(1, 1), (2, 3)]


async def test_any_exception_resets(connect, server):
    async with connect(server.address) as connection:
        with pytest.raises(LookupError):
            await send_and_fail(connection)
        assert await ask(connection) == 2
    assert (2, 2) in server.requests  # the first may be read later, or never: its connection was reset


async def test_bytes_that_nobody_asked_for(connect, server):
    """They are never handed on: not to this exchange, and not to the next."""
    async with connect(server.address) as connection:
        async with connection.exchange(5) as exchange:
            await exchange.sendall(request(1, replying.TWICE))
            assert number_of(await exchange.recv_exactly(8)) == 1
            wait_for_data(exchange.socket)
        assert await ask(connection) == 2
    assert server.requests == [(1, 1), (2, 2)]


@pytest.mark.parametrize("end", [None, support.reset], ids=["closed", "reset"])
async def test_the_server_has_closed_an_idle_connection(connect, server, end):
    async with connect(server.address, retry=SLOWLY) as connection:  # no pause is due
        for number in range(1, 4):
            assert await ask(connection) == number
            server.end_all(end)
    assert server.requests == [(1, 1), (2, 2), (3, 3)]


async def test_idle_for_too_long(connect, server):
    async with connect(server.address, idle_limit=0.0) as connection:
        assert await ask(connection) == 1
        assert await ask(connection) == 2
    assert server.requests == [(1, 1), (2, 2)]


async def test_a_reply_to_another_request(connect, server):
    async with connect(server.address) as connection:
        with pytest.raises(CrossedReplyError, match="the reply to 77 came where 1 was asked") as caught:
            await cross(connection)
        assert caught.value.errno == errno.ECONNABORTED
        assert await ask(connection) == 2
    assert server.requests == [(1, 77), (2, 2)]


async def test_a_crossed_reply_that_is_caught_inside(connect, server):
    """The connection is not kept all the same."""
    async with connect(server.address) as connection:
        async with connection.exchange(5) as exchange:
            await exchange.sendall(request(77))
            with pytest.raises(CrossedReplyError):
                exchange.verify(number_of(await exchange.recv_exactly(8)))
        assert await ask(connection) == 2
    assert server.requests == [(1, 77), (2, 2)]


async def test_the_connectors_own_timeout(connect, hole):
    connector = Connector(timeout=0.05)
    async with connect(hole, connector=connector, retry=Retry(attempts=1)) as connection:
        with pytest.raises(TimeoutError):
            await ask(connection, timeout=None)


class TestOnConnect:
    async def test_a_greeting(self, connect, server):
        """It is read before the first exchange, on each new connection."""

        def greet(sock):
            hello = request(0)
            with_timeout = sock.gettimeout() if isinstance(sock, socket.socket) else 0
            assert with_timeout == 0 or with_timeout <= 5
            assert sock.fileno() >= 0
            seen.append(hello)

        seen = []

        async with connect(server.address, on_connect=greet) as connection:
            assert await ask(connection) == 1
            server.end_all(None)
            assert await ask(connection) == 2
        assert len(seen) == 2

    @pytest.mark.parametrize("closes", [False, True])
    async def test_that_fails(self, connect, server, closes):
        """Its error is not replaced, even if it has closed what it was given."""

        def refuse(sock):
            if closes:
                sock.close()
            raise PermissionError(errno.EACCES, "wrong password")

        async with connect(server.address, on_connect=refuse, retry=AT_ONCE) as connection:
            for _ in range(2):
                with pytest.raises(PermissionError, match="wrong password"):
                    await ask(connection)
        assert server.has_accepted(2)

    async def test_that_closes_what_it_was_given(self, connect, server):
        async with connect(server.address, on_connect=lambda sock: sock.close()) as connection:
            with pytest.raises(RuntimeError, match="on_connect has closed the socket"):
                await ask(connection)


class TestPauses:
    async def test_a_pause_longer_than_the_time_is_told_at_once(self, connect, server):
        async with connect(server.address, retry=SLOWLY) as connection:
            with pytest.raises(ConnectionResetError):
                await ask(connection, replying.RESET)
            began = time.monotonic()
            with pytest.raises(TimeoutError) as caught:
                await ask(connection)
            assert time.monotonic() - began < support.SOON
            (note,) = caught.value.__notes__
            assert note.startswith(f"the connection to {server.address!r} was lost: Connection")
            assert "is due in 1 min 40 s" in note or "is due in 1 min 39 s" in note
        assert server.accepted == 1

    async def test_the_pause_is_made(self, connect, server):
        slowly = Retry(attempts=1, backoff=Backoff(initial=0.15, maximum=1, jitter="none"))

        async with connect(server.address, retry=slowly) as connection:
            await ask(connection)
            began = time.monotonic()
            with pytest.raises(ConnectionResetError):
                await ask(connection, replying.RESET)
            await ask(connection)
            assert time.monotonic() - began > 0.14


class TestClosing:
    async def test_closed_for_good(self, connect, server):
        connection = connect(server.address)
        await ask(connection)
        connection.close()
        connection.close()
        with pytest.raises(RuntimeError, match=r"this PersistentConnection to .* is closed"):
            await ask(connection)

    async def test_closed_inside_an_exchange(self, connect, server):
        connection = connect(server.address)
        async with connection.exchange(5) as exchange:
            connection.close()
            assert await exchange.recv(1) == b""

    async def test_an_exchange_that_is_over(self, connect, server):
        async with connect(server.address) as connection:
            async with connection.exchange(5) as exchange:
                pass
            with pytest.raises(RuntimeError, match="exchange 1 is over"):
                exchange.socket.fileno()
            with pytest.raises(RuntimeError, match="exchange 1 is over"):
                exchange.verify(1)

    async def test_one_inside_another(self, connect, server):
        async with connect(server.address) as connection, connection.exchange(5):
            with pytest.raises(RuntimeError):
                await ask(connection)


@pytest.mark.parametrize(
    ("address", "settings", "kind", "text"),
    [
        ("host", {}, TypeError, "address must be"),
        (("host", 1), {"connector": 5}, TypeError, "connector must be a Connector"),
        (("host", 1), {"retry": 5}, TypeError, "retry must be a Retry"),
        (("host", 1), {"idle_limit": -1}, ValueError, "idle_limit must be 0 or more"),
        (("host", 1), {"on_connect": 5}, TypeError, "on_connect must be callable"),
    ],
)
async def test_arguments(connect, address, settings, kind, text):
    with pytest.raises(kind, match=text):
        connect(address, **settings)


async def test_a_negative_timeout(connect, server):
    async with connect(server.address) as connection:
        with pytest.raises(ValueError, match="timeout must be 0 or more"):
            await ask(connection, timeout=-1)


class TestSendingAgain:
    """A request is sent again only where that does no harm."""

    @pytest.mark.parametrize(
        ("what", "may_be", "kind", "times"),
        [
            (replying.CLOSE, False, ConnectionResetError, 1),
            (replying.RESET, False, ConnectionResetError, 1),
            (replying.CLOSE, True, PeerClosedError, AT_ONCE.attempts),
            (replying.HALF, True, PeerClosedError, 1),  # not if a single byte came
        ],
    )
    async def test_how_often(self, connect, server, *, what, may_be, kind, times):
        async def function(exchange):
            await exchange.sendall(request(exchange.id, what))
            return await exchange.recv_exactly(8)

        async with connect(server.address, retry=AT_ONCE) as connection:
            with pytest.raises(kind):
                await connection.run(function, 5, idempotent=may_be)
        assert len(server.requests) == times

    @pytest.mark.parametrize("what", [replying.CLOSE, replying.RESET])
    async def test_if_nothing_came(self, connect, server, what):
        asked = iter([what, what, replying.ANSWER])

        async def function(exchange):
            await exchange.sendall(request(exchange.id, next(asked)))
            return number_of(await exchange.recv_exactly(8))

        async with connect(server.address, retry=AT_ONCE) as connection:
            assert await connection.run(function, 5, idempotent=True) == 3
        assert server.requests == [(1, 1), (2, 2), (3, 3)]

    async def test_not_if_it_came_unread(self, connect, server):
        """Bytes in the kernel's buffer count, read or not."""

        async def function(exchange):
            await exchange.sendall(request(exchange.id))
            wait_for_data(exchange.socket)
            raise ConnectionResetError(errno.ECONNRESET, "as if")

        async with connect(server.address, retry=AT_ONCE) as connection:
            with pytest.raises(ConnectionResetError, match="as if"):
                await connection.run(function, 5, idempotent=True)
        assert len(server.requests) == 1

    async def test_not_after_the_deadline(self, connect, server):
        calls = []

        async def function(exchange):
            calls.append(exchange)
            await exchange.sendall(request(exchange.id, replying.NEVER))
            return await exchange.recv_exactly(8)

        async with connect(server.address, retry=AT_ONCE) as connection:
            await ask(connection)
            with pytest.raises(TimeoutError):
                await connection.run(function, 0.2, idempotent=True)
        assert len(calls) == 1

    async def test_other_errors_are_the_functions_own(self, connect, server):
        async def function(exchange):
            raise ValueError("mine")

        async with connect(server.address) as connection:
            with pytest.raises(ValueError, match="mine"):
                await connection.run(function, 5, idempotent=True)
