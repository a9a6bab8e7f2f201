"""`guard`: a block that must leave no descriptor, meet no connection to itself, and stay on loopback."""

from __future__ import annotations

import errno
import gc
import os
import socket
from ipaddress import ip_address

from .._sockets.sockets import is_self_connected
from .._text import harmless
from . import _connects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_DESCRIPTORS = next((path for path in ("/proc/self/fd", "/dev/fd") if os.path.isdir(path)), None)  # noqa: PTH112


class Guard:
    """Watches a block of code, by `guard`; ``findings`` are what is wrong so far."""

    def __init__(self) -> None:
        self.findings: list[str] = []

    def before(self, sock: socket.socket, address: Any) -> None:
        """Refuse what leaves this host.

        :raises PermissionError: the address is not one of loopback (EACCES).
        """
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address):
            self.findings.append(f"a connect outside loopback, to {address!r}")
            raise PermissionError(errno.EACCES, f"this test may connect to loopback only, not to {address!r}")

    def after(self, sock: socket.socket, address: Any) -> None:
        """Look whether it has met itself."""
        try:
            meets_itself = sock.family in (socket.AF_INET, socket.AF_INET6) and is_self_connected(sock)
        except OSError:
            return  # it has been closed meanwhile
        if meets_itself:
            self.findings.append(f"a connection to itself, at {address!r}: nobody listens there")

    def check(self) -> None:
        """Make sure that nothing was wrong.

        :raises AssertionError: something was; the message says what.
        """
        left = {number: what for number, what in _descriptors().items() if number not in self._before}
        if left:
            gc.collect()  # what is closed only now was left to the garbage collector, and is told by its warning
            left = {number: _described(number, what) for number, what in left.items() if number in _descriptors()}
        findings = [
            *self.findings,
            *(f"descriptor {number} left open: {harmless(what)}" for number, what in left.items()),
        ]
        if findings:
            raise AssertionError("\n".join(findings))

    def __enter__(self) -> Self:
        self._before = _descriptors()
        _connects.add(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        _connects.remove(self)
        if kind is None:
            self.check()


def guard() -> Guard:
    """A block that fails, with an AssertionError at its end, where it did what a test of a client should not do.

    That is: a descriptor left open (Linux and macOS), a connection to itself, a connect outside loopback; the last is
    refused as well, with a PermissionError. Sockets of uvloop's and of other processes are not seen connecting.

    >>> with guard():
    ...     socket.create_connection(("192.0.2.1", 80))
    Traceback (most recent call last):
    PermissionError: [Errno 13] this test may connect to loopback only, not to ('192.0.2.1', 80)
    """
    return Guard()


def _is_loopback(address: Any) -> bool:
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        ip = ip_address(str(host).partition("%")[0])
    except ValueError:
        return host in {"", "localhost"}
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback or ip.is_unspecified  # connect() takes 0.0.0.0 for loopback


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir(_DESCRIPTORS) if _DESCRIPTORS else ():  # noqa: PTH208 - pathlib would keep it open
        try:
            found[int(name)] = os.readlink(f"{_DESCRIPTORS}/{name}")  # noqa: PTH115
        except OSError:  # the one that the listing itself used, or not a link (macOS)
            if _is_open(int(name)):
                found[int(name)] = "open"
    return found


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _described(number: int, what: str) -> str:
    try:
        borrowed = socket.socket(fileno=number)
    except OSError:
        return what
    try:
        return repr(borrowed)
    finally:
        borrowed.detach()
