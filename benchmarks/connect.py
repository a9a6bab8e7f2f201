"""The cost of one connect on loopback: safeconnect beside the standard library, its users and the bare system calls.

For 127.0.0.1, ::1 and localhost, each without and with a timeout of 5 seconds. Accepting and closing are not timed.
"""

import socket
from collections.abc import Callable
from itertools import product

from httpcore._backends.sync import SyncBackend, SyncStream
from measure import BASE, Server, arguments, figures, interleave, report, row, show, target
from urllib3.util.connection import create_connection as urllib3_create_connection

import safeconnect

HOSTS = ("127.0.0.1", "::1", "localhost")
TIMEOUTS = (None, 5)
# The largest ratio to the standard library that is wanted; a name costs a lookup, and that is most of its time.
LIMITS = {"127.0.0.1": 1.05, "::1": 1.05, "localhost": 1.10}
CONTROL = f"{BASE} again"

Connection = socket.socket | SyncStream


def contenders(host: str, server: Server, timeout: float | None) -> dict[str, Callable[[], Connection]]:
    """The ways to connect. The second ``stdlib`` is a control: what it differs from the first is noise."""
    address = (host, server.port)
    backend = SyncBackend()

    def bare() -> socket.socket:
        sock = socket.socket(server.family)
        if timeout is not None:
            sock.settimeout(timeout)
        sock.connect(address)
        return sock

    calls: dict[str, Callable[[], Connection]] = {
        BASE: lambda: socket.create_connection(address),
        CONTROL: lambda: socket.create_connection(address),
        "safeconnect": lambda: safeconnect.create_connection(address),
        "urllib3": lambda: urllib3_create_connection(address),
        "httpcore": lambda: backend.connect_tcp(*address),
        "bare": bare,
    }
    if timeout is not None:
        calls |= {
            BASE: lambda: socket.create_connection(address, timeout),
            CONTROL: lambda: socket.create_connection(address, timeout),
            "safeconnect": lambda: safeconnect.create_connection(address, timeout),
            "urllib3": lambda: urllib3_create_connection(address, timeout),
            "httpcore": lambda: backend.connect_tcp(*address, timeout),
        }
    return calls


def measure_one(host: str, timeout: float | None, rounds: int) -> dict[str, dict[str, float]]:
    """The figures of all contenders toward one host."""
    with Server(host) as server:

        def drop(connection: Connection) -> None:
            server.drop(connection.get_extra_info("socket") if isinstance(connection, SyncStream) else connection)

        return figures(interleave(contenders(host, server, timeout), drop, rounds, warm_up=rounds // 10))


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=4000).parse_args()
    headers = ("contender", "median us", "p90 us", "mean us", f"x {BASE}", "x its mean")
    results = []
    targets = []
    for host, timeout in product(HOSTS, TIMEOUTS):
        try:
            taken = measure_one(host, timeout, options.rounds)
        except OSError as error:
            print(f"{host} is left out: {error}")  # a machine without IPv6
            continue
        results.append({"host": host, "timeout": timeout, "contenders": taken})
        title = f"{host}, {'no timeout' if timeout is None else f'timeout={timeout}'}"
        show(title, headers, [row(name, figure) for name, figure in taken.items()])
        ratio, noise = taken["safeconnect"]["ratio"], taken[CONTROL]["ratio"]
        text = f"{title}: at most {LIMITS[host]:.2f} x {BASE} (is {ratio:.3f}, the control {noise:.3f})"
        targets.append(target(text, met=ratio <= LIMITS[host]))
    report("connect", options, results, targets)


if __name__ == "__main__":
    main()
