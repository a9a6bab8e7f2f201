"""From an address, as users write it, to the candidates that a connect may try.

`socket.getaddrinfo` is looked up at each call, and is called for every host once some tool has replaced it. If it is
the standard library's own, a literal address needs no lookup at all, and other addresses skip the conversion of the
results to enumerations.
"""

from __future__ import annotations

import _socket
import socket
from _socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM  # plain ints, unlike those of socket
from functools import lru_cache

from .._fork import imports
from ..ports import MAX_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..typing import Candidate, Resolver, SockAddr

    Host = str | bytes | None
    Port = str | bytes | int | None

_MOST_FLOW_LABEL = 2**20 - 1
_MOST_SCOPE_ID = 2**32 - 1

# Judged by its module, not by identity: it may have been replaced before this module was loaded.
STANDARD = socket.getaddrinfo if getattr(socket.getaddrinfo, "__globals__", None) is vars(socket) else None
_known: dict[tuple[Any, ...], tuple[Candidate, ...]] = {}  # what `_literal` says of an address
_here: set[str] = set()  # localhost once this host has it; until then each connect to it looks


def without_network(address: tuple[Any, ...], family: int = 0) -> Sequence[Candidate]:
    """Return the candidates that need no network: those of a literal, and of localhost as a rule; otherwise none.

    :param address: ``(host, port)``, or ``(host, port, flowinfo, scope_id)`` for IPv6.
    :param family: of localhost's addresses, only those of this family.
    :raises TypeError: it is not an address.
    :raises ValueError: the address has another length.
    :raises OSError: localhost could not be looked up.
    """
    try:
        found = _known.get(address)  # a third of the time that the cache of _literal() takes
    except (TypeError, BytesWarning):  # a list in it; or python -bb: a host in bytes has the hash of the same text
        found = None
    if found is not None and type(address[1]) is int and socket.getaddrinfo is STANDARD:
        return found
    if type(address) is not tuple or len(address) != 2:
        return literal(address)
    host, port = address
    if type(host) is not str:
        return ()
    if host == "localhost":
        addresses = look_up(address) if host in _here or not may_ask_the_network(address) else ()
        return of_family(family, addresses) if family else addresses
    if type(port) is not int or socket.getaddrinfo is not STANDARD:
        return ()
    found = _literal(host, port, ())
    if len(_known) >= 256:
        _known.clear()
    _known[address] = found
    return found


def literal(address: tuple[Any, ...]) -> tuple[Candidate, ...]:
    """Return the one candidate of a literal address, without a lookup; for other addresses none.

    :raises TypeError: it is not an address.
    :raises ValueError: the address has a wrong length.
    """
    if type(address) is not tuple:
        check_address(address)
    if len(address) == 2:
        host, port = address
        tail: SockAddr = ()
    else:
        host, port, tail = with_scope(address)
    if socket.getaddrinfo is STANDARD and type(host) is str and type(port) is int:
        return _literal(host, port, tail)
    return ()


def look_up(address: tuple[Any, ...]) -> Sequence[Candidate]:
    """Look the address up by `socket.getaddrinfo`, in this thread; the candidates in its order (RFC 6724).

    :raises TypeError: it is not an address; or the port is neither int, str, bytes nor None, then an OSError, too.
    :raises ValueError: the address has a wrong length; or the port is not 0 to 65535, or there is a NUL in the host,
        then an OSError, too.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    if type(address) is not tuple:
        check_address(address)
    if len(address) == 2:
        host, port = address
        tail: SockAddr = ()
    else:
        host, port, tail = with_scope(address)
    if type(port) is not int or not 0 <= port <= MAX_PORT:
        _check_single(address)
        check_port(port)
    if type(host) is str:
        encoded = b"localhost" if host == "localhost" else encode(host)
    else:
        check_host(host)
        encoded = host
    resolver: Resolver = socket.getaddrinfo
    found: Any
    try:
        if resolver is STANDARD:
            found = _socket.getaddrinfo(encoded, port, 0, SOCK_STREAM)
        else:
            found = _usable(resolver(host, port, 0, SOCK_STREAM))
    except OSError as error:
        raise noted(error, host, port)  # noqa: B904 - it is the same error
    return read(found, tail) if tail or not found else found


def may_ask_the_network(address: tuple[Any, ...]) -> bool:
    """Return True if looking the host up may take long: all names but localhost."""
    host = address[0]
    if host != ("localhost" if isinstance(host, str) else b"localhost"):
        return bool(host)
    if "localhost" not in _here:
        with imports.lock:
            from . import hosts  # most connects do without

        if hosts.has_localhost():
            _here.add("localhost")
    return "localhost" not in _here


def of_family(family: int, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return the candidates of the family, which a resolver may have ignored; all of them if there are none.

    A connect that is limited to the family then refuses each of them, and the error says so.
    """
    return [each for each in candidates if each[0] == family] or candidates if family else candidates


def named(host: Host, port: Port) -> str:
    """Return what is looked up, for a note. Each dial asks for it."""
    return f"host {host!r}, port {port if type(port) is int and 0 <= port <= MAX_PORT else _shown(port)}"


def noted(error: OSError, host: Host, port: Port) -> OSError:
    error.add_note(f"while looking up {named(host, port)}")
    if type(host) is str and "%" in host:
        with imports.lock:
            from .zones import unknown  # getaddrinfo() says only that there is no such name

        reason = unknown(host)
        if reason and reason != error.strerror:
            error.add_note(reason)
    return error


