"""The operations that `counts.py` counts, run one after the other, with a mark before and after each.

Started by `counts.py` under valgrind or strace; prints what lies between the marks, in order. A mark is a call of the C
library's `getloadavg`, which valgrind sees, between two of `getpriority`, which strace sees; nothing else makes either.
Each operation is awaited or called so many times, after a warm-up; accepting and closing lie outside of the marks.
"""

import asyncio
import gc
import http.client
import importlib.util
import json
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from measure import BASE, LINGER_0, Server

import safeconnect
from safeconnect import PersistentConnection

OPERATIONS = 192  # three times the windows that are prefetched at once
WARM_UP = 96
NAME = "counted.test"  # where counts.py has put it into /etc/hosts
TIMEOUT = 5
PORT = 40_000  # the same in each run, where it is free; in the ephemeral range, as the servers of most tests are

Operation = Callable[[], Any]
Contenders = dict[str, Operation]


def mark() -> None:
    """What counts.py looks for."""
    os.getpriority(os.PRIO_PROCESS, 0)
    os.getloadavg()
    os.getpriority(os.PRIO_PROCESS, 0)


def without_chance() -> None:
    """Draw the same windows of source ports in each run, by the same system calls."""
    drawn = random.Random(0)
    genuine = os.urandom

    def urandom(size: int) -> bytes:
        genuine(size)
        return drawn.randbytes(size)

    os.urandom = urandom


def serve(host: str) -> Server:
    """A server on the port that is the same in each run, or on any."""
    try:
        return Server(host, PORT)
    except OSError:
        return Server(host)


class Counting:
    """Runs operations between marks, and keeps what they return until they are over."""

    def __init__(self, server: Server) -> None:
        server.socket.listen(OPERATIONS)
        self.server = server
        self.kept: list[Any] = []

    def rounds(self) -> Iterator[tuple[range, Callable[[], object]]]:
        """How often to operate, and what marks the begin and the end: first a warm-up, then what counts."""
        for count, at in ((WARM_UP, int), (OPERATIONS, mark)):
            gc.collect()
            gc.freeze()
            yield range(count), at
            for kept in filter(None, self.kept):
                self.server.socket.accept()[0].close()
                close(kept)
            self.kept.clear()

    def run(self, operation: Operation) -> None:
        """Warm up, then count."""
        for numbers, at in self.rounds():
            at()
            for _ in numbers:
                self.kept.append(operation())
            at()

    async def arun(self, operation: Callable[[], Awaitable[Any]], rest: Callable[[], Awaitable[None]]) -> None:
        """The same with what is awaited. ``rest`` lets the event loop finish what was closed in the round before."""
        for numbers, at in self.rounds():
            await rest()
            await rest()
            at()
            for _ in numbers:
                self.kept.append(await operation())
            at()


def close(connection: Any) -> None:
    """Close a socket or a stream at once."""
    if isinstance(connection, tuple):
        connection[1].transport.abort()
    else:
        getattr(connection, "socket", connection).close()


def tried(connect: Operation) -> None:
    """A connect that is to fail."""
    try:
        connect()
    except ConnectionRefusedError:
        return
    raise AssertionError("somebody listens where nobody should")


def connects(address: Any, timeout: float | None) -> Contenders:
    """One connect, ours and the standard library's."""
    if timeout is None:
        return {
            "safeconnect": lambda: safeconnect.create_connection(address),
            BASE: lambda: socket.create_connection(address),
        }
    return {
        "safeconnect": lambda: safeconnect.create_connection(address, timeout),
        BASE: lambda: socket.create_connection(address, timeout),
    }


def blocking(server: Server, refused: tuple[str, int], name: str | None) -> Iterator[tuple[str, Contenders]]:
    """Cases of the blocking driver toward a server of IPv4."""
    port = server.port
    yield "127.0.0.1", connects(("127.0.0.1", port), None)
    yield "127.0.0.1, timeout", connects(("127.0.0.1", port), TIMEOUT)
    yield "localhost", connects(("localhost", port), None)
    yield "localhost, timeout", connects(("localhost", port), TIMEOUT)
    yield "refused, timeout", {name: partial(tried, call) for name, call in connects(refused, TIMEOUT).items()}
    if name:
        yield "a name of /etc/hosts", connects((name, port), None)
        yield "a name of /etc/hosts, timeout", connects((name, port), TIMEOUT)


def request_and_reply(peer: socket.socket) -> bytes:
    """The server's side of an exchange, in the same thread: it is the same for all."""
    data = peer.recv(64)
    peer.send(data)
    return data


