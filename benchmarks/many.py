"""250,000 connections at once toward one destination, from a dozen source addresses, by `SourcePool`.

Child processes hold them, for a process has 20,000 descriptors here: as many servers as clients. The clients connect
one after the other, so that the last thousand connects meet all the others. Each connection then echoes a byte. For
comparison the standard library connects until the kernel has no source port left. Linux 6.3 or later.
"""

import argparse
import multiprocessing
import selectors
import socket
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from measure import LINGER_0, arguments, raise_descriptor_limit, report, show, target

import safeconnect
from safeconnect._sockets import kernel

CONNECTIONS = 250_000
ADDRESSES = 12
# Of the 20,000 descriptors of a process, with some to spare.
SHARE = 18_000
THOUSAND = 1_000


def serve(listener: socket.socket, orders: Connection) -> None:
    """In a child process: accept its share, echo what comes, and reset all when the pipe is closed."""
    raise_descriptor_limit()
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        listener.settimeout(0)
        held: list[socket.socket] = []
        while True:
            for key, _ in selector.select():
                if key.fileobj is orders:
                    for sock in held:
                        sock.close()
                    return
                if key.fileobj is listener:
                    accept(listener, selector, held)
                else:
                    answer(key.fileobj, selector)


def answer(sock: Any, selector: selectors.BaseSelector) -> None:
    """Send back what came; let go of a connection that the client has reset."""
    try:
        sock.send(sock.recv(1))
    except ConnectionResetError:
        selector.unregister(sock)


def accept(listener: socket.socket, selector: selectors.BaseSelector, held: list[socket.socket]) -> None:
    """Take what waits in the queue, up to the share of this process."""
    with suppress(BlockingIOError):  # another process was quicker, or the queue is empty
        while len(held) < SHARE:
            sock = listener.accept()[0]
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            selector.register(sock, selectors.EVENT_READ)
            held.append(sock)
    if len(held) >= SHARE:
        selector.unregister(listener)


def connect(address: tuple[str, int], sources: list[str], orders: Connection) -> None:
    """In a child process: connect as often as told, say how long each took, echo on demand, reset at the end."""
    raise_descriptor_limit()
    held: list[socket.socket] = []
    make: Callable[[], socket.socket] = lambda: socket.create_connection(address)  # noqa: E731
    if sources:
        connector = safeconnect.Connector(timeout=30, source_address=safeconnect.SourcePool(sources))
        make = lambda: connector.connect(address)  # noqa: E731
    with suppress(EOFError):
        while True:
            order = orders.recv()
            orders.send(echo(held) if order == "echo" else make_many(make, order, held))
    for sock in held:
        sock.close()


def make_many(make: Callable[[], socket.socket], count: int, held: list[socket.socket]) -> list[float]:
    """Seconds of each connect; fewer than asked for where no source port was left."""
    taken = []
    for _ in range(count):
        began = perf_counter()
        try:
            sock = make()
        except OSError:
            break
        taken.append(perf_counter() - began)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        held.append(sock)
    return taken


def echo(held: list[socket.socket]) -> int:
    """How many of the connections give back the byte that they are sent."""
    for sock in held:
        sock.settimeout(30)
        sock.send(b"x")
    return sum(sock.recv(1) == b"x" for sock in held)


class Children:
    """Processes of one kind, each with a pipe; they end when it is closed."""

    def __init__(self, stack: ExitStack, work: Callable[..., None], *arguments: Any, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # spawned, not forked: no child keeps another's pipe open
        self.pipes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            child = context.Process(target=work, args=(*arguments, theirs), daemon=True)
            child.start()
            theirs.close()
            stack.callback(child.join)
            stack.callback(ours.close)
            self.pipes.append(ours)


@contextmanager
def clients_and_servers(sources: list[str], count: int) -> Iterator[Children]:
    """The client processes, with as many servers; all end with the block."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 7), backlog=4096))
        each = -(-count // SHARE)
        Children(stack, serve, listener, count=each)
        yield Children(stack, connect, listener.getsockname(), sources, count=each)


def fill(clients: Children, count: int) -> list[float]:
    """Connect so many times, client after client; the seconds of each connect."""
    taken: list[float] = []
    for pipe in clients.pipes:
        share = min(SHARE, count - len(taken))
        pipe.send(share)
        made = pipe.recv()
        taken += made
        if len(made) < share:
            break
    return taken


def kernel_memory() -> int:
    """Bytes that this machine has free, those of caches counted in."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def sockets_in_use() -> int:
    """TCP sockets of this network namespace, all states but TIME_WAIT."""
    line = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(line.split()[2])


def measure(sources: list[str], count: int) -> dict[str, Any]:
    """Connect, echo, release; what it took."""
    with clients_and_servers(sources, count) as clients:
        for pipe in clients.pipes:  # the children are up
            pipe.send("echo")
            pipe.recv()
        before = kernel_memory()
        began = perf_counter()
        taken = fill(clients, count)
        seconds = perf_counter() - began
        memory = before - kernel_memory()
        echoed = 0
        for pipe in clients.pipes:
            pipe.send("echo")
            echoed += pipe.recv()
    return {
        "connections": len(taken),
        "seconds": round(seconds, 1),
        "first_thousand_us": round(statistics.median(taken[:THOUSAND]) * 1e6, 1),
        "last_thousand_us": round(statistics.median(taken[-THOUSAND:]) * 1e6, 1),
        "mean_of_last_thousand_us": round(statistics.fmean(taken[-THOUSAND:]) * 1e6, 1),
        "bytes_per_connection": memory // max(len(taken), 1),
        "echoed": echoed,
        "left_over": sockets_in_use(),
    }


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help=f"(default {CONNECTIONS:,})")
    given = parser.parse_args()
    if given.quick:
        given.connections = 15_000
    return given


def main() -> None:
    """Measure, show and write it all down."""
    given = options()
    if not kernel.has_port_range():
        raise SystemExit("this benchmark needs IP_LOCAL_PORT_RANGE: Linux 6.3 or later")
    sources = [f"127.0.0.{last}" for last in range(2, 2 + ADDRESSES)]
    results = {
        "stdlib": measure([], min(len(kernel.source_ports()) + THOUSAND, given.connections)),
        "safeconnect": measure(sources, given.connections),
    }
    names = list(results["safeconnect"])
    show(
        "connections held at once",
        ["", *results],
        [(name, *(each[name] for each in results.values())) for name in names],
    )
    ours = results["safeconnect"]
    growth = ours["last_thousand_us"] / ours["first_thousand_us"]
    targets = [
        target(f"{given.connections:,} connections held, none lost", met=ours["connections"] == given.connections),
        target("each echoes a byte", met=ours["echoed"] == given.connections),
        target(f"the last thousand cost at most 2.5 x the first ({growth:.2f} x)", met=growth <= 2.5),
        target("everything is released", met=ours["left_over"] == 0),
    ]
    report("many", given, results, targets)


if __name__ == "__main__":
    main()