def check_address(address: object) -> None:
    """Refuse what is not an address.

    :raises TypeError: it is not a sequence, or one of several targets.
    """
    if isinstance(address, (str, bytes, bytearray, dict)) or not hasattr(address, "__getitem__"):
        raise TypeError(
            "address must be a tuple (host, port) or (host, port, flowinfo, scope_id), "
            f"not {type(address).__name__}: {_shown(address)}"
        )
    _check_single(address)


def _check_single(address: Any) -> None:
    """Refuse several targets, which other libraries take in one call.

    :raises TypeError: there are several; or one, in a list of its own.
    """
    if isinstance(address, (list, tuple)) and address and isinstance(address[0], (list, tuple)):
        raise TypeError(
            f"address must be one target, (host, port), not a {type(address).__name__} of them: {_shown(address)}; to "
            "race several, give a resolver that returns the addresses of all; to try them in turn, call once for each"
        )


def check_host(host: object) -> None:
    r"""Refuse a NUL, at which C would end the name: ``"127.0.0.1\0.example"`` would be ``127.0.0.1``.

    :raises ValueError: there is one; a `socket.gaierror`, too.
    """
    nul: Any = "\0" if isinstance(host, str) else b"\0"
    if isinstance(host, (str, bytes, bytearray)) and nul in host:
        raise _ValueError(socket.EAI_NONAME, f"host must be without NUL, not {_shown(host)}")


def read(found: Any, tail: SockAddr) -> list[Candidate]:
    if not found:
        raise OSError("getaddrinfo returns an empty list")
    return [_with_tail(candidate, tail) for candidate in found] if tail else found


def _usable(found: Iterable[Any]) -> list[Candidate]:
    with imports.lock:
        from .answers import usable  # the standard library's own answers are

    return usable(found)


def _shown(value: object) -> str:
    with imports.lock:
        from .._text import shown  # only on the way to an error

    return shown(value)


def _number(digits: str) -> int:
    with imports.lock:
        from .._text import number  # few ports are text

    return number(digits)


def with_scope(address: tuple[Any, ...]) -> tuple[Host, Port, SockAddr]:
    """Split an address of four parts into host, port and the other two.

    :raises TypeError: one of the other two is no int.
    :raises ValueError: there is another number of parts; or one is out of its range.
    """
    if len(address) != 4:
        _check_single(address)
        raise ValueError(f"address must be (host, port) or (host, port, flowinfo, scope_id), not {address!r}")
    host, port, flowinfo, scope_id = address
    if flowinfo != 0 or scope_id != 0:
        _check_single(address)
        _check_numbers(flowinfo, scope_id)
    return host, port, (flowinfo, scope_id)


def _check_numbers(flowinfo: object, scope_id: object) -> None:
    for name, value, most in (("flowinfo", flowinfo, _MOST_FLOW_LABEL), ("scope_id", scope_id, _MOST_SCOPE_ID)):
        if not isinstance(value, int):
            raise TypeError(f"the {name} of address must be an int, not {type(value).__name__}: {_shown(value)}")
        if not 0 <= value <= most:
            raise ValueError(f"the {name} of address must be 0-{most}, not {_shown(value)}")


@lru_cache(maxsize=256)
def _literal(host: str, port: int, tail: SockAddr) -> tuple[Candidate, ...]:
    """Return the one candidate if the host is an address in full, without a scope; otherwise none."""
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


@lru_cache(maxsize=1)
def load_codec() -> None:
    """Load the codec of getaddrinfo() under our lock around imports; its own first call would do so without."""
    with imports.lock:
        "".encode("idna")  # the table of codecs remembers it


@lru_cache(maxsize=256)
def encode(host: str) -> str | bytes:
    """Return the checked host in the encoding that getaddrinfo() applies at every call, in Python.

    Where that fails, the host itself: getaddrinfo() then says why.

    :raises ValueError: as `check_host`.
    """
    check_host(host)
    load_codec()
    try:
        return host.encode("idna")
    except UnicodeError:
        return host


def check_port(port: object) -> None:
    """Refuse a wrong port, with an error of our class that is also of the class that getaddrinfo() raises."""
    if isinstance(port, int) and not isinstance(port, bool):
        number = port
    elif port is None or isinstance(port, (str, bytes)):
        text = port.decode("latin-1") if isinstance(port, bytes) else port or ""
        if "\0" in text:  # at which C would end it
            raise _ValueError(socket.EAI_SERVICE, f"port must be without NUL, not {_shown(port)}")
        digits = text.strip()
        number = _number(digits) if digits.isdecimal() else 0  # a service name is the resolver's to judge
    else:
        raise _PortTypeError(f"port must be an int, a str, bytes or None, not {type(port).__name__}")
    if not 0 <= number <= MAX_PORT:
        # getaddrinfo() itself takes 70000 and connects to 70000 - 65536.
        raise _ValueError(socket.EAI_SERVICE, f"port must be 0-{MAX_PORT}, not {_shown(port)}")


class _PortTypeError(OSError, TypeError):
    pass


class _ValueError(socket.gaierror, ValueError):
    pass


def _with_tail(candidate: Candidate, tail: SockAddr) -> Candidate:
    """Return the candidate with the flow label and scope of the caller; a 0 leaves the resolver's."""
    family, kind, proto, name, sockaddr = candidate
    if family != AF_INET6:
        return candidate
    given = (new or old for new, old in zip(tail, (*sockaddr[2:], 0, 0), strict=False))
    return family, kind, proto, name, (*sockaddr[:2], *given)