class Exchanges:
    """One exchange of a byte on a connection that is kept; the server answers in this thread, so nothing waits."""

    def __init__(self, server: Server) -> None:
        self.address = ("127.0.0.1", server.port)
        self.server = server

    def accept(self) -> socket.socket:
        """The server's side of the connection that was made last."""
        peer, _ = self.server.socket.accept()
        return peer

    def blocking(self) -> Contenders:
        """PersistentConnection, a socket, and http.client, whose request is longer."""
        connection = PersistentConnection(self.address)
        with connection.exchange(TIMEOUT):
            served = self.accept()
        bare = socket.create_connection(self.address, TIMEOUT)
        served_bare = self.accept()
        client = http.client.HTTPConnection(*self.address, timeout=TIMEOUT)
        client.connect()
        served_client = self.accept()

        def ours() -> None:
            with connection.exchange(TIMEOUT) as exchange:
                exchange.sendall(b"x")
                request_and_reply(served)
                exchange.recv(1)

        def raw() -> None:
            bare.sendall(b"x")
            request_and_reply(served_bare)
            bare.recv(1)

        def by_http() -> None:
            client.request("GET", "/")
            served_client.recv(256)
            served_client.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            client.getresponse().read()

        return {"safeconnect": ours, "a socket": raw, "http.client": by_http}

    async def awaited(self, kind: Any) -> tuple[Callable[[], Awaitable[None]], Any]:
        """PersistentConnection on an event loop, and the connection."""
        connection = kind(self.address)
        async with connection.exchange(TIMEOUT):
            served = self.accept()

        async def ours() -> None:
            async with connection.exchange(TIMEOUT) as exchange:
                await exchange.sendall(b"x")
                request_and_reply(served)
                await exchange.recv(1)

        return ours, connection

    async def on_asyncio(self) -> Contenders:
        """Beside the methods of the event loop, with a timeout of its own kind."""
        from safeconnect.asyncio import PersistentConnection as OnAsyncio

        ours, _ = await self.awaited(OnAsyncio)
        loop = asyncio.get_running_loop()
        bare = socket.create_connection(self.address)
        bare.setblocking(False)  # noqa: FBT003 - it has no keyword
        served = self.accept()

        async def raw() -> None:
            async with asyncio.timeout(TIMEOUT):
                await loop.sock_sendall(bare, b"x")
                request_and_reply(served)
                await loop.sock_recv(bare, 1)

        return {"safeconnect": ours, "loop.sock_recv": raw}

    async def on_trio(self) -> Contenders:
        """Beside trio's own socket, with a timeout of its own kind."""
        import trio

        from safeconnect.trio import PersistentConnection as OnTrio

        ours, _ = await self.awaited(OnTrio)
        bare = trio.socket.from_stdlib_socket(socket.create_connection(self.address))
        served = self.accept()

        async def raw() -> None:
            with trio.fail_after(TIMEOUT):
                await bare.send(b"x")
                request_and_reply(served)
                await bare.recv(1)

        return {"safeconnect": ours, "trio.socket": raw}


class Cases:
    """All cases, in order; what was counted is told by `counted`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.counting = Counting(server)
        self.address = ("127.0.0.1", server.port)
        self.counted: list[tuple[str, str]] = []

    def count(self, case: str, contenders: Contenders) -> None:
        """Count what is called."""
        for name, operation in contenders.items():
            self.counting.run(operation)
            self.counted.append((case, name))

    async def acount(self, case: str, contenders: Contenders, rest: Callable[[], Awaitable[None]]) -> None:
        """Count what is awaited."""
        for name, operation in contenders.items():
            await self.counting.arun(operation, rest)
            self.counted.append((case, name))

    def blocking(self, name: str | None) -> None:
        """The blocking driver."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            for case, contenders in blocking(self.server, bound.getsockname(), name):
                self.count(case, contenders)
        try:
            six = serve("::1")
        except OSError as error:  # a machine without IPv6
            print(f"::1 is left out: {error}", file=sys.stderr)
        else:
            with six:
                before, self.counting = self.counting, Counting(six)
                self.count("::1", connects(("::1", six.port), None))
                self.counting = before
        self.count("an exchange", Exchanges(self.server).blocking())

    async def on_asyncio(self, loop: str) -> None:
        """The driver of asyncio, also under uvloop."""
        from safeconnect.asyncio import create_connection, open_connection

        async def plain() -> socket.socket:
            sock = socket.socket()
            sock.setblocking(False)  # noqa: FBT003 - it has no keyword
            await asyncio.get_running_loop().sock_connect(sock, self.address)
            return sock

        rest = partial(asyncio.sleep, 0)
        sockets = {"safeconnect": partial(create_connection, self.address), "loop.sock_connect": plain}
        await self.acount(f"{loop}: a socket", sockets, rest)
        ours = partial(open_connection, self.address)
        theirs = partial(asyncio.open_connection, *self.address)
        await self.acount(f"{loop}: streams", {"safeconnect": ours, "asyncio.open_connection": theirs}, rest)
        await self.acount(f"{loop}: an exchange", await Exchanges(self.server).on_asyncio(), rest)

    async def on_trio(self) -> None:
        """The driver of trio."""
        import trio

        from safeconnect.trio import open_tcp_stream

        rest = trio.lowlevel.checkpoint
        ours, theirs = (partial(each, *self.address) for each in (open_tcp_stream, trio.open_tcp_stream))
        await self.acount("trio: a stream", {"safeconnect": ours, "trio.open_tcp_stream": theirs}, rest)
        await self.acount("trio: an exchange", await Exchanges(self.server).on_trio(), rest)


def main() -> None:
    """Run all cases; say in which order they were."""
    name = NAME if "--name" in sys.argv else None
    without_chance()
    if hasattr(os, "sched_setaffinity"):  # on one processor threads wait for each other more nearly the same way
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    with serve("127.0.0.1") as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        cases = Cases(server)
        cases.blocking(name)
        asyncio.run(cases.on_asyncio("asyncio"))
        if importlib.util.find_spec("uvloop"):
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(cases.on_asyncio("uvloop"))
        if importlib.util.find_spec("trio"):
            import trio

            trio.run(cases.on_trio)
    print(json.dumps(cases.counted))


if __name__ == "__main__":
    main()
