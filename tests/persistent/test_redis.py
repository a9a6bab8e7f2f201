"""A real server that is stopped past the timeout and goes on: replies of a PersistentConnection never cross.

A naive client beside it, one socket that is used again after a timeout, takes late replies for its own.
"""

import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from safeconnect import create_connection

from ..integrations import kit
from ..support import linux_only, wait_until
from .kit import AT_ONCE, each_driver

pytestmark = linux_only

STOPS = 5
TOO_SHORT = 0.03
IN_MEMORY = ["--save", "", "--appendonly", "no"]


def command(*words):
    """A request in the protocol of Redis (RESP): an array of strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Naive:
    """One socket, used again after a timeout. ``wrong`` are the replies that are not those to their requests."""

    def __init__(self, address, key):
        self.sock = socket.create_connection(address)
        self.key = key
        self.increments = 0
        self.wrong = []

    def ping(self):
        self.ask(b"PING", expected=b"+PONG\r\n")

    def increment(self, timeout=10.0):
        """Nobody else does that with this key: the right number is known."""
        self.increments += 1
        self.ask(b"INCR", self.key, expected=b":%d\r\n" % self.increments, timeout=timeout)

    def ask(self, *words, expected, timeout=10.0):
        self.sock.settimeout(timeout)
        self.sock.sendall(command(*words))
        reply = b""
        while not reply.endswith(b"\r\n"):
            reply += self.sock.recv(1)
        if reply != expected:
            self.wrong.append((words[0], reply))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


async def ask(connection, *words, timeout=10.0):
    """The reply, a line or a string after the line with its length."""
    async with connection.exchange(timeout) as exchange:
        await exchange.sendall(command(*words))
        line = await line_of(exchange)
        if not line.startswith(b"$"):
            return line
        return (await exchange.recv_exactly(int(line[1:]) + 2))[:-2]


async def line_of(exchange):
    line = b""
    while not line.endswith(b"\r\n"):
        line += await exchange.recv_exactly(1)
    return line


class Redis:
    """A redis-server, which can be stopped."""

    def __init__(self, address):
        self.address = address
        with create_connection(address, 10) as sock:
            sock.sendall(command(b"INFO", b"server"))
            told = b""
            while not (found := re.search(rb"process_id:(\d+)\r", told)):
                told += sock.recv(4096)
        self.process = int(found[1])

    def stop(self):
        os.kill(self.process, signal.SIGSTOP)
        wait_until(self.has_stopped)

    def has_stopped(self):
        stats = (task.joinpath("stat").read_text() for task in Path(f"/proc/{self.process}/task").iterdir())
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    def go_on(self):
        os.kill(self.process, signal.SIGCONT)

    @contextlib.contextmanager
    def stopped(self):
        try:
            self.stop()
            yield
        finally:
            self.go_on()


@pytest.fixture(scope="module")
def redis():
    port = kit.free_port()
    plain = ["--port", str(port), "--bind", "127.0.0.1", "--protected-mode", "no"]
    with kit.daemon("redis-server", *plain, *IN_MEMORY, port=port):
        yield Redis(("127.0.0.1", port))


@pytest.fixture
def key(request):
    """One that no other test has."""
    return request.node.name.encode()


class Account:
    """Asks, and sees that PING is answered with PONG, and INCR with a number greater than all before."""

    def __init__(self, connection, key):
        self.connection = connection
        self.key = key
        self.last = 0

    async def ping(self, timeout=10.0):
        assert await ask(self.connection, b"PING", timeout=timeout) == b"+PONG\r\n"

    async def increment(self, timeout=10.0):
        reply = await ask(self.connection, b"INCR", self.key, timeout=timeout)
        assert re.fullmatch(rb":\d+\r\n", reply)
        assert int(reply[1:]) > self.last
        self.last = int(reply[1:])

    async def work(self):
        for request in (self.ping, self.increment, self.ping, self.increment):
            await request()

    async def ask_in_vain(self):
        for request in (self.increment, self.ping, self.increment):
            with pytest.raises(TimeoutError):
                await request(TOO_SHORT)

    async def has_the_servers_number(self):
        """A request that was given up may have been carried out, but before those of later connections."""
        await self.work()
        return int(await ask(self.connection, b"GET", self.key)) == self.last


@each_driver
def test_replies_never_cross(run, redis, key):
    async def scenario(connect):
        async with connect(redis.address, retry=AT_ONCE) as connection:
            account = Account(connection, key)
            await account.work()
            naive.increment()
            for _ in range(STOPS):
                with redis.stopped():
                    await account.ask_in_vain()
                    with contextlib.suppress(TimeoutError):  # not where it finds a late reply
                        naive.increment(TOO_SHORT)
                await account.work()
                naive.ping()
                naive.increment()
            assert await account.has_the_servers_number()

    with Naive(redis.address, b"naive " + key) as naive:
        run(scenario)
        assert naive.wrong[:2] == [(b"PING", b":2\r\n"), (b"INCR", b"+PONG\r\n")]
        assert len(naive.wrong) > STOPS  # once late, for ever late
