"""The source ports of other systems than Linux, as their tools print them."""

from __future__ import annotations

import subprocess
import sys

from .kernel import SCARCE

_SECONDS = 5.0


def ephemeral_edges() -> list[int]:
    """Return the first and the last source port; another number of them if the system does not tell.

    :raises OSError: there was no descriptor, or no memory, to ask with.
    """
    if sys.platform == "win32":
        # "Start Port : 49152 / Number of Ports : 16384", in the language of the system: only the numbers can be read.
        # That is the documented way since Windows Vista (KB 929851); its registry keys are not documented.
        numbers = _numbers(_run("netsh", "int", "ipv4", "show", "dynamicport", "tcp"))
        return [numbers[-2], numbers[-2] + numbers[-1] - 1] if len(numbers) >= 2 else []
    # ip(4) of FreeBSD: first and last bound the range from which connect() and bind() to port 0 choose.
    if sys.platform == "darwin" or sys.platform.startswith(("freebsd", "dragonfly")):
        return _numbers(_run("sysctl", "-n", "net.inet.ip.portrange.first", "net.inet.ip.portrange.last"))
    return []


def reserved_edges() -> list[tuple[int, int]]:
    """Return the first and the last port of each range that the system keeps to itself.

    :raises OSError: there was no descriptor, or no memory, to ask with.
    """
    if sys.platform != "win32":
        return []
    table = _run("netsh", "int", "ipv4", "show", "excludedportrange", "protocol=tcp")
    rows = [_numbers(line) for line in table.splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split() if word.isdecimal()]


def _run(*command: str) -> str:
    """Return the output of a command, empty if it is missing, fails or hangs.

    :raises OSError: there was no descriptor, or no memory, to run it.
    """
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            command, capture_output=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        if isinstance(error, OSError) and error.errno in SCARCE:
            raise
        return ""
    # In the system's language, and in an encoding that is not always Python's: only the numbers are read.
    return done.stdout.decode("ascii", "replace")
