"""Socket addresses as values: whether two of them mean the same end, and how people write them."""

from __future__ import annotations

from .._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import SockAddr


def same_endpoint(local: SockAddr, peer: SockAddr) -> bool:
    """Whether two socket names mean the same end of a connection.

    Addresses and ports are compared as they are seen from outside: IPv4-mapped IPv6 addresses as IPv4, scope ids only
    for link-local addresses, flow labels never.
    """
    return same_host(local, peer) and bool(local[1] == peer[1] != 0)


def same_host(local: SockAddr, peer: SockAddr) -> bool:
    """Whether two socket names mean the same address: tuples that begin with text, in the IP families only."""
    for name in (local, peer):
        if not (isinstance(name, tuple) and name and isinstance(name[0], str)):
            return False
    return _host(local) == _host(peer)


def _host(name: SockAddr) -> tuple[str, int]:
    """The address, unmapped, and its scope id where the address means nothing without one."""
    address = unmapped(name[0].partition("%")[0].lower())
    # RFC 4291: link-local is fe80::/10.
    scoped = len(name) == 4 and address[:3] in ("fe8", "fe9", "fea", "feb")
    return address, int(name[3]) if scoped else 0


def unmapped(host: str) -> str:
    """An IPv4-mapped IPv6 address, as the kernel writes it, as the IPv4 address that it stands for; others as is."""
    return host[len("::ffff:") :] if host.startswith("::ffff:") and "." in host else host


def written(name: object) -> str:
    """A socket address as people write it: ``127.0.0.1:80``, ``[::1]:80``, ``[fe80::1%2]:80``."""
    if not (isinstance(name, tuple) and len(name) >= 2):
        return str(name)
    host = printable(name[0].decode("latin-1") if isinstance(name[0], (bytes, bytearray)) else str(name[0]))
    if len(name) == 4 and name[3] and "%" not in host:
        host = f"{host}%{name[3]}"
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def printable(text: str) -> str:
    """The text, made harmless where it has to be, for a note."""
    if text.isprintable():
        return text
    with imports.lock:
        from .._text import harmless  # few notes tell of anything that is not

    return harmless(text)
