"""One request and its reply on a kept connection: what `PersistentConnection` and its peers add to the bare socket.

Each contender is measured beside a socket that sends as many bytes, and receives the same reply, with the same timeout.
One server process answers all of them; `exchanges.py` starts it.
"""

import asyncio
import http.client
import multiprocessing
import re
import socket
import statistics
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any

import redis
import redis.asyncio
import trio
import urllib3
from asynchronous import interleave as interleave_awaited
from measure import figures, interleave

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import PersistentConnection

TIMEOUT = 5
RAW = "a socket: "
# A request of each protocol, as long as the client's own, and the reply to any.
REQUESTS = {
    "bytes": b"x" * 8,
    "http": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:40000\r\nAccept-Encoding: identity\r\n\r\n",
    "redis": b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n",
}
REPLIES = {"bytes": b"y" * 8, "http": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny", "redis": b"+y\r\n"}
# Whose socket it is compared with.
PROTOCOLS = {
    "PersistentConnection": "bytes",
    "http.client": "http",
    "urllib3.HTTPConnectionPool": "http",
    "redis.Redis": "redis",
    "redis.asyncio.Redis": "redis",
}

Added = dict[str, dict[str, float]]


def serve(ready: Any) -> None:
    """A listener for each protocol, each connection in a thread, until this process is ended."""
    listeners = {protocol: socket.create_server(("127.0.0.1", 0)) for protocol in REQUESTS}
    for protocol, listener in listeners.items():
        threading.Thread(target=accept, args=[protocol, listener], daemon=True).start()
    ready.send({protocol: listener.getsockname() for protocol, listener in listeners.items()})
    threading.Event().wait()


def accept(protocol: str, listener: socket.socket) -> None:
    """Answer each connection in a thread."""
    while True:
        threading.Thread(target=answer, args=[protocol, listener.accept()[0]], daemon=True).start()


def answer(protocol: str, sock: socket.socket) -> None:
    """One reply to each request; a client may send several commands of Redis at once when it connects."""
    with sock, suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := sock.recv(1024):
            count = len(re.findall(rb"\*\d+\r\n", data)) if protocol == "redis" else 1
            sock.sendall(REPLIES[protocol] * count)


@contextmanager
def running(serve: Callable[[Any], None]) -> Iterator[Any]:
    """Run a server in a process of its own; what it says when it is ready."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=[theirs], daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def raw(stack: ExitStack, protocol: str, address: Any) -> Callable[[], object]:
    """A request and its reply on a socket."""
    sock = stack.enter_context(socket.create_connection(address, TIMEOUT))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = REQUESTS[protocol]

    def call() -> bytes:
        sock.sendall(request)
        return sock.recv(1024)

    return call


def blocking(stack: ExitStack, addresses: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
    """The contenders that block, and a socket for each protocol."""
    request = REQUESTS["bytes"]
    connection = stack.enter_context(PersistentConnection(addresses["bytes"]))
    client = http.client.HTTPConnection(*addresses["http"], timeout=TIMEOUT)
    stack.callback(client.close)
    pool = stack.enter_context(urllib3.HTTPConnectionPool(*addresses["http"], timeout=TIMEOUT, maxsize=1))
    cache = stack.enter_context(redis.Redis(*addresses["redis"], protocol=2, socket_timeout=TIMEOUT))

    def ours() -> bytes:
        with connection.exchange(TIMEOUT) as exchange:
            exchange.sendall(request)
            return exchange.recv(1024)

    def by_http() -> bytes:
        client.request("GET", "/")
        return client.getresponse().read()

    return {
        **{RAW + protocol: raw(stack, protocol, address) for protocol, address in addresses.items()},
        "PersistentConnection": ours,
        "http.client": by_http,
        "urllib3.HTTPConnectionPool": lambda: pool.request("GET", "/").data,
        "redis.Redis": lambda: cache.get("x"),
    }


async def on_asyncio(addresses: Mapping[str, Any], rounds: int) -> dict[str, list[float]]:
    """The seconds of those on asyncio."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(safeconnect.asyncio.PersistentConnection(addresses["bytes"]))
        cache = redis.asyncio.Redis(
            host=addresses["redis"][0], port=addresses["redis"][1], protocol=2, socket_timeout=TIMEOUT
        )
        stack.push_async_callback(cache.aclose)

        def bare(protocol: str) -> Callable[[], Awaitable[Any]]:
            sock = stack.enter_context(socket.create_connection(addresses[protocol]))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)  # noqa: FBT003 - it has no keyword

            async def call() -> bytes:
                async with asyncio.timeout(TIMEOUT):
                    await loop.sock_sendall(sock, REQUESTS[protocol])
                    return await loop.sock_recv(sock, 1024)

            return call

        calls = {
            **{RAW + protocol: bare(protocol) for protocol in ("bytes", "redis")},
            "PersistentConnection": exchanged(connection),
            "redis.asyncio.Redis": lambda: cache.get("x"),
        }
        return await interleave_awaited(calls, nothing, rounds, rounds // 10)


async def on_trio(addresses: Mapping[str, Any], rounds: int) -> dict[str, list[float]]:
    """The seconds of those on trio."""
    async with safeconnect.trio.PersistentConnection(addresses["bytes"]) as connection:
        with trio.socket.from_stdlib_socket(socket.create_connection(addresses["bytes"])) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            async def bare() -> bytes:
                with trio.fail_after(TIMEOUT):
                    await sock.send(REQUESTS["bytes"])
                    return bytes(await sock.recv(1024))

            calls = {RAW + "bytes": bare, "PersistentConnection": exchanged(connection)}
            return await interleave_awaited(calls, nothing, rounds, rounds // 10)


def exchanged(connection: Any) -> Callable[[], Awaitable[Any]]:
    """One exchange of ours, awaited."""

    async def call() -> Any:
        async with connection.exchange(TIMEOUT) as exchange:
            await exchange.sendall(REQUESTS["bytes"])
            return await exchange.recv(1024)

    return call


async def nothing(_: object) -> None:
    """There is nothing to dispose of."""


def added(times: Mapping[str, Sequence[float]]) -> Added:
    """What each adds to the socket of its protocol: the median of the rounds' differences, in microseconds."""
    found = {}
    for name, taken in times.items():
        if not name.startswith(RAW):
            base = RAW + PROTOCOLS[name]
            figure = figures({base: times[base], name: taken}, base)[name]
            differences = [mine - its for mine, its in zip(taken, times[base], strict=True)]
            found[name] = figure | {"added_us": round(statistics.median(differences) * 1e6, 1)}
    return found


def measure(rounds: int) -> dict[str, Added]:
    """What each adds, by driver."""
    with running(serve) as addresses, ExitStack() as stack:
        calls = blocking(stack, addresses)
        return {
            "blocking": added(interleave(calls, lambda _: None, rounds, rounds // 10)),
            "asyncio": added(asyncio.run(on_asyncio(addresses, rounds))),
            "trio": added(trio.run(on_trio, addresses, rounds)),
        }
