"""Look names up, and connect to the target's addresses: how that ends, and how long it takes."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from time import perf_counter

from .._connect.blocking_race import dial
from .._connect.names import look_up_in_time
from .._connect.order import without_duplicates
from .._connect.settings import Settings
from .._host import tcp_table
from .._host.holders import is_own
from .._host.tcp_sockets import holdings, in_the_way
from .._local.exposure import self_connect_exposure
from .._sockets import resolve
from .._sockets.lifecycle import reset
from ..errors import PortsExhaustedError, SelfConnectError
from .facts import Attempt, Exposed, Lookup, Names, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._host.tcp_sockets import Holding, TcpSocket
    from ..typing import Candidate, Failure, Family, Outcome, SockAddr
    from .facts import Listener

_PLAIN = Settings()
_MOST_ATTEMPTS = 8  # a name may have hundreds of addresses, each of which may time out
_MOST_HOLDINGS = 10
_FAMILIES: dict[Family, int] = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6, "both": socket.AF_UNSPEC}
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EAFNOSUPPORT)
# getaddrinfo(3). Some are glibc's own; if two have the same number on a platform, the last one counts.
_EAI: dict[str, Failure] = {
    "EAI_NODATA": "no-address",
    "EAI_ADDRFAMILY": "no-address",
    "EAI_NONAME": "unknown",
    "EAI_AGAIN": "no-answer",
}
_FAILURES = {getattr(socket, name): failure for name, failure in _EAI.items() if hasattr(socket, name)}


def look_at_names(host: str | None, timeout: float) -> Names:
    """Look up localhost, and the target's name; without one, or if it is a literal, the host's own."""
    name = socket.gethostname() if host is None or resolve.literal((host, 1)) else host
    return Names(
        ipv6_loopback=_has_ipv6_loopback(),
        localhost=_look_up("localhost", "both", timeout)[0],
        # Apart, and before the lookup of both, which a cache may then answer.
        lookups=(_look_up(name, "IPv4", timeout)[0], _look_up(name, "IPv6", timeout)[0]),
    )


def try_target(
    host: str, port: int, timeout: float, sockets: list[TcpSocket], listeners: tuple[Listener, ...] | None
) -> Target:
    """Connect to each address of the target, one after the other.

    :param sockets: those of this machine, as they were before.
    :param listeners: the listening ones among them; None if they are not known.
    """
    lookup, candidates = _look_up(host, "both", timeout, port)
    attempts = tuple(_attempt(candidate, timeout) for candidate in candidates[:_MOST_ATTEMPTS])
    own = [attempt.address for attempt in attempts if attempt.own]
    is_known = bool(own) and listeners is not None
    return Target(
        host=host,
        port=port,
        timeout_seconds=timeout,
        lookup=lookup,
        attempts=attempts,
        untried=max(len(candidates) - _MOST_ATTEMPTS, 0),
        listeners=tuple(each for each in listeners or () if each.port == port) if is_known else None,
        exposed=_exposed(own, port),
        held=_held(sockets, own, port) if is_known else None,
    )


def _held(sockets: list[TcpSocket], own: list[str], port: int) -> tuple[Holding, ...] | None:
    """Return what may keep a server from the port."""
    hosts = {address.partition("%")[0] for address in own}
    try:
        return tuple(holdings(tcp_table.owners(in_the_way(sockets, hosts, port)))[:_MOST_HOLDINGS])
    except OSError:  # no descriptor is left to look at processes with
        return None


def _look_up(name: str, family: Family, timeout: float, port: int = 0) -> tuple[Lookup, list[Candidate]]:
    """Look a name up, for at most this many seconds, even if the resolver hangs."""
    began = perf_counter()
    candidates: list[Candidate] = []
    failure: Failure | None = None
    text = None
    try:
        found = look_up_in_time(resolve.Question((name, port), None, _FAMILIES[family]), timeout)
        candidates = without_duplicates(found, {})  # a hosts file may have a line twice
    except TimeoutError:
        failure, text = "timed-out", f"no answer in {timeout:g} s"
    except (OSError, UnicodeError) as error:  # UnicodeError: DNS cannot have such a name
        failure = _FAILURES.get(getattr(error, "errno", None) or 0, "failed")
        text = getattr(error, "strerror", None) or str(error)
    seconds = perf_counter() - began
    addresses = tuple(dict.fromkeys(_address(candidate[4]) for candidate in candidates))
    return Lookup(name, family, seconds, addresses, failure, text), candidates


def _attempt(candidate: Candidate, timeout: float) -> Attempt:
    """Connect once, to one address, and reset the connection."""
    sockaddr = candidate[4]
    error: str | None = None
    began = perf_counter()
    try:
        # Not create_connection(): if a tool has replaced getaddrinfo, that asks it about literals, too.
        sock = dial(_PLAIN, sockaddr, timeout, [candidate])
        seconds = perf_counter() - began
        reset(sock)
        outcome: Outcome = "connected"
    except OSError as failure:
        seconds = perf_counter() - began
        outcome, error = _outcome(failure), failure.strerror or str(failure)
    return Attempt(_address(sockaddr), sockaddr[1], seconds, outcome, bool(is_own(sockaddr)), error)


def _outcome(error: OSError) -> Outcome:
    if isinstance(error, SelfConnectError):
        return "met-itself"
    if isinstance(error, PortsExhaustedError):
        return "no-source-port"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "silent"
    return "unreachable" if error.errno in _UNREACHABLE else "failed"


def _address(sockaddr: SockAddr) -> str:
    scope = f"%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] and "%" not in sockaddr[0] else ""
    return f"{sockaddr[0]}{scope}"


def _has_ipv6_loopback() -> bool | None:
    return is_own(("::1", 0))


def _exposed(own: list[str], port: int) -> Exposed | None:
    """Return the exposure of this host's own addresses: of an exposed one, if there is one."""
    found = []
    for address in own:
        with suppress(OSError):  # a getaddrinfo of another tool may not know literals
            found.append(self_connect_exposure(address, port))
    told = next(filter(None, found), found[0] if found else None)
    return None if told is None else Exposed(told.reason, told.prevented, str(told), told.advice)
