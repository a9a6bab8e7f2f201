"""What becomes of a connect whose first address is dead, whose addresses nearly all are, or whose lookup hangs.

Seven clients (safeconnect twice) side by side in one table. One name has several addresses in 127.0.1.0/24, by a
resolver that stands in for `socket.getaddrinfo`, which all of them call: the blocking ones in the caller's thread, the
others in one of their own.
A dead address is a listener that answers nothing, for its queue is full. Linux only, and nothing leaves the host.
"""

import argparse
import asyncio
import inspect
import json
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import aiohappyeyeballs
import anyio
import trio
from measure import LINGER_0, PACKAGES, arguments, report, show, target
from urllib3.util.connection import create_connection as urllib3_create_connection

import safeconnect

NAME = "service.test"
ADDRESS = "127.0.1.{}"
DELAY = 0.25
TIMEOUT = 2.0
DEAD = 20
LOOKUP_TIMEOUT = 0.5
RELEASE_AFTER = 3.0  # a lookup that hangs hangs so long
ENOUGH = 10.0  # seconds that one client may take of one scenario before its further rounds are left out
PROBE = 0.1  # a listener that does not answer for so long answers nobody
# What is wanted, in seconds.
LIMITS = {"dead": DELAY + 0.015, "again": 0.020, "lookup": LOOKUP_TIMEOUT + 0.050, "exit": 0.250}
TIMEOUT_ERRORS = ("TimeoutError", "TooSlowError")
PEERS = ("trio", "anyio", "aiohappyeyeballs")

Answer = tuple[int, int, int, str, tuple[Any, ...]]
Blocking = Callable[[tuple[str, int], float], socket.socket]
Closer = Callable[[], object]
Waiting = Callable[[str, int, float], Awaitable[Closer]]


class Outcome(NamedTuple):
    """How one connect ended: after how many seconds, and with which error; None: connected."""

    seconds: float
    error: str | None


# A client connects so often, one after the other, in one process and one event loop, and tells of each at once.
Client = Callable[[int, float, int], Iterator[Outcome] | list[Outcome]]


def blocking(connect: Blocking, port: int, timeout: float, times: int) -> list[Outcome]:
    """How each of so many connects in a row ended."""
    outcomes = []
    for _ in range(times):
        began = monotonic()
        try:
            sock = connect((NAME, port), timeout)
        except OSError as error:
            outcomes.append(Outcome(monotonic() - began, type(error).__name__))
        else:
            outcomes.append(Outcome(monotonic() - began, None))
            sock.close()
        tell(outcomes[-1])
    return outcomes


async def waiting(connect: Waiting, port: int, timeout: float, times: int) -> list[Outcome]:
    """The same for those that wait in an event loop, whichever it is."""
    outcomes = []
    for _ in range(times):
        began = monotonic()
        try:
            close = await connect(NAME, port, timeout)
        except (OSError, trio.TooSlowError) as error:
            outcomes.append(Outcome(monotonic() - began, type(error).__name__))
        else:
            outcomes.append(Outcome(monotonic() - began, None))
            closing = close()
            if inspect.isawaitable(closing):
                await closing
        tell(outcomes[-1])
    return outcomes


def remembering(port: int, timeout: float, times: int) -> list[Outcome]:
    """By one connector, which remembers what answered."""
    connector = safeconnect.Connector(memory=safeconnect.ConnectMemory())
    return blocking(connector.connect, port, timeout, times)


async def by_trio(host: str, port: int, timeout: float) -> Closer:
    """As trio's own documentation has it."""
    with trio.fail_after(timeout):
        return (await trio.open_tcp_stream(host, port)).aclose


async def by_anyio(host: str, port: int, timeout: float) -> Closer:
    """As anyio's own documentation has it."""
    with anyio.fail_after(timeout):
        return (await anyio.connect_tcp(host, port)).aclose


async def by_aiohappyeyeballs(host: str, port: int, timeout: float) -> Closer:
    """As aiohttp uses it, with a lookup by the event loop before."""
    async with asyncio.timeout(timeout):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return (await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=DELAY)).close


async def by_asyncio(host: str, port: int, timeout: float) -> Closer:
    """By the streams, with the racing that asyncio leaves out unless asked."""
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=DELAY)
    writer.close()
    return writer.wait_closed


def on_asyncio(connect: Waiting, port: int, timeout: float, times: int) -> list[Outcome]:
    """`waiting` in an asyncio event loop of its own."""
    return asyncio.run(waiting(connect, port, timeout, times))


def on_trio(connect: Waiting, port: int, timeout: float, times: int) -> list[Outcome]:
    """`waiting` in a run of trio."""
    return trio.run(waiting, connect, port, timeout, times)


