"""Watch every connect of this process that goes through `socket.socket`: for `self_connecting` and `guard`."""

from __future__ import annotations

import errno
import gc
import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Self
from weakref import WeakSet, ref

from .. import _fork
from .._local.binding import reserve_port
from .._sockets import kernel, port_window
from .._sockets.lifecycle import IP_FAMILIES, is_self_connected
from .._text import harmless
from ._base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


_METHODS = ("connect", "connect_ex")
_guard = _fork.Guard()
# Weak references: where an interrupt prevents a hook's removal, the hook goes with the object that was to remove it.
_hooks: list[ref[Any]] = []
_patched_classes: set[type[socket.socket]] = set()  # classes that may have our methods


def add(hook: SelfConnecting | Guard) -> None:
    """Call a hook around every connect from now on, as long as somebody else refers to it.

    An exception from its ``before`` is raised instead of connecting.
    """
    with _guard.lock:
        _hooks.append(ref(hook, _collected))
        _settle()


def remove(hook: SelfConnecting | Guard) -> None:
    """Stop calling a hook. After the last one `socket.socket` is as it was."""
    with _guard.lock:
        try:
            _hooks[:] = [each for each in _hooks if each() is not hook]
            _settle()
        finally:
            _settle()  # again, in case an interrupt came above


def _collected(_: object) -> None:
    with _guard.lock:
        _settle()


def _settle() -> None:
    """Patch while there is a hook. If an interrupt comes here, the next call completes the work."""
    _hooks[:] = [each for each in _hooks if each() is not None]
    if _hooks:
        kind = socket.socket
        _patched_classes.add(kind)
        for name in _METHODS:
            if not hasattr(vars(kind).get(name), "in_place_of"):
                setattr(kind, name, _hooked(kind, name))
        return
    for kind in _patched_classes.copy():
        _unpatch(kind)
        _patched_classes.discard(kind)


def _unpatch(kind: type[socket.socket]) -> None:
    for name in _METHODS:
        ours: Any = vars(kind).get(name)
        if not hasattr(ours, "in_place_of"):
            continue
        if ours.in_place_of is None:
            delattr(kind, name)  # it was inherited
        else:
            setattr(kind, name, ours.in_place_of)


