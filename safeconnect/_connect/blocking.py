"""Connect in the calling thread: `create_connection` and `Connector`.

For a single address, one attempt is all there is: it waits in ``connect()``, and no state machine is built. Of several
addresses the first is tried without the machine, too, which takes over if that does not connect at once. It also runs
connects with retries, an ``attempt_timeout``, a memory, a trace or a logger, and what follows a self-connect. Its
driver is `blocking_race`, which is loaded when first needed.
"""

from __future__ import annotations

import _socket
import socket
from sys import modules
from time import monotonic

from .._fork import imports
from .._lazy import publish
from .._lazy import typing as t
from .._sockets import kernel, resolve
from .._sockets.lifecycle import DEFAULT_TIMEOUT, handed_over
from ..errors import SelfConnectError
from .attempt import CONNECTED, check_limits, start_from, taken_ports, tell_taken, try_first
from .settings import Settings, check_seconds, unexpected
from .trace import is_logged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import Candidate
    from .connect_error import Outcome


class Connector(Settings):
    """All settings of a connect as one immutable value, to be made once and used often.

    :param timeout: as for `create_connection`; `connect` can be given another.
    :param source_address: the address to connect from, ``(host, port)``; port 0 leaves the port to the kernel. Or a
        list of addresses, of which each family has its own; the name of an interface; a `SourcePool`.
    :param source_ports: the ports to connect from: a `PortRange`, a `PortSet` or text such as ``"40000-40999"``.
    :param share_source: let other sockets have the same address and port, to listen there or to connect to other
        destinations. Each of them has to say so, before bind(): by SO_REUSEPORT, of the same user; on Linux also, of
        any user, by SO_REUSEADDR as long as it does not listen. Linux: SO_REUSEADDR and SO_REUSEPORT are set (3.9,
        socket(7)), so that sockets with either fit. macOS and other systems: SO_REUSEPORT. Windows, and where there
        is none: OSError (ENOPROTOOPT), for others could take the port over.
    :param options: ``(level, name, value)`` tuples as `socket.socket.setsockopt` takes them, or values such as
        `KeepAlive`, set before bind and connect.
    :param retry: a `Retry`, which says whether and when to try again after all addresses have failed. None: no retry,
        as in the standard library.
    :param attempt_timeout: the longest that one attempt at one address may take, in seconds; more than 0. Then the next
        address is tried, and after the last one ``retry`` begins anew. None (the default): until the kernel gives up.
    :param second_attempt_delay: how many seconds a silent address may go without a SYN until another attempt at it
        begins beside the first one; 0.1 or more. None or False: never.
    :param happy_eyeballs_delay: seconds after which the next address is tried beside the one that has not answered yet
        (RFC 8305). None: one address after the other, and what is left of the timeout is shared out equally among the
        untried ones, 10 ms at least for each.
    :param resolution_delay: None looks both families up at once, in the resolver's order. A number of seconds (RFC
        8305: 0.05) looks AAAA and A up apart, and lets an A answer wait that long for the AAAA answer.
    :param memory: a `ConnectMemory`, by which the address that answered last is tried first.
    :param allow_self_connect: return a self-connected socket if it comes to that.
    :param all_errors: raise an `ExceptionGroup` with one error for each address instead of the most telling one.
    :param trace: called with every event and order of the connect, in their order.
    :param resolver: called instead of `socket.getaddrinfo`, with its signature.
    :param family: `socket.AF_INET` or `socket.AF_INET6`: connect to addresses of that family only, whatever a resolver
        answers. `socket.AF_UNSPEC`, the default: of both.
    :param allow: which addresses may be connected to, against forged requests (SSRF) and names that change their
        address (DNS rebinding). Networks, as text or of `ipaddress`; or a callable that is given an
        `ipaddress.IPv4Address` or `ipaddress.IPv6Address` and returns a bool, such as `is_global_address`. It is asked
        of each address right before the connect to it, literals too: of an IPv4-mapped one as IPv4; of 0.0.0.0 and ::,
        which reach this host, also as loopback. None, the default: all.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a negative time, 0 as the ``attempt_timeout``, or less than 0.1 as the ``second_attempt_delay``;
        an unknown family; text that is no network.

    An ``attempt_timeout`` ends an attempt as a failure does, with a `TimeoutError` whose errno is None:

    - It counts from the start of the attempt, and is not extended when a self-connect makes the attempt start anew.
      Lookups, pauses and TLS handshakes do not count. It does not apply to ``timeout=0``, which never waits.
    - In a race, the next address starts at once; attempts that began later go on, each for its own time. With
      ``happy_eyeballs_delay=None``, the attempt ends after this time or after its share of the timeout, whichever comes
      first, and what it leaves is shared out among the rest.
    - ``retry`` is asked once all addresses have failed, and by default tries silence again. Its pauses are those of its
      backoff; its budget loses one token for the round, however many attempts that had.
    - ``timeout`` is above all that: when it is over, the call ends with its own `TimeoutError`, and nothing is retried.
    - The ``trace`` is told of it by ``Tick`` and ``Abandon``; there is no ``Failed``, as the kernel has said nothing.

    It must be longer than a handshake takes, or no attempt succeeds: 1 s or more is enough over any network.

    Second attempts let a client in soon after a server has room again. With a timeout they begin when no SYN was sent
    for the delay, give or take a twentieth, and the kernel sends none before: by default after 6 s, before Linux 6.5
    after 2 s. The first attempt goes on. There are none if the source port is given, or ``source_ports``.

    >>> connector = Connector(timeout=5)
    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with connector.connect(server.getsockname()) as sock:
    ...         sock.gettimeout()
    5.0
    """

    __slots__ = ()

    def connect(self, address: t.Address, timeout: float | None = DEFAULT_TIMEOUT) -> socket.socket:
        """Connect to the address; everything is as for `create_connection`.

        :param timeout: in the place of the connector's own.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.timeout
        elif not ((type(timeout) is int or type(timeout) is float) and timeout >= 0):
            timeout = check_seconds("timeout", timeout)
        return _connect(self, address, timeout)


_PLAIN = Connector()
_CONNECT, _default_timeout = _socket.socket.connect, _socket.getdefaulttimeout
_REGULAR_SYNS = 1 + kernel.linear_timeouts()  # for so many seconds the kernel sends a SYN each second


def create_connection(
    address: t.Address,
    timeout: float | None = DEFAULT_TIMEOUT,
    source_address: t.AnySource | None = None,
    *,
    all_errors: bool = False,
    **settings: t.Unpack[t.Keywords],
) -> socket.socket:
    """Connect to a TCP address and return the socket, which is never connected to itself.

    Takes the place of `socket.create_connection`: same arguments, same results, same errors.

    :param address: ``(host, port)``, or ``(host, port, flowinfo, scope_id)`` for IPv6. The host is a name or a literal
        address, the port a number or a service name. The addresses of a name are raced: the next one starts after
        250 ms, or at once when one fails, and the first to answer wins (RFC 8305).
    :param timeout: seconds for the whole call: names, addresses, pauses, retries. It is also the timeout that the
        returned socket keeps. None waits as long as the kernel does (about two minutes for each address on Linux), 0
        makes the socket non-blocking, and left out it is `socket.getdefaulttimeout()`.
    :param source_address: the address to connect from; port 0 leaves the port to the kernel. A `Connector` takes more.
    :param all_errors: raise an `ExceptionGroup` with one error for each address instead of the most telling one.
    :param settings: any other setting of a `Connector`, by keyword: ``source_ports``, ``share_source``, ``options``,
        ``retry``, ``attempt_timeout``, ``second_attempt_delay``, ``happy_eyeballs_delay``,
        ``resolution_delay``, ``memory``, ``allow_self_connect``, ``trace``, ``resolver``, ``family``, ``allow``.
    :raises ConnectionRefusedError: nobody listens there. `SelfConnectError`, a subclass, if every connection was one of
        the socket to itself.
    :raises TimeoutError: no answer in time.
    :raises PortsExhaustedError: every source port toward the address is taken.
    :raises socket.gaierror: the name could not be looked up; or it has no address of the ``family``.
    :raises AddressNotAllowedError: ``allow`` does not permit the address.
    :raises OSError: anything else that the kernel says. Notes on the error tell what was tried, from where, what
        happened and after how long; which addresses there was no time to try; and who has the source port given,
        where that is taken.
    :raises ValueError: the address has a wrong length, its port is not 0-65535, or a time is negative.
    :raises TypeError: an argument of a wrong type.

    On Linux 6.3 and later (and 6.1.32) a self-connect cannot happen, because the source port comes from a range that
    leaves the target's port out (``IP_LOCAL_PORT_RANGE``, ip(7)). On every platform each connection is checked. A
    self-connected socket is reset, so that the port is free at once, and the attempt starts anew.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with create_connection(server.getsockname(), timeout=5) as sock:
    ...         sock.getpeername() == server.getsockname()
    True
    """
    connector = _PLAIN
    if source_address is not None or all_errors or settings:
        try:
            others: Any = settings
            connector = Connector(source_address=source_address, all_errors=all_errors, **others)
        except TypeError as error:
            raise unexpected("create_connection", settings) or error from None
    if timeout is not DEFAULT_TIMEOUT and not ((type(timeout) is int or type(timeout) is float) and timeout >= 0):
        timeout = check_seconds("timeout", timeout)
    return _connect(connector, address, timeout)


def _connect(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> socket.socket:
    """Try the candidates in their order, each for the time that is left: a literal's, or a name's only one.

    Everything else goes to a dial: several candidates (unless the timeout is 0), retries, whatever needs the machine.
    """
    if (settings.needs_dial or ("logging" in modules and is_logged())) and timeout != 0:
        return _dial(settings, address, timeout, () if settings.resolver else resolve.literal(address))
    connect_timeout = timeout
    outcomes: tuple[Outcome, ...] = ()
    first: Any = None
    try:
        candidates: Sequence[Candidate] = () if settings.resolver else resolve.without_network(address)
        if len(candidates) != 1 or settings.source is not None:
            first, candidates, connect_timeout = _of_name(settings, address, candidates, timeout)
        seconds, goes_on = connect_timeout, False
        total = _default_timeout() if seconds is DEFAULT_TIMEOUT else seconds
        # Another tool's connect() may do more than connect, so it has all the time. settimeout() has to refuse 1e300 s.
        if total and total > _REGULAR_SYNS and socket.socket.connect is _CONNECT:
            silence = settings.patience + _REGULAR_SYNS
            seconds, goes_on = (silence, True) if silence < total < 1e9 else (seconds, False)
        for candidate in candidates:
            began = monotonic()
            try:
                if settings.is_limited:
                    check_limits(settings, candidate)
                first, state = start_from(
                    candidate, settings.bind_to, settings.options, settings.allow_self_connect, seconds, goes_on
                )
            except SelfConnectError as error:  # macOS refuses such a connect
                first, state = error.with_traceback(None), None
            except OSError as error:
                outcomes = (*outcomes, (candidate[4], error, monotonic() - began))
                continue
            if state != CONNECTED:  # The machine counts self-connects, and starts anew, also beside a silent attempt.
                seconds = connect_timeout
                first = _dial(settings, address, seconds, [candidate], began=began, first=first, first_began=began)
            return first if seconds is timeout else handed_over(first, timeout)
        if first is None:
            raise _concluded(settings, outcomes)
        return first  # type: ignore[no-any-return]
    finally:
        outcomes, first = (), None  # their tracebacks hold this frame, and the frame holds them: a cycle


def _of_name(
    settings: Settings, address: tuple[Any, ...], candidates: Sequence[Candidate], timeout: float | None
) -> tuple[socket.socket | None, Sequence[Candidate], float | None]:
    """Look a name up, and race its candidates if there are several.

    :returns: a connected socket, or else the candidates to try in their order; and the timeout for each.
    """
    began = monotonic()
    connect_timeout = timeout
    lookup_timeout = socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout
    if not candidates and not lookup_timeout and settings.resolver is None and not settings.family:
        candidates = resolve.look_up(address)
    elif not candidates:
        with imports.lock:
            from .names import look_up, may_take_long  # what most connects do without

        waits = bool(lookup_timeout) and may_take_long(settings, address)
        candidates = look_up(settings, address, lookup_timeout if waits else None)
        if waits and lookup_timeout:
            connect_timeout = max(lookup_timeout - (monotonic() - began), 0.001)
    if settings.family:
        candidates = resolve.of_family(settings.family, candidates)
    if settings.source is None and (len(candidates) == 1 or lookup_timeout == 0):
        return None, candidates, connect_timeout
    first, is_kept = try_first(settings, candidates[0])
    try:
        if is_kept and isinstance(first, socket.socket):
            return handed_over(first, timeout), (), timeout
        return _dial(settings, address, timeout, candidates, began=began, first=first), (), timeout
    finally:
        del first  # once raised, an error would hold this frame: a cycle


def _dial(
    settings: Settings,
    address: tuple[Any, ...],
    timeout: float | None,
    candidates: Sequence[Candidate],
    **started: Any,
) -> socket.socket:
    """Connect by the state machine."""
    with imports.lock:
        from .blocking_race import dial  # loaded when it is first needed

    try:
        return dial(settings, address, timeout, candidates, **started)
    finally:
        del started  # what was started may be an error: a cycle, as above


def _concluded(settings: Settings, outcomes: Sequence[Outcome]) -> OSError | ExceptionGroup[OSError]:
    """Return the error to raise for them, with a note on who has the source port if that was the obstacle."""
    with imports.lock:
        from . import connect_error  # only on the way to an error

    taken = [ports for sockaddr, error, _ in outcomes if (ports := taken_ports(settings, error, sockaddr))]
    failure = connect_error.conclude(outcomes, settings.bind_to, settings.all_errors)
    if taken:
        tell_taken(settings, failure, taken[-1])
    return failure


publish("safeconnect", Connector)