REMEMBERING = "safeconnect, memory"
CLIENTS: Mapping[str, Client] = {
    "stdlib": partial(blocking, socket.create_connection),
    "urllib3": partial(blocking, urllib3_create_connection),
    "safeconnect": partial(blocking, safeconnect.create_connection),
    REMEMBERING: remembering,
    "trio": partial(on_trio, by_trio),
    "anyio": partial(on_asyncio, by_anyio),
    "aiohappyeyeballs": partial(on_asyncio, by_aiohappyeyeballs),
    "asyncio": partial(on_asyncio, by_asyncio),
}


def tell(outcome: Outcome) -> None:
    """In a child process, say what happened as soon as it has; replaced there."""


@contextmanager
def resolver(answer: Callable[[int], list[Answer]]) -> Iterator[None]:
    """Let the name be looked up by this function; other hosts are taken if they are literals, and never looked up."""
    genuine = socket.getaddrinfo

    def getaddrinfo(  # noqa: PLR0917 - the signature of the one it stands in for
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        if host not in {NAME, NAME.encode()}:
            return genuine(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if flags & socket.AI_NUMERICHOST:  # trio asks whether it is a literal
            raise socket.gaierror(socket.EAI_NONAME, "no literal")
        return answer(int(port))

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = genuine


def answers(numbers: Sequence[int], port: int) -> list[Answer]:
    """What getaddrinfo() says for a name with these addresses."""
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ADDRESS.format(number), port))
        for number in numbers
    ]


class Site:
    """The addresses behind one port: 1 is good, 2 refuses, and from 3 on they are dead."""

    def __init__(self) -> None:
        self.open = ExitStack()
        self.good = self.listen(1, 0, backlog=128)
        self.port: int = self.good.getsockname()[1]
        self.dead = range(3, 3 + DEAD)
        for number in self.dead:
            self.bury(number)

    def listen(self, number: int, port: int, backlog: int) -> socket.socket:
        """A listener at the address of that number; closed with the site."""
        sock = self.open.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        sock.bind((ADDRESS.format(number), port))
        sock.listen(backlog)
        sock.settimeout(0)
        return sock

    def bury(self, number: int) -> None:
        """Listen, and fill the queue with connections that nobody accepts until a further one is not answered."""
        address = self.listen(number, self.port, backlog=0).getsockname()
        for _ in range(16):
            filler = self.open.enter_context(socket.socket())
            filler.settimeout(PROBE)
            try:
                filler.connect(address)
            except TimeoutError:
                return
        raise SystemExit(f"{address} still answers, with its queue full")

    def drain(self) -> None:
        """Accept and reset what has been connected."""
        with suppress(BlockingIOError):
            while True:
                self.good.accept()[0].close()


def scenario(site: Site, numbers: Sequence[int], times: int, rounds: int) -> dict[str, list[list[Outcome]]]:
    """For each client the outcomes of its rounds, of so many connects each."""
    taken: dict[str, list[list[Outcome]]] = {name: [] for name in CLIENTS}
    with resolver(partial(answers, numbers)):
        for _ in range(rounds):
            for name, client in CLIENTS.items():
                if sum(outcome.seconds for each in taken[name] for outcome in each) < ENOUGH:
                    taken[name].append(list(client(site.port, TIMEOUT, times)))
                    site.drain()
    return taken


def hang(client: str) -> None:
    """In a child process: connect to a name whose lookup hangs, and leave as any program does."""
    released = threading.Event()

    def never(_: int) -> list[Answer]:
        released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    def say(outcome: Outcome) -> None:
        print(json.dumps([*outcome, monotonic()]), flush=True)

    globals()["tell"] = say
    release = threading.Timer(RELEASE_AFTER, released.set)
    release.daemon = True
    with resolver(never):
        release.start()
        CLIENTS[client](9, LOOKUP_TIMEOUT, 1)


def hang_once(client: str) -> tuple[Outcome, float]:
    """How a lookup that hangs ended, and how many seconds after that the process had ended."""
    command = [sys.executable, __file__, "--hang", client]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    ended = monotonic()  # of one clock with the child's
    seconds, error, at = json.loads(done.stdout)
    return Outcome(seconds, error), ended - at


