"""When PersistentConnection sends a request again: only where that does no harm."""

import errno

import pytest

from safeconnect import PeerClosedError

from .. import replying, support
from ..replying import number_of, request
from .kit import AT_ONCE, ask, each_driver, wait_for_data

pytestmark = [each_driver, support.linux_only]


class TestSendingAgain:
    @pytest.mark.parametrize("what", [replying.CLOSE, replying.RESET])
    def test_not_unless_it_may_be(self, run, server, what):
        async def scenario(connect):
            async def function(exchange):
                await exchange.sendall(request(exchange.id, what))
                return await exchange.recv_exactly(8)

            async with connect(server.address, retry=AT_ONCE) as connection:
                with pytest.raises(ConnectionResetError):
                    await connection.run(function, 5)

        run(scenario)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("what", [replying.CLOSE, replying.RESET])
    def test_if_nothing_came(self, run, server, what):
        async def scenario(connect):
            asked = iter([what, what, replying.ANSWER])

            async def function(exchange):
                await exchange.sendall(request(exchange.id, next(asked)))
                return number_of(await exchange.recv_exactly(8))

            async with connect(server.address, retry=AT_ONCE) as connection:
                assert await connection.run(function, 5, idempotent=True) == 3

        run(scenario)
        assert server.requests == [(1, 1), (2, 2), (3, 3)]

    def test_as_often_as_retry_says(self, run, server):
        async def scenario(connect):
            async def function(exchange):
                await exchange.sendall(request(exchange.id, replying.CLOSE))
                return await exchange.recv_exactly(8)

            async with connect(server.address, retry=AT_ONCE) as connection:
                with pytest.raises(PeerClosedError):
                    await connection.run(function, 5, idempotent=True)

        run(scenario)
        assert len(server.requests) == 3

    def test_not_if_a_single_byte_came(self, run, server):
        async def scenario(connect):
            async def function(exchange):
                await exchange.sendall(request(exchange.id, replying.HALF))
                return await exchange.recv_exactly(8)

            async with connect(server.address, retry=AT_ONCE) as connection:
                with pytest.raises(PeerClosedError):
                    await connection.run(function, 5, idempotent=True)

        run(scenario)
        assert len(server.requests) == 1

    def test_not_if_it_came_unread(self, run, server):
        """Bytes in the kernel's buffer count, read or not."""

        async def scenario(connect):
            async def function(exchange):
                await exchange.sendall(request(exchange.id))
                wait_for_data(exchange.socket)
                raise ConnectionResetError(errno.ECONNRESET, "as if")

            async with connect(server.address, retry=AT_ONCE) as connection:
                with pytest.raises(ConnectionResetError, match="as if"):
                    await connection.run(function, 5, idempotent=True)

        run(scenario)
        assert len(server.requests) == 1

    def test_not_after_the_deadline(self, run, server):
        async def scenario(connect):
            async def function(exchange):
                calls.append(exchange)
                await exchange.sendall(request(exchange.id, replying.NEVER))
                return await exchange.recv_exactly(8)

            async with connect(server.address, retry=AT_ONCE) as connection:
                await ask(connection)
                with pytest.raises(TimeoutError):
                    await connection.run(function, 0.2, idempotent=True)

        calls = []
        run(scenario)
        assert len(calls) == 1

    def test_other_errors_are_the_functions_own(self, run, server):
        async def scenario(connect):
            async def function(exchange):
                raise ValueError("mine")

            async with connect(server.address) as connection:
                with pytest.raises(ValueError, match="mine"):
                    await connection.run(function, 5, idempotent=True)

        run(scenario)
