"""The cost of one awaited connect on loopback, on asyncio, uvloop and trio: safeconnect beside what each offers.

For 127.0.0.1 and ::1: plain sockets (`loop.sock_connect`, aiohappyeyeballs), streams (asyncio, anyio, aiohttp, trio),
and anyio's stream on each. Nothing else runs in the event loop. Accepting and closing are not timed.
"""

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import aiohappyeyeballs
import aiohttp
import aiohttp.connector
import anyio
import anyio.abc
import trio
from measure import PACKAGES, Server, arguments, figures, ratios, report, row, show, target, turns
from yarl import URL

import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]

Result = TypeVar("Result")
Call = Callable[[], Awaitable[Result]]
Connects = dict[str, Call[Any]]
Times = Mapping[str, Sequence[float]]

HOSTS = ("127.0.0.1", "::1")
PEERS = ("aiohappyeyeballs", "aiohttp", "anyio", "trio", "uvloop")
HEADERS = ("contender", "median us", "p90 us", "mean us", "ours x it", "means")
ALONE = "alone_ratio"
CONTROL = "{} again"


class Comparison(NamedTuple):
    """What is measured side by side: the first is ours, and ``limits`` say how much of a peer's time it may take."""

    connects: Callable[[Server], Connects]
    limits: Mapping[str, float]


