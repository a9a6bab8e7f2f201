"""`simultaneous_open`, blocking."""

from __future__ import annotations

import selectors
import socket
import time
from datetime import datetime

from .._connect.blocking_race import new_selector
from .._lazy import typing as t
from .._sockets.lifecycle import handed_over
from .shared import Attempts


def simultaneous_open(
    local: t.Address,
    peer: t.Address,
    *,
    timeout: float | None,
    at: datetime | float | None = None,
    interval: float = 0.05,
    allow_self_connect: bool = False,
) -> socket.socket:
    """Connect to a peer that connects to us: both from fixed ports, and neither of them listens.

    The other side calls this with the addresses exchanged. On Linux the side that comes first waits for the other: a
    side that is not connecting at the moment does not refuse. So they connect as soon as both have called. Elsewhere
    both sides must be connecting in the same microseconds.

    The tries begin 0.1 s before the agreed instant. After a refusal there is no pause until 0.5 s after the instant; on
    Linux the tries are at most 10 ms apart, the first few less. Later, and after errors of this host itself (no route:
    ENETUNREACH), pauses grow from 1 ms to ``interval``.

    :param local: ``(host, port)`` to connect from; a literal address and a port.
    :param peer: ``(host, port)`` to connect to; a literal address.
    :param timeout: seconds for all of it, the wait for the instant included. None: no limit.
    :param at: the instant agreed upon: an aware `datetime.datetime`, or seconds since the epoch as `time.time` gives
        them. The clock of the system is read once. None: now.
    :param interval: the longest pause between two tries, in seconds.
    :param allow_self_connect: let a socket connect to itself where ``peer`` is ``local``.
    :returns: the connected socket, with ``timeout`` as its timeout.
    :raises TimeoutError: no connection in time; a note says how many tries there were, and how the last one ended.
    :raises SelfConnectError: ``peer`` is ``local``.
    :raises OSError: another try would fail as well: EADDRINUSE, the local port is taken by another socket; EACCES.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a host that is no literal, a port that is not 1-65535, a datetime without a time zone, a
        negative time, or addresses of two families.

    >>> import threading
    >>> a, b = ("127.0.0.1", 20801), ("127.0.0.1", 20802)
    >>> other = threading.Thread(target=lambda: simultaneous_open(b, a, timeout=5).close())
    >>> other.start()
    >>> with simultaneous_open(a, b, timeout=5) as sock:
    ...     sock.getpeername() == b
    True
    >>> other.join()
    """
    attempts = Attempts(local, peer, timeout, allow_self_connect=allow_self_connect)
    waits = attempts.run(at, interval, time.monotonic)
    try:
        while True:
            _wait(*next(waits))
    except StopIteration as end:
        sock: socket.socket = end.value
    finally:
        waits.close()
    return handed_over(sock, timeout)


def _wait(sock: socket.socket | None, seconds: float | None) -> None:
    if sock is not None:
        with new_selector() as watched:
            watched.register(sock, selectors.EVENT_WRITE)
            watched.select(seconds)
    elif seconds:
        time.sleep(seconds)
