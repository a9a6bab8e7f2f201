"""The blocking driver: `create_connection` and `Connector`.

One candidate is one straight line: open, dress, bind, aim, connect, check. Several candidates, retries and the like are
the dial's business (`racing`, loaded when first needed).
"""

import errno
import socket
from time import monotonic

from ._core import verdict
from ._fork import imports
from ._net import aim, resolve, sockets
from ._net.attempt import (
    at_once,
    check_limits,
    connect_from_elsewhere,
    explain,
    kernel_chooses,
    taken_ports,
    tell_taken,
)
from ._trace import is_logged
from .settings import Settings, check_seconds, unexpected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Never

    from typing_extensions import Unpack

    from ._core.messages import Candidate
    from .memory import ConnectMemory
    from .options import AnyOption
    from .retry import Retry
    from .settings import Allow, AnySource, Keywords, Ports, Resolver, Trace

# The standard library's own mark for "use the default timeout": ftplib, http.client and others pass it on.
DEFAULT_TIMEOUT: "Any" = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001


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
    :param retry: a `Retry`, by which to try again after all addresses have failed. None: no retry, as in the standard
        library.
    :param attempt_timeout: the longest that one attempt at one address may take, in seconds; more than 0. Then the next
        address is tried, and after the last one ``retry`` begins anew. None (the default): until the kernel gives up.
    :param happy_eyeballs_delay: seconds after which the next address is tried beside the one that has not answered yet
        (RFC 8305). None: one address after the other, and what is left of the timeout is shared out equally among the
        untried ones, 10 ms at least for each.
    :param resolution_delay: None looks both families up at once, in the resolver's order. A number of seconds (RFC
        8305: 0.05) looks AAAA and A up apart, and lets an A answer wait that long for the AAAA answer.
    :param memory: a `ConnectMemory`, by which the address that answered last is tried first.
    :param allow_self_connect: return a socket that is connected to itself, should that happen.
    :param all_errors: raise an `ExceptionGroup` with one error for each address instead of the most telling one.
    :param trace: called with every event and order of the connect, in their order.
    :param resolver: looks names up in the place of `socket.getaddrinfo`, with its signature.
    :param family: `socket.AF_INET` or `socket.AF_INET6`: connect to addresses of that family only, whatever a resolver
        answers. `socket.AF_UNSPEC`, the default: of both.
    :param allow: which addresses may be connected to, against forged requests (SSRF) and names that change their
        address (DNS rebinding). Networks, as text or of `ipaddress`; or a callable that is given an
        `ipaddress.IPv4Address` or `ipaddress.IPv6Address` and returns a bool, such as `is_global_address`. It is asked
        of each address right before the connect to it, literals too: of an IPv4-mapped one as IPv4; of 0.0.0.0 and ::,
        which reach this host, also as loopback. None, the default: all.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a negative time, or 0 as the ``attempt_timeout``; an unknown family; a network that is none.

    An ``attempt_timeout`` ends an attempt as a failure does, with a `TimeoutError` whose errno is None:

    - It counts from the start of the attempt, and goes on where that meets itself and begins again. Lookups, pauses and
      TLS handshakes do not count. Of a connect that ``timeout=0`` keeps from waiting, nothing is limited.
    - In a race, the next address starts at once; attempts that began later go on, each for its own time. With
      ``happy_eyeballs_delay=None``, the attempt ends after this time or after its share of the timeout, whichever comes
      first, and what it leaves is shared out among the rest.
    - ``retry`` is asked once all addresses have failed, and by default tries silence again. Its pauses are those of its
      backoff; its budget loses one token for the round, however many attempts that had.
    - ``timeout`` is above all that: when it is over, the call ends with its own `TimeoutError`, and nothing is retried.
      Without an ``attempt_timeout`` a silent address therefore is never retried before the kernel has given it up.
    - The ``trace`` is told of it by ``Tick`` and ``Abandon``; there is no ``Failed``, as the kernel has said nothing.

    Be it longer than a handshake takes, or no attempt succeeds: over any network, 1 s or more.

    >>> connector = Connector(timeout=5)
    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with connector.connect(server.getsockname()) as sock:
    ...         sock.gettimeout()
    5.0
    """

    __slots__ = ("timeout",)

    timeout: float | None

    def __init__(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: "AnySource | None" = None,
        source_ports: "Ports | None" = None,
        share_source: bool = False,
        options: "Iterable[AnyOption]" = (),
        retry: "Retry | None" = None,
        attempt_timeout: float | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        resolution_delay: float | None = None,
        memory: "ConnectMemory | None" = None,
        allow_self_connect: bool = False,
        all_errors: bool = False,
        trace: "Trace | None" = None,
        resolver: "Resolver | None" = None,
        family: int = 0,
        allow: "Allow | None" = None,
        **unknown: "Never",
    ) -> None:
        if unknown:
            raise unexpected(type(self).__name__, unknown) or TypeError(f"unexpected: {', '.join(unknown)}")
        if timeout is not DEFAULT_TIMEOUT:
            timeout = check_seconds("timeout", timeout)
        super().__init__(
            source_address=source_address,
            source_ports=source_ports,
            share_source=share_source,
            options=options,
            retry=retry,
            attempt_timeout=attempt_timeout,
            happy_eyeballs_delay=happy_eyeballs_delay,
            resolution_delay=resolution_delay,
            memory=memory,
            allow_self_connect=allow_self_connect,
            all_errors=all_errors,
            trace=trace,
            resolver=resolver,
            family=family,
            allow=allow,
        )
        object.__setattr__(self, "timeout", timeout)

    def connect(self, address: "tuple[Any, ...]", timeout: "float | None" = DEFAULT_TIMEOUT) -> socket.socket:
        """Connect to the address; everything is as for `create_connection`.

        :param timeout: in the place of the connector's own.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.timeout
        elif not (isinstance(timeout, (int, float)) and timeout >= 0):
            timeout = check_seconds("timeout", timeout)
        return _connect(self, address, timeout)