async def by_sock_connect(family: int, address: tuple[Any, ...]) -> socket.socket:
    """As a careful user writes it."""
    sock = socket.socket(family)
    try:
        sock.setblocking(False)  # noqa: FBT003 - it has no keyword
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def by_open_connection(family: int, address: tuple[Any, ...]) -> tuple[Any, Any]:
    """The least that a stream over a socket of one's own takes: no check, and no wait, for loopback needs none."""
    sock = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    try:
        sock.connect_ex(address)
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def sockets(server: Server) -> Connects:
    """The ways to a connected socket on asyncio. The second ``loop.sock_connect`` is a control, as are others below."""
    address = server.socket.getsockname()
    found = [(server.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]
    return {
        "safeconnect.asyncio.create_connection": partial(safeconnect.asyncio.create_connection, address[:2]),
        "loop.sock_connect": partial(by_sock_connect, server.family, address),
        CONTROL.format("loop.sock_connect"): partial(by_sock_connect, server.family, address),
        "aiohappyeyeballs.start_connection": partial(aiohappyeyeballs.start_connection, found),
    }


def streams(server: Server) -> Connects:
    """The ways to a stream on asyncio; aiohttp's is the connect of its pool, without a request sent."""
    host, port = address = server.socket.getsockname()[:2]
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    request = aiohttp.ClientRequest("GET", URL.build(scheme="http", host=host, port=port))
    return {
        "safeconnect.asyncio.open_connection": partial(safeconnect.asyncio.open_connection, address),
        "asyncio.open_connection": partial(asyncio.open_connection, host, port),
        CONTROL.format("asyncio.open_connection"): partial(asyncio.open_connection, host, port),
        "asyncio.open_connection, given a socket": partial(
            by_open_connection, server.family, server.socket.getsockname()
        ),
        "anyio.connect_tcp": partial(anyio.connect_tcp, host, port),
        "aiohttp.TCPConnector.connect": partial(connector.connect, request, [], aiohttp.ClientTimeout()),
    }


def anyio_streams(server: Server) -> Connects:
    """The ways to anyio's stream, on any of its backends."""
    host, port = server.socket.getsockname()[:2]
    return {
        "safeconnect.anyio.connect_tcp": partial(safeconnect.anyio.connect_tcp, host, port),
        "anyio.connect_tcp": partial(anyio.connect_tcp, host, port),
        CONTROL.format("anyio.connect_tcp"): partial(anyio.connect_tcp, host, port),
    }


def trio_streams(server: Server) -> Connects:
    """The ways to a stream on trio."""
    host, port = server.socket.getsockname()[:2]
    return {
        "safeconnect.trio.open_tcp_stream": partial(safeconnect.trio.open_tcp_stream, host, port),
        "trio.open_tcp_stream": partial(trio.open_tcp_stream, host, port),
        CONTROL.format("trio.open_tcp_stream"): partial(trio.open_tcp_stream, host, port),
        "anyio.connect_tcp": partial(anyio.connect_tcp, host, port),
    }


# uvloop's own stream is compiled from the first line to the last. The row "given a socket" is what remains of ours
# without the window, the check and all other code of safeconnect: no stream that uvloop makes of a socket costs less.
COMPARISONS: Mapping[str, Mapping[str, Comparison]] = {
    "asyncio": {
        "sockets": Comparison(sockets, {"loop.sock_connect": 0.60, "aiohappyeyeballs.start_connection": 0.60}),
        "streams": Comparison(
            streams,
            {"asyncio.open_connection": 0.60, "anyio.connect_tcp": 1.0, "aiohttp.TCPConnector.connect": 1.0},
        ),
        "anyio": Comparison(anyio_streams, {"anyio.connect_tcp": 0.30}),
    },
    "uvloop": {
        "sockets": Comparison(sockets, {}),
        "streams": Comparison(streams, {"asyncio.open_connection": 1.05, "aiohttp.TCPConnector.connect": 1.0}),
        "anyio": Comparison(anyio_streams, {"anyio.connect_tcp": 0.50}),
    },
    "trio": {
        "streams": Comparison(trio_streams, {"trio.open_tcp_stream": 0.35}),
        "anyio": Comparison(anyio_streams, {"anyio.connect_tcp": 0.35}),
    },
}


def loops() -> Iterator[str]:
    """The event loops there are here."""
    for loop in COMPARISONS:
        if loop == "uvloop" and uvloop is None:
            print("uvloop is left out: it is not installed")
        else:
            yield loop


def run(loop: str, main: Call[Result]) -> Result:
    """Run a coroutine function in a new event loop of this kind."""

    async def awaited() -> Result:
        return await main()

    if loop == "trio":
        return trio.run(awaited)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        return runner.run(awaited())


def turn(loop: str) -> Call[None]:
    """What lets the other tasks have their turn."""
    return trio.lowlevel.checkpoint if loop == "trio" else partial(asyncio.sleep, 0)


async def interleave(
    calls: Mapping[str, Call[Result]],
    after: Callable[[Result], Awaitable[None]],
    rounds: int,
    warm_up: int,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, list[float]]:
    """`measure.interleave` for calls that are awaited: seconds that each took, round by round, in shuffled order."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call, taken in turns(calls, times, rounds, warm_up):
        began = clock()
        result = await call()
        seconds = clock() - began
        await after(result)
        taken.append(seconds)
    return times


async def drop(server: Server, rest: Call[None], connections: Sequence[Any]) -> None:
    """Accept as many connections as were made, end them, and leave the event loop with nothing to do.

    The server goes first, with a reset: so nothing stays behind in TIME_WAIT, however a client closes its end.
    """
    for _ in connections:
        server.socket.accept()[0].close()
    for connection in connections:
        closing = close(connection)
        if inspect.isawaitable(closing):
            await closing
    await rest()
    await rest()


def close(connection: Any) -> Any:
    """Close what a contender has returned, at once; where that is to be awaited, this is returned."""
    if isinstance(connection, tuple):
        return connection[1].transport.abort()
    if isinstance(connection, (socket.socket, aiohttp.connector.Connection)):
        return connection.close()
    if isinstance(connection, trio.SocketStream):
        return connection.socket.close()
    return anyio.aclose_forcefully(connection)


def compare(times: Times) -> dict[str, dict[str, float]]:
    """`measure.figures`, with the ratios the other way round: what part of the contender's time the first one takes."""
    ours = next(iter(times))
    taken = figures(times, base=ours)
    for name, figure in taken.items():
        figure.update(ratios(times[ours], times[name]))
        figure["mean_ratio"] = round(taken[ours]["mean_us"] / figure["mean_us"], 3)
    return taken


def peers(names: Iterable[str]) -> list[str]:
    """The contenders that are neither ours nor the control."""
    _, *others = names
    return [name for name in others if name not in {CONTROL.format(other) for other in others}]


def check(
    title: str, taken: Mapping[str, Mapping[str, float]], limits: Mapping[str, float]
) -> Iterator[dict[str, object]]:
    """The targets of one comparison: for ours and one peer alone, where they were measured, else for the mix.

    Alone neither has more of its code in the processor's caches; in the mix most peers share theirs.
    """
    ours = next(iter(taken))
    for peer, limit in limits.items():
        mixed = [taken[name]["ratio"] for name in (peer, CONTROL.format(peer)) if name in taken]
        ratio = taken[peer].get(ALONE, mixed[0])
        is_so = f"is {ratio:.3f}, in the mix {' and '.join(f'{each:.3f}' for each in mixed)}"
        yield target(f"{title}: {ours} at most {limit:.2f} x {peer} ({is_so})", met=ratio <= limit)


def measure_one(
    loop: str,
    comparison: Comparison,
    server: Server,
    rounds: int,
    *,
    only: Collection[str] = (),
    clock: Callable[[], float] = perf_counter,
) -> dict[str, dict[str, float]]:
    """The figures of one comparison toward one server, of all its contenders or only of these."""

    async def main() -> Times:
        async def after(connection: Any) -> None:
            await drop(server, turn(loop), [connection])

        connects = comparison.connects(server)
        calls = {name: connect for name, connect in connects.items() if not only or name in only}
        return await interleave(calls, after, rounds, rounds // 10, clock)

    return compare(run(loop, main))


def measure_all(loop: str, comparison: Comparison, host: str, rounds: int) -> dict[str, dict[str, float]]:
    """The figures of one comparison, and the ratio to each peer where there are but the two, half as many rounds.

    The contenders share most of their code with each other, and ours shares less: it is the one that finds less of its
    own in the processor's caches. Between two contenders that is not so.
    """
    with Server(host) as server:
        taken = measure_one(loop, comparison, server, rounds)
        for peer in peers(taken):
            pair = measure_one(loop, comparison, server, rounds // 2, only={next(iter(taken)), peer})
            taken[peer][ALONE] = pair[peer]["ratio"]
    return taken


def main() -> None:
    """Measure all comparisons on all event loops."""
    options = arguments(__doc__, rounds=2000).parse_args()
    results = []
    targets: list[dict[str, object]] = []
    for loop in loops():
        for kind, comparison in COMPARISONS[loop].items():
            rows = []
            for host in HOSTS:
                try:
                    taken = measure_all(loop, comparison, host, options.rounds)
                except OSError as error:
                    print(f"{host} is left out: {error}")  # a machine without IPv6
                    continue
                results.append({"loop": loop, "kind": kind, "host": host, "contenders": taken})
                for name, figure in taken.items():
                    alone = f"{figure[ALONE]:.3f}" if ALONE in figure else ""
                    rows.append((*row(f"{host:10} {name}", figure), alone))
                targets += check(f"{loop}, {host}", taken, comparison.limits)
            show(f"{loop}, {kind}", (*HEADERS, "alone"), rows)
    report("asynchronous", options, results, targets, (*PACKAGES, *PEERS))


if __name__ == "__main__":
    main()
