"""`wait_for_port`, blocking."""

from __future__ import annotations

import socket
import time
from time import monotonic

from .._connect.blocking import Connector
from .._fork import imports
from .._lazy import typing as t
from .policy import Greeting, probe_settings
from .shared import Watch, begin, end, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .policy import Waiting


_PLAIN = Connector()


def wait_for_port(
    address: t.Address,
    timeout: float | None,
    *,
    interval: float = 0.1,
    attempt_timeout: float = 1.0,
    check: t.Check[socket.socket] | None = None,
    gone: bool = False,
    connector: Connector | None = None,
) -> None:
    """Wait until somebody listens on a TCP port; or, with ``gone``, until nobody does any more.

    Tries to connect until it succeeds. A connection of the socket to itself never counts. Each try ends with a reset,
    so that nothing of it stays, neither in TIME_WAIT nor on the port that a server is about to take; a server sees a
    connection that is reset at once. If the kernel has no source port but the target's own, or none that is free, the
    tries use ports that it never chooses by itself: those above its range, or else those below.

    On Linux, if the target is a literal address of this host, or ``localhost``, the kernel is asked between two tries
    whether a socket listens there (sock_diag(7), which sends nothing), and the next try begins once one does. It is
    asked every 3.5 ms in the first second; later after a hundredth of the time waited, at most 25 ms.

    :param address: ``(host, port)``, or the four parts of an IPv6 address. If a name has several addresses, one that
        answers is enough; with ``gone`` all of them must refuse, except those that this host has no route to.
    :param timeout: seconds for all of it. None: no limit. 0: exactly one try. The last try begins at the latest 10 ms
        before the deadline; if it fails at once, the wait is over.
    :param interval: the longest pause between two tries, in seconds. The first pause is 25 ms, or the interval if that
        is shorter; each is a quarter longer than the one before. Each is shortened at random, to half at most. With the
        default, an address that refuses gets about 13 SYNs a second.
    :param attempt_timeout: seconds for one try: lookup, connect and check. After 1 s, the default, the kernel would
        send an unanswered SYN again (RFC 6298, section 2).
    :param check: how to recognize the right server. Bytes: what it must send first after the connect, such as
        ``b"220 "``. A callable: gets the connected socket, with what is left of the try as its timeout, and returns
        True for the right server; an `OSError` in it is a failed try, anything else is raised. Not together with
        ``gone``.
    :param gone: wait until connects are refused. Silence is no refusal: the host may be busy, or cut off.
    :param connector: how to connect, a `Connector`; its source address or source ports are kept. Its
        ``attempt_timeout`` is for each address, within that of a try. Its timeout, retry, ``allow_self_connect`` and
        ``all_errors`` are ignored, and so is `FastOpenConnect`, which succeeds without asking anybody.
    :raises TimeoutError: it did not happen in time; its errno is None. A note says what was seen: how many tries were
        refused, met themselves, were not answered, ...
    :raises socket.gaierror: the name does not exist, at once. While its name server does not answer, the wait goes on.
    :raises PermissionError: the system or ``allow`` forbids it, at once. Other errors of a connect are failed tries.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an argument out of range; ``check`` together with ``gone``.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     address = server.getsockname()
    ...     wait_for_port(address, timeout=5)
    >>> wait_for_port(address, timeout=5, gone=True)
    """
    _check_is_blocking(check)
    waiting = begin(
        monotonic(), address, timeout, interval=interval, attempt_timeout=attempt_timeout, check=check, gone=gone
    )
    settings = probe_settings(_PLAIN if connector is None else connector, gone=gone)
    with Watch(waiting.address, settings) as watch:
        while not try_once(waiting, waiting.next_settings(settings)):
            pause(waiting, watch)


def _check_is_blocking(check: object) -> None:
    if not callable(check):
        return
    with imports.lock:
        import inspect  # takes longer to load than all the rest

    if inspect.iscoroutinefunction(check):
        raise TypeError("check must not be async: that takes safeconnect.asyncio or safeconnect.trio")


def pause(waiting: Waiting, watch: Watch) -> None:
    """Wait until the next try is to begin."""
    now = monotonic()
    ends = now + waiting.pause(now)
    while (seconds := waiting.until_look(monotonic(), ends)) > 0:
        time.sleep(seconds)
        if waiting.looks and waiting.looked(watch.look()):
            return


def try_once(waiting: Waiting, connector: Connector) -> bool:
    """Try once; return True when the port is as it should be."""
    timeout = waiting.begin(monotonic())
    try:
        sock = connector.connect(waiting.address, timeout)
    except (OSError, ExceptionGroup) as error:
        return waiting.failed(error, monotonic())
    try:
        return waiting.connected(monotonic()) if waiting.check is None else _is_right(sock, waiting)
    except OSError as error:
        return waiting.check_failed(error, monotonic())
    finally:
        end(sock)


def _is_right(sock: socket.socket, waiting: Waiting) -> bool:
    prepare(sock)
    check = waiting.check
    if not isinstance(check, bytes):
        sock.settimeout(waiting.left(monotonic()))
        return waiting.checked(check(sock), "the check said no", monotonic())
    greeting = Greeting(check)
    while greeting.missing:
        sock.settimeout(waiting.left(monotonic()))
        greeting.received(sock.recv(greeting.missing))
    return waiting.checked(greeting.is_right, greeting.text, monotonic())