def hanging(rounds: int) -> dict[str, list[tuple[Outcome, float]]]:
    """How a lookup that hangs ends, and how long the process then takes to end, client by client."""
    taken: dict[str, list[tuple[Outcome, float]]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        for name, each in taken.items():
            if sum(outcome.seconds + leaving for outcome, leaving in each) < ENOUGH:
                each.append(hang_once(name))
    return taken


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The median time, and the ends that there were."""
    return {
        "median_s": round(statistics.median(outcome.seconds for outcome in outcomes), 5),
        "slowest_s": round(max(outcome.seconds for outcome in outcomes), 5),
        "errors": sorted({outcome.error or "" for outcome in outcomes}),
        "rounds": len(outcomes),
    }


def how(figure: Mapping[str, Any]) -> str:
    """In words: "ok" or how it failed, and when."""
    if figure["median_s"] > RELEASE_AFTER - 0.1 and "gaierror" in figure["errors"]:
        return f"> {RELEASE_AFTER:.0f} s"
    ends = {"timeout" if error in TIMEOUT_ERRORS else error or "ok" for error in figure["errors"]}
    return f"{'/'.join(sorted(ends))} {figure['median_s']:.2f} s"


def ms(figure: Mapping[str, Any]) -> str:
    """The median in milliseconds; in words where not all rounds ended well."""
    return f"{figure['median_s'] * 1e3:.1f}" if figure["errors"] == [""] else how(figure)


def left(figure: Mapping[str, Any]) -> str:
    """When the process was gone: it waited for the lookup, and that would have gone on, or it did not."""
    lookup, leaving = figure["lookup"]["median_s"], figure["exit_s"]
    if lookup > RELEASE_AFTER - 0.1:
        return "-"
    if lookup + leaving > RELEASE_AFTER - 0.1:
        return f"> {RELEASE_AFTER - lookup:.1f} s"
    return f"{leaving * 1e3:.0f} ms"


def measure_all(rounds: int) -> dict[str, dict[str, Any]]:
    """All scenarios, and their figures by client."""
    site = Site()
    with site.open:
        scenario(site, [2, 1], times=1, rounds=1)  # warm up: load what is loaded late
        first_dead = scenario(site, [site.dead[0], 1], 2, rounds)
        first_refuses = scenario(site, [2, 1], 1, rounds * 10)
        nearly_all_dead = scenario(site, [*site.dead, 1], 1, rounds)
    lookups = hanging(rounds)
    return {
        name: {
            "dead": summary([each[0] for each in first_dead[name]]),
            "again": summary([each[1] for each in first_dead[name]]),
            "refused": summary([each[0] for each in first_refuses[name]]),
            "dead_20": summary([each[0] for each in nearly_all_dead[name]]),
            "lookup": summary([outcome for outcome, _ in lookups[name]]),
            "exit_s": round(statistics.median(leaving for _, leaving in lookups[name]), 5),
        }
        for name in CLIENTS
    }


def aims(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """The targets, and whether they were met."""
    targets = []

    def at_most(name: str, what: str, key: str, seconds: float, ends: Sequence[str]) -> None:
        limit, met = LIMITS[key], all(end in ends for end in results[name].get(key, {"errors": ends})["errors"])
        text = f"{name}: {what} within {limit * 1e3:.0f} ms (is {seconds * 1e3:.1f})"
        targets.append(target(text, met=met and seconds <= limit))

    for name in ("safeconnect", REMEMBERING):
        figure = results[name]
        at_most(name, "first address dead, connected", "dead", figure["dead"]["median_s"], [""])
        if name == REMEMBERING:
            at_most(name, "the same again", "again", figure["again"]["median_s"], [""])
        text = f"{name}: {DEAD} dead addresses, then a good one, timeout={TIMEOUT:.0f}: connected"
        met = figure["dead_20"]["errors"] == [""]
        targets.append(target(f"{text} (is {how(figure['dead_20'])})", met=met))
        what = f"lookup hangs, timeout={LOOKUP_TIMEOUT}: TimeoutError"
        at_most(name, what, "lookup", figure["lookup"]["median_s"], ["TimeoutError"])
        leaving = figure["exit_s"]
        text = f"{name}: after that the process ends at once (in {leaving * 1e3:.0f} ms)"
        targets.append(target(text, met=leaving <= LIMITS["exit"]))
    return targets


def main() -> None:
    """Measure, show and write it all down; or be the child process that looks a name up."""
    parser = arguments(__doc__, rounds=5, quick=None)
    parser.add_argument("--hang", choices=CLIENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hang:
        hang(options.hang)
        return
    results = measure_all(options.rounds)
    headers = ("client", "dead first ms", "again ms", "refused ms", f"{DEAD} dead", "lookup hangs", "exit after")
    rows = [
        (
            name,
            *(ms(figure[key]) for key in ("dead", "again", "refused")),
            *map(how, (figure["dead_20"], figure["lookup"])),
            left(figure),
        )
        for name, figure in results.items()
    ]
    show(f"timeout {TIMEOUT:.0f} s, {LOOKUP_TIMEOUT} s where the lookup hangs", headers, rows)
    report("failover", options, results, aims(results), (*PACKAGES, *PEERS))


if __name__ == "__main__":
    main()
