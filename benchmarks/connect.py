"""The cost of one connect on loopback: safeconnect beside the standard library, its users and the bare system calls.

For 127.0.0.1, ::1, localhost, the machine's own name where the file of hosts has it, and 127.1. Each without and with a
timeout of 5 seconds. Accepting and closing are not timed. 127.1 is a name to safeconnect, but the C library answers at
once: with a timeout, the difference to the standard library is what a lookup in another thread costs.
"""

import socket
from collections.abc import Callable
from itertools import product
from pathlib import Path

from httpcore._backends.sync import SyncBackend, SyncStream
from measure import BASE, Server, arguments, figures, interleave, report, row, show, target
from urllib3.util.connection import create_connection as urllib3_create_connection

import safeconnect

OWN_NAME = "own name"
HOSTS = ("127.0.0.1", "::1", "localhost", OWN_NAME, "127.1")
TIMEOUTS = (None, 5)
# The largest ratio to the standard library that is wanted; a name costs a lookup, and that is most of its time.
LIMITS = {"127.0.0.1": 1.05, "::1": 1.05, "localhost": 1.10, OWN_NAME: 1.30}
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


def own_name() -> str:
    """The machine's name, or else another name for loopback in the file of hosts.

    :raises OSError: there is neither.
    """
    lines = [line.partition("#")[0].split() for line in Path("/etc/hosts").read_text(encoding="utf-8").splitlines()]
    names = [name for line in lines for name in line[1:] if line[0].startswith("127.") and name != "localhost"]
    single = [name for name in names if sum(name in line[1:] for line in lines) == 1]
    if not single:
        raise OSError("no name but localhost has one loopback address in /etc/hosts")
    return max(single, key=lambda name: name == socket.gethostname())


def measure_one(host: str, timeout: float | None, rounds: int) -> dict[str, dict[str, float]]:
    """The figures of all contenders toward one host."""
    host = own_name() if host == OWN_NAME else host
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
        if host in LIMITS:
            text = f"{title}: at most {LIMITS[host]:.2f} x {BASE} (is {ratio:.3f}, the control {noise:.3f})"
            targets.append(target(text, met=ratio <= LIMITS[host]))
    report("connect", options, results, targets)


if __name__ == "__main__":
    main()
