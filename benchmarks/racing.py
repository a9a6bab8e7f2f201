"""The cost of a race that the first address wins at once: a name with 127.0.0.1 and ::1, both of which listen.

All contenders ask the same resolver, which stands in for `socket.getaddrinfo`. It gives the two addresses after a real
lookup of "localhost" (the target is set for this), and again for nothing, so that no lookup hides the rest. For
"localhost" no contender takes a thread. Accepting and closing are not timed.
"""

import socket
from collections.abc import Callable
from itertools import product
from typing import Any

from measure import BASE, Server, arguments, figures, interleave, report, row, show, target
from urllib3.util.connection import create_connection as urllib3_create_connection

import safeconnect

HOST = "localhost"
ORDERS = (("127.0.0.1", "::1"), ("::1", "127.0.0.1"))
TIMEOUTS = (None, 5)
LIMIT = 1.25  # the largest ratio to the standard library that is wanted
CONTROL = f"{BASE} again"
ONE = "safeconnect, one address"

Connections = Callable[[], socket.socket]


class Answers:
    """Stands in for `socket.getaddrinfo`: several addresses for the name, the first of them for its bytes.

    ``genuine``, where it is given, is asked first and its answer dropped: the lookup takes what a lookup takes.
    """

    def __init__(self, first: Server, second: Server, genuine: Callable[..., Any] | None) -> None:
        both = [
            (server.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", server.socket.getsockname())
            for server in (first, second)
        ]
        self.answers = {HOST: both, HOST.encode(): both[:1]}
        self.genuine = genuine

    def __call__(self, host: Any, *rest: Any, **more: Any) -> list[Any]:
        if self.genuine is not None:
            self.genuine(host, *rest, **more)
        return self.answers[host]


def contenders(port: int, timeout: float | None) -> dict[str, Connections]:
    """The ways to connect; the last has the same lookup, and nothing to race."""
    address, alone = (HOST, port), (HOST.encode(), port)
    if timeout is None:
        return {
            BASE: lambda: socket.create_connection(address),
            CONTROL: lambda: socket.create_connection(address),
            "safeconnect": lambda: safeconnect.create_connection(address),
            "urllib3": lambda: urllib3_create_connection(address),
            ONE: lambda: safeconnect.create_connection(alone),
        }
    return {
        BASE: lambda: socket.create_connection(address, timeout),
        CONTROL: lambda: socket.create_connection(address, timeout),
        "safeconnect": lambda: safeconnect.create_connection(address, timeout),
        "urllib3": lambda: urllib3_create_connection(address, timeout),
        ONE: lambda: safeconnect.create_connection(alone, timeout),
    }


def measure_one(
    hosts: tuple[str, str], timeout: float | None, rounds: int, *, for_nothing: bool
) -> dict[str, dict[str, float]]:
    """The figures of all contenders for one order of the two addresses."""
    genuine = socket.getaddrinfo
    with Server(hosts[0]) as first, Server(hosts[1], first.port) as second:
        socket.getaddrinfo = Answers(first, second, None if for_nothing else genuine)
        try:
            calls = contenders(first.port, timeout)
            # The connection is taken from the first listener: were another to win, this would wait forever.
            return figures(interleave(calls, first.drop, rounds, warm_up=rounds // 10))
        finally:
            socket.getaddrinfo = genuine


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=4000).parse_args()
    headers = ("contender", "median us", "p90 us", "mean us", f"x {BASE}", "x its mean")
    results = []
    targets = []
    for for_nothing, hosts, timeout in product((False, True), ORDERS, TIMEOUTS):
        try:
            taken = measure_one(hosts, timeout, options.rounds, for_nothing=for_nothing)
        except OSError as error:
            print(f"{' and '.join(hosts)} are left out: {error}")  # no IPv6, or the second port was taken
            continue
        results.append({"hosts": hosts, "timeout": timeout, "lookup_for_nothing": for_nothing, "contenders": taken})
        title = f"{', then '.join(hosts)}, {'no timeout' if timeout is None else f'timeout={timeout}'}"
        title += ", the lookup for nothing" if for_nothing else ""
        show(title, headers, [row(name, figure) for name, figure in taken.items()])
        ratio, noise = taken["safeconnect"]["ratio"], taken[CONTROL]["ratio"]
        text = f"{title}: at most {LIMIT:.2f} x {BASE} (is {ratio:.3f}, the control {noise:.3f})"
        if not for_nothing:
            targets.append(target(text, met=ratio <= LIMIT))
    report("racing", options, results, targets)


if __name__ == "__main__":
    main()