_PLAIN = Connector()


def create_connection(
    address: "tuple[Any, ...]",
    timeout: "float | None" = DEFAULT_TIMEOUT,
    source_address: "AnySource | None" = None,
    *,
    all_errors: bool = False,
    **settings: "Unpack[Keywords]",
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
        ``retry``, ``attempt_timeout``, ``happy_eyeballs_delay``, ``resolution_delay``, ``memory``,
        ``allow_self_connect``, ``trace``, ``resolver``, ``family``,
        ``allow``.
    :raises ConnectionRefusedError: nobody listens there. `SelfConnectError`, a subclass, where the only connection to
        be had was to the socket itself.
    :raises TimeoutError: no answer in time.
    :raises PortsExhaustedError: every source port toward the address is taken.
    :raises socket.gaierror: the name could not be looked up; or it has no address of the ``family``.
    :raises AddressNotAllowedError: ``allow`` does not permit the address.
    :raises OSError: anything else that the kernel says. Notes on the error tell what was tried, from where, what
        happened and after how long; which addresses there was no time to try; and who has the source port given,
        where that is taken.
    :raises ValueError: the address has a wrong length, its port is not 0-65535, or a time is negative.
    :raises TypeError: an argument of a wrong type.

    On Linux 6.3 and later a self-connect cannot happen, for the source port is taken from a range that leaves the
    target's port out (``IP_LOCAL_PORT_RANGE``, ip(7)). Everywhere each connection is checked, and one that met itself
    is reset, so that the port is free at once, and tried again.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with create_connection(server.getsockname(), timeout=5) as sock:
    ...         sock.getpeername() == server.getsockname()
    True
    """
    plan = _PLAIN
    if source_address or all_errors or settings:
        try:
            others: Any = settings
            plan = Connector(source_address=source_address, all_errors=all_errors, **others)
        except TypeError as error:
            raise unexpected("create_connection", settings) or error from None
    if timeout is not DEFAULT_TIMEOUT and not (isinstance(timeout, (int, float)) and timeout >= 0):
        timeout = check_seconds("timeout", timeout)
    return _connect(plan, address, timeout)


def _connect(plan: Settings, address: "tuple[Any, ...]", timeout: float | None) -> socket.socket:
    if (plan.needs_dial or is_logged()) and timeout != 0:
        with imports.lock:
            from .racing import dial

        return dial(plan, address, timeout, () if plan.resolver else resolve.literal(address))
    candidates: Sequence[Candidate] = () if plan.resolver else resolve.at_once(address)
    if len(candidates) == 1 and plan.source is None:
        return _in_order(plan, candidates, timeout, timeout)
    began = monotonic()
    limit = timeout
    seconds = socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout
    if not candidates and seconds and may_take_long(plan, address):
        candidates = look_up(plan, address, seconds)
        limit = max(seconds - (monotonic() - began), 0.001)
    elif not candidates:
        candidates = look_up(plan, address, None)
    if plan.family:
        candidates = resolve.of_family(plan.family, candidates)
    if plan.source is not None or (len(candidates) > 1 and seconds != 0):
        return _race(plan, address, timeout, candidates, began)
    return _in_order(plan, candidates, timeout, limit)


def _race(
    plan: Settings, address: "tuple[Any, ...]", timeout: float | None, candidates: "Sequence[Candidate]", began: float
) -> socket.socket:
    """Race the candidates; the machine is built only if the first one, its first order, is not connected at once."""
    first, is_kept = at_once(plan, candidates[0])
    try:
        if is_kept and isinstance(first, socket.socket):
            return handed_over(first, timeout)
        with imports.lock:
            from .racing import dial  # loaded when it is first needed

        return dial(plan, address, timeout, candidates, began=began, first=first)
    finally:
        del first  # an error would hold this frame once it is raised: a cycle


def look_up(plan: Settings, address: "tuple[Any, ...]", seconds: float | None) -> "Sequence[Candidate]":
    """Look a name up: within so many seconds, in a thread; or, given None, here and now.

    :raises TimeoutError: there was no answer in time; the lookup goes on in its thread until it ends.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    if seconds is not None:
        with imports.lock:
            from .racing import look_up_in_time  # brings threads along

        return look_up_in_time(resolve.Question(address, plan.resolver, plan.family), seconds)
    if plan.resolver or plan.family:
        return resolve.Question(address, plan.resolver, plan.family).ask()
    return resolve.look_up(address)


def may_take_long(plan: Settings, address: "tuple[Any, ...]") -> bool:
    """Whether a lookup may have to ask the network, or somebody who does as he likes."""
    return plan.resolver is not None or resolve.may_ask_the_network(address)


def _in_order(
    plan: Settings, candidates: "Sequence[Candidate]", timeout: float | None, limit: float | None
) -> socket.socket:
    """Try the candidates in their order, each for ``limit`` seconds: there is one, or no time to wait for any."""
    outcomes: list[verdict.Outcome] = []
    try:
        for candidate in candidates:
            began = monotonic()
            try:
                if plan.is_limited:
                    check_limits(plan, candidate)
                sock = _straight(plan, candidate, limit) or _straight_again(plan, candidate, limit)
            except OSError as error:
                outcomes.append((candidate[4], error, monotonic() - began))
            else:
                return sock if limit is timeout else handed_over(sock, timeout)
        raise _concluded(plan, outcomes)
    finally:
        outcomes.clear()  # their tracebacks hold this frame, and the frame holds the list: a cycle


def _concluded(plan: Settings, outcomes: "Sequence[verdict.Outcome]") -> "OSError | ExceptionGroup[OSError]":
    """What to raise for them; a note says who has the source port, where that is what stands in the way."""
    taken = [ports for sockaddr, error, _ in outcomes if (ports := taken_ports(plan, error, sockaddr))]
    failure = verdict.conclude(outcomes, plan.bind_to, plan.all_errors)
    if taken:
        tell_taken(plan, failure, taken[-1])
    return failure


def handed_over(sock: socket.socket, timeout: float | None) -> socket.socket:
    """The connected socket, with the timeout that its user wants."""
    try:
        sock.settimeout(socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout)
    except BaseException:  # OverflowError: the standard library takes up to 292 years
        sock.close()
        raise
    return sock


def _straight(plan: Settings, candidate: "Candidate", limit: float | None) -> socket.socket | None:
    """One candidate, one straight line; None where the connection met itself and has been reset."""
    family, kind, proto, _, sockaddr = candidate
    source_address = plan.bind_to
    aims = kernel_chooses(family, source_address)
    sock = socket.socket(family, kind, proto)
    try:
        if limit is not DEFAULT_TIMEOUT:
            sock.settimeout(limit)
        if plan.options or source_address:
            aims = sockets.prepare(sock, plan.options, source_address) and aims
        window = aim.aim(sock, sockaddr) if aims else None
        found_port = True
        try:
            sock.connect(sockaddr)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or not aims:
                raise
            found_port = False
        if not found_port:
            connect_from_elsewhere(sock, sockaddr, source_address, window is not None)
            window = None
        # Every connect pays for this system call, so the peer's name is asked for only where the ports are the same.
        port = sock.getsockname()[1]
        if window and port not in window:
            aim.missed()
        if port != sockaddr[1] or plan.allow_self_connect or not sockets.is_self_connected(sock):
            return sock
        sockets.reset(sock)  # in here: interrupted, it is done below
    except BaseException as error:
        met_itself = sockets.is_refused_meeting(sock, sockaddr[1], error)
        explain(error, sock, source_address, sockaddr)
        sockets.discard(sock)
        if not met_itself:
            raise
    return None


def _straight_again(plan: Settings, candidate: "Candidate", limit: float | None) -> socket.socket:
    """Go on after a first connection that met itself, while the kernel may still choose another source port."""
    meetings = verdict.MEETINGS if kernel_chooses(candidate[0], plan.bind_to) else 1
    for _ in range(meetings - 1):
        sock = _straight(plan, candidate, limit)
        if sock is not None:
            return sock
    raise verdict.met_itself(candidate[4], meetings)
