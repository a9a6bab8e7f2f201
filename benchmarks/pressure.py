"""The cost of one connect while more and more of the ephemeral range is in use toward one destination.

Child processes hold the connections. The range is filled in two ways: "plain", by plain ``connect()``, which takes the
ports of the low bound's parity before any other; and "random", evenly, as safeconnect fills it. Linux 6.3 or later.
"""

import multiprocessing
import random
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from measure import BASE, LINGER_0, Server, arguments, figures, interleave, raise_descriptor_limit, report, show, target
from urllib3.util.connection import create_connection as urllib3_create_connection

import safeconnect
from safeconnect._sockets import kernel, port_window

LEVELS = (0, 10, 25, 40, 50, 55, 60, 70, 80, 90, 95, 96, 98, 99)
QUICK_LEVELS = (0, 10, 50, 60)
HOST = "127.0.0.1"
# Below the usual ephemeral ranges, so that no contender can meet itself; the first free port from here on is taken.
SERVER_PORT = 20000
# Each connection takes two descriptors of its holder, which has both ends; this stays below a limit of 20,000.
MOST_HELD = 9000
# The slow scan of plain connect() is plain to see above this many microseconds, and below it there is none.
SLOW_US = 500
FAST_US = 60

Calls = dict[str, Callable[[], socket.socket]]


