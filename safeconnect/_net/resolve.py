"""From an address, as users write it, to the candidates that a connect may try.

`socket.getaddrinfo` is looked up at each call, and is called for every host once some tool has replaced it. Where it
is the standard library's own, an address that is a literal needs no lookup at all, and the others skip the conversion
of its results to enumerations.
"""

import _socket
import socket
from functools import lru_cache
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM

from ..ports import MAX_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    SockAddr = tuple[Any, ...]
    Candidate = tuple[int, int, int, str, SockAddr]  # as getaddrinfo gives them
    Host = str | bytes | None
    Port = str | bytes | int | None

# Judged by its module, not by identity: it may have been replaced before this module was loaded.
_STANDARD = socket.getaddrinfo if getattr(socket.getaddrinfo, "__globals__", None) is vars(socket) else None


def candidates(address: "tuple[Any, ...]") -> "Sequence[Candidate]":
    """Every place that the address names, in the resolver's order (RFC 6724).

    :param address: ``(host, port)``, or ``(host, port, flowinfo, scope_id)`` for IPv6.
    :raises TypeError: the port is neither int, str, bytes nor None.
    :raises ValueError: the address has another length, or the port is not 0 to 65535.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    if len(address) == 2:
        host, port = address
        tail: SockAddr = ()
    else:
        host, port, tail = _with_scope(address)
    lookup: Any = socket.getaddrinfo
    if lookup is _STANDARD:
        lookup = _socket.getaddrinfo
        if type(host) is str and type(port) is int:
            literal = _literal(host, port, tail)
            if literal:
                return literal
    _check_port(port)
    return _look_up(lookup, host, port, tail)


def _with_scope(address: "tuple[Any, ...]") -> "tuple[Host, Port, SockAddr]":
    if len(address) != 4:
        raise ValueError(f"address must be (host, port) or (host, port, flowinfo, scope_id), not {address!r}")
    return address[0], address[1], tuple(address[2:])


@lru_cache(maxsize=256)
def _literal(host: str, port: int, tail: "SockAddr") -> "tuple[Candidate, ...]":
    """The one candidate where the host is an address written out in full, without a scope; else none."""
    if 0 <= port <= MAX_PORT:
        if _is_address(AF_INET, host) and not tail:
            return ((AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (host, port)),)
        if _is_address(AF_INET6, host):
            return ((AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", (host, port, *(tail or (0, 0)))),)
    return ()


def _is_address(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def _look_up(lookup: "Any", host: "Host", port: "Port", tail: "SockAddr") -> "list[Candidate]":
    name = _idna(host) if lookup is _socket.getaddrinfo and type(host) is str else host
    try:
        found: list[Candidate] = lookup(name, port, 0, SOCK_STREAM)
    except OSError as error:
        error.add_note(f"while looking up host {host!r}, port {port!r}")
        raise
    if not found:
        raise OSError("getaddrinfo returns an empty list")
    return [_with_tail(candidate, tail) for candidate in found] if tail else found


@lru_cache(maxsize=256)
def _idna(host: str) -> str | bytes:
    """The host in the encoding that getaddrinfo() applies at every call, in Python; itself where that fails.

    getaddrinfo() then says why.
    """
    try:
        return host.encode("idna")
    except UnicodeError:
        return host


def _check_port(port: object) -> None:
    if isinstance(port, int) and not isinstance(port, bool):
        number = port
    elif port is None or isinstance(port, (str, bytes)):
        text = port.decode("latin-1") if isinstance(port, bytes) else port or ""
        number = int(text) if text.strip().isdecimal() else 0  # a service name is the resolver's to judge
    else:
        raise TypeError(f"port must be an int, a str, bytes or None, not {type(port).__name__}")
    if not 0 <= number <= MAX_PORT:
        # getaddrinfo() itself takes 70000 and connects to 70000 - 65536.
        raise ValueError(f"port must be 0-{MAX_PORT}, not {port!r}")


def _with_tail(candidate: "Candidate", tail: "SockAddr") -> "Candidate":
    """The candidate with the flow label and scope that the caller gave; a 0 leaves the resolver's."""
    family, kind, proto, name, sockaddr = candidate
    if family != AF_INET6:
        return candidate
    given = (new or old for new, old in zip(tail, sockaddr[2:], strict=True))
    return family, kind, proto, name, (*sockaddr[:2], *given)
