"""Socket addresses as values: compare two of them, and write one as people do."""

from __future__ import annotations

from .._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import SockAddr


def same_endpoint(local: SockAddr, peer: SockAddr) -> bool:
    """Return True if two socket names mean the same end of a connection.

    Addresses and ports are compared as they are seen from outside: IPv4-mapped IPv6 addresses as IPv4, scope ids only
    for link-local addresses, flow labels never.
    """
    return same_host(local, peer) and bool(local[1] == peer[1] != 0)


def same_host(local: SockAddr, peer: SockAddr) -> bool:
    """Return True if two socket names of the IP families mean the same address."""
    for name in (local, peer):
        if not (isinstance(name, tuple) and name and isinstance(name[0], str)):
            return False
    return _host(local) == _host(peer)


def _host(name: SockAddr) -> tuple[str, int]:
    """Return the address, unmapped, and its scope id if it is link-local: others mean the same without one."""
    address = unmapped(name[0].partition("%")[0].lower())
    # RFC 4291: link-local is fe80::/10.
    scoped = len(name) == 4 and address[:3] in ("fe8", "fe9", "fea", "feb")
    return address, int(name[3]) if scoped else 0


def unmapped(host: str) -> str:
    """Return the IPv4 address in an IPv4-mapped IPv6 address, as the kernel writes it; other addresses as they are."""
    return host[len("::ffff:") :] if host.startswith("::ffff:") and "." in host else host


def written(name: object) -> str:
    """Return a socket address as people write it: ``127.0.0.1:80``, ``[::1]:80``, ``[fe80::1%2]:80``."""
    if not (isinstance(name, tuple) and len(name) >= 2):
        return str(name)
    host = printable(name[0].decode("latin-1") if isinstance(name[0], (bytes, bytearray)) else str(name[0]))
    if len(name) == 4 and name[3] and "%" not in host:
        host = f"{host}%{name[3]}"
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def printable(text: str) -> str:
    """Return the text for a note, made harmless if it has to be."""
    if text.isprintable():
        return text
    with imports.lock:
        from .._text import harmless  # few notes need it

    return harmless(text)