def hold(listener: socket.socket, orders: Connection) -> None:
    """In a child process: connect from the ports asked for, keep both ends, and let go when the pipe is closed.

    Port 0 leaves the choice to the kernel. Any other is given as a range of one port, for the kernel passes over a
    port that bind() took by another, earlier check than over one that connect() took.
    """
    raise_descriptor_limit()
    address = listener.getsockname()
    held = []
    with suppress(EOFError):
        while True:
            for port in orders.recv():
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                if port:
                    sock.setsockopt(socket.IPPROTO_IP, kernel.IP_LOCAL_PORT_RANGE, struct.pack("=HH", port, port))
                sock.connect(address)
                held += [sock, listener.accept()[0]]
            orders.send(len(held) // 2)
    for sock in held:
        sock.close()


class Holders:
    """The child processes, each with its share of the connections."""

    def __init__(self, server: Server, stack: ExitStack, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # spawned, not forked: no child keeps another's pipe open
        self.orders = []
        self.room = min(MOST_HELD, (raise_descriptor_limit() - 100) // 2)
        for _ in range(-(-count // self.room)):
            ours, theirs = context.Pipe()
            child = context.Process(target=hold, args=(server.socket, theirs), daemon=True)
            child.start()
            theirs.close()
            stack.callback(child.join)
            stack.callback(ours.close)
            self.orders.append(ours)
        self.held = 0

    def add(self, ports: list[int]) -> None:
        """Connect from these ports, one child after the other."""
        while ports:
            number, taken = divmod(self.held, self.room)
            share, ports = ports[: self.room - taken], ports[self.room - taken :]
            self.orders[number].send(share)
            assert self.orders[number].recv() == taken + len(share)
            self.held += len(share)


def order_of_ports(fill: str) -> list[int]:
    """The source ports in the order in which they are taken; zeros where the kernel is to choose.

    What the kernel chooses is no even spread: once a parity is nearly used up, its scan fills gap after gap and leaves
    long runs of taken ports, in which whole windows are full.
    """
    ports = [port for port in range(1, 65536) if port in kernel.source_ports()]
    random.Random(0).shuffle(ports)
    return ports if fill == "random" else [0] * len(ports)


@contextmanager
def server_outside_the_range() -> Iterator[Server]:
    """A server on the first free port below the ephemeral range."""
    for port in range(SERVER_PORT, safeconnect.ephemeral_ports().first):
        try:
            server = Server(HOST, port)
        except OSError:
            continue
        with server:
            yield server
        return
    raise SystemExit(f"no free port from {SERVER_PORT} up to the ephemeral range")


def contenders(address: tuple[str, int]) -> Calls:
    """The ways to connect."""
    return {
        BASE: lambda: socket.create_connection(address),
        "safeconnect": lambda: safeconnect.create_connection(address),
        "urllib3": lambda: urllib3_create_connection(address),
    }


def measure_fill(fill: str, rounds: int, levels: Sequence[int] = LEVELS) -> list[dict[str, Any]]:
    """The figures at each level, lowest first."""
    ports = order_of_ports(fill)
    results = []
    with ExitStack() as stack:
        server = stack.enter_context(server_outside_the_range())
        holders = Holders(server, stack, len(ports) * levels[-1] // 100)
        calls = contenders((HOST, server.port))
        for level in levels:
            holders.add(ports[holders.held : len(ports) * level // 100])
            taken = figures(interleave(calls, server.drop, rounds, warm_up=20))
            results.append({"fill": fill, "percent_in_use": level, "contenders": taken})
    return results


def show_fill(fill: str, results: list[dict[str, Any]]) -> None:
    """Print the table of one way to fill the range."""
    names = list(results[0]["contenders"])
    headers = ["% in use", *(f"{name} us" for name in names), "safeconnect p90", "mean", f"safeconnect x {BASE}"]
    rows = []
    for result in results:
        taken = result["contenders"]
        ours = taken["safeconnect"]
        medians = [taken[name]["median_us"] for name in names]
        rows.append((result["percent_in_use"], *medians, ours["p90_us"], ours["mean_us"], f"{ours['ratio']:.3f}"))
    show(f"{fill}: median of one connect", headers, rows)


def check(fill: str, results: list[dict[str, Any]]) -> Iterator[dict[str, object]]:
    """The targets of one way to fill the range, and whether they were met."""
    ours = {result["percent_in_use"]: result["contenders"]["safeconnect"] for result in results}
    base = {result["percent_in_use"]: result["contenders"][BASE] for result in results}
    if fill == "plain":
        medians = {level: figure["median_us"] for level, figure in ours.items() if base[level]["median_us"] > SLOW_US}
        yield limit(f"plain: below {FAST_US} us where {BASE} takes over {SLOW_US}", medians, FAST_US)
        ratios = {level: figure["ratio"] for level, figure in ours.items() if 55 <= level <= 96}
        yield limit(f"plain: at most 0.10 x {BASE} from 55 % to 96 %", ratios, 0.10)
    growth = {level: figure["median_us"] / ours[10]["median_us"] for level, figure in ours.items()}
    yield limit(f"{fill}: at most 2.5 x its own cost at 10 %", growth, 2.5)


def limit(text: str, values: dict[int, float], highest: float) -> dict[str, object]:
    """The target that no value is above the highest, with the levels that miss it, or else the worst level."""
    above = {level: value for level, value in values.items() if value > highest}
    worst = max(values, key=lambda level: values[level])
    named = ", ".join(f"{value:.2f} at {level} %" for level, value in (above or {worst: values[worst]}).items())
    return target(f"{text} ({'not so' if above else 'at most'}: {named})", met=not above)


def main() -> None:
    """Measure, show and write it all down."""
    parser = arguments(__doc__, rounds=600)
    parser.add_argument("--fill", choices=("plain", "random", "both"), default="both", help="how the range is filled")
    parser.add_argument("--window", type=int, metavar="N", help=f"ports per window (default {port_window.WINDOW_SIZE})")
    options = parser.parse_args()
    if not kernel.has_port_range():
        raise SystemExit("this benchmark needs IP_LOCAL_PORT_RANGE: Linux 6.3 or later")
    if options.window:
        port_window.WINDOW_SIZE = options.window
    results = []
    targets: list[dict[str, object]] = []
    for fill in ("plain", "random") if options.fill == "both" else (options.fill,):
        measured = measure_fill(fill, options.rounds, QUICK_LEVELS if options.quick else LEVELS)
        show_fill(f"{fill} fill, windows of {port_window.WINDOW_SIZE}", measured)
        results += measured
        targets += check(fill, measured)
    name = f"pressure-window{options.window}" if options.window else "pressure"
    report(name, options, {"window": port_window.WINDOW_SIZE, "levels": results}, targets)


if __name__ == "__main__":
    main()