def _hooked(kind: type[socket.socket], name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(kind, name)

    def connect(sock: socket.socket, address: Any) -> Any:
        __tracebackhide__ = True
        hooks = [hook for each in tuple(_hooks) if (hook := each()) is not None]
        for hook in hooks:
            hook.before(sock, address)
        try:
            return method(sock, address)
        finally:
            for hook in hooks:
                hook.after(sock, address)

    connect.__name__ = connect.__qualname__ = method.__name__
    connect.in_place_of = vars(kind).get(name)  # type: ignore[attr-defined]  # the class's own method; None: inherited
    return connect


class SelfConnecting(Fault):
    """An address where nobody listens and every socket connects to itself. ``meetings`` counts those connects."""

    def __init__(self, address: tuple[Any, ...], family: int) -> None:
        super().__init__(address, family)
        self.meetings: int = 0
        self._counted: WeakSet[socket.socket] = WeakSet()
        self._is_over = False
        add(self)

    def close(self) -> None:
        """Leave connects alone again."""
        if not self._is_over:
            self._is_over = True
            remove(self)

    def before(self, sock: socket.socket, address: Any) -> None:
        """Have a connect to this address use the target's port as its source port."""
        if not self._is_target(address) or sock.getsockname()[1]:
            return  # with a port it is bound, or this is its second call
        if self.port in kernel.source_ports() and kernel.set_option(
            sock, kernel.IP_LOCAL_PORT_RANGE, port_window.packed(self.port, self.port)
        ):
            return
        try:
            sock.bind(self.address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # another self-connected socket is there at this moment
                raise

    def after(self, sock: socket.socket, address: Any) -> None:
        """Count the self-connects, each once: a driver that does not wait calls connect_ex() again."""
        if self._is_target(address) and sock not in self._counted and sock.fileno() >= 0 and is_self_connected(sock):
            self._counted.add(sock)
            self.meetings += 1

    def _is_target(self, address: Any) -> bool:
        return isinstance(address, tuple) and address[:2] == self.address[:2]


def self_connecting(*, host: str = "127.0.0.1", port: int = 0) -> SelfConnecting:
    """An address where nobody listens, and where every connect of this process connects to itself, for certain.

    Otherwise that happens once in about 14,000 tries (see ``docs/self-connect.md``). Here every `socket.socket` of this
    process that connects to the address gets the target's port as its source port: by the per-socket port range where
    the kernel has it (Linux 6.3), else by ``bind``. So asyncio, trio and everything built on `socket.socket` connects
    to itself. uvloop's transports and other processes do not: for these see `exposed_host`.

    :param host: an address of this host.
    :param port: 0, the default, takes any free port.
    :raises OSError: the port is taken, or there is no such address here.

    >>> from safeconnect import reset
    >>> with self_connecting() as fault:
    ...     sock = socket.create_connection(fault.address)
    ...     sock.getsockname() == sock.getpeername()
    ...     reset(sock)
    True
    """
    # A port that is held cannot be a source port, so it is given back at once.
    with reserve_port(host, port) as reserved:
        address, family = reserved.address, reserved.socket.family
    return SelfConnecting(address, family)


_DESCRIPTORS = next((path for path in ("/proc/self/fd", "/dev/fd") if os.path.isdir(path)), None)  # noqa: PTH112


class Guard:
    """A watch over a block of code, made by `guard`. ``findings`` lists what is wrong so far."""

    def __init__(self) -> None:
        self.findings: list[str] = []

    def __repr__(self) -> str:
        return f"<Guard: {'; '.join(map(harmless, self.findings)) or 'nothing found'}>"

    def before(self, sock: socket.socket, address: Any) -> None:
        """Refuse connects that leave this host.

        :raises PermissionError: the address is not a loopback address (EACCES).
        """
        __tracebackhide__ = True  # pytest then shows the line of the test
        if sock.family in IP_FAMILIES and not _is_loopback(address):
            self.findings.append(f"a connect outside loopback, to {address!r}")
            raise PermissionError(errno.EACCES, f"this test may connect to loopback only, not to {address!r}")

    def after(self, sock: socket.socket, address: Any) -> None:
        """Notice a self-connect."""
        try:
            self_connected = sock.family in IP_FAMILIES and is_self_connected(sock)
        except OSError:
            return  # it has been closed meanwhile
        if self_connected:
            self.findings.append(f"a connection to itself, at {address!r}: nobody listens there")

    def check(self) -> None:
        """Make sure that nothing was wrong.

        :raises AssertionError: something was; the message says what.
        """
        __tracebackhide__ = True
        left_open = {number: what for number, what in _descriptors().items() if number not in self._before}
        if left_open:
            gc.collect()  # what this closes was left to the garbage collector, and Python warns of that itself
            remaining = _descriptors()
            left_open = {number: _described(number, what) for number, what in left_open.items() if number in remaining}
        findings = [
            *self.findings,
            *(f"descriptor {number} left open: {harmless(what)}" for number, what in left_open.items()),
        ]
        if findings:
            raise AssertionError("\n".join(findings))

    def __enter__(self) -> Self:
        self._before = _descriptors()
        add(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        __tracebackhide__ = True
        remove(self)
        if kind is None:
            self.check()


def guard() -> Guard:
    """A block that ends with an AssertionError if it did what a test of a client should not do.

    That is: it left a descriptor open (seen on Linux and macOS), connected to itself, or connected outside loopback.
    The last is also refused, with a PermissionError. Connects of uvloop and of other processes are not seen.

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
        except OSError:  # the listing's own descriptor, or not a link (macOS)
            with suppress(OSError):
                os.fstat(int(name))
                found[int(name)] = "open"
    return found


def _described(number: int, what: str) -> str:
    try:
        borrowed = socket.socket(fileno=number)
    except OSError:
        return what
    try:
        return repr(borrowed)
    finally:
        borrowed.detach()
