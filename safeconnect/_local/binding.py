"""Reserve a port, and bind a socket with flags that are safe on every platform."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType

from .._checks import check_options
from .._fork import imports
from .._host import holders
from .._host.tcp_rows import ANY_HOST
from .._lazy import publish
from .._lazy import typing as t
from .._sockets import answers, lifecycle, port_window, resolve
from .._sockets.endpoint import unmapped, written
from .._text import harmless
from ..ports import PortSet, port_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..typing import Address, AnyOption, Option

    Place = tuple[int, Address]  # where to bind: the family, and an address whose port is still to be set

Socket = socket.socket  # a property of Reservation has the module's name

# linux/in.h and linux/in6.h; Python's socket module names the first since 3.14, the second not yet.
_TRANSPARENT = {socket.AF_INET: (0, 19), socket.AF_INET6: (41, 75)}
_BUSY = (errno.EADDRINUSE, errno.EACCES)  # EACCES: Windows, for a port that is held exclusively
# How many ports to try that are free at one host and taken at the next, before it is an error.
_COMMON_TRIES = 100


class Reservation:
    """A port that the kernel gives to nobody else; made by `reserve_port`, released at the end of the ``with`` block.

    :ivar sockets: the bound sockets, one for each address.
    :ivar addresses: their addresses, as `socket.socket.getsockname` gives them.

    >>> with reserve_port() as reserved:
    ...     reserved.address == ("127.0.0.1", int(reserved))
    True
    """

    __slots__ = ("addresses", "sockets")

    def __init__(self, sockets: Iterable[socket.socket], addresses: Iterable[t.Address]) -> None:
        self.sockets: tuple[socket.socket, ...] = tuple(sockets)
        self.addresses: tuple[t.Address, ...] = tuple(addresses)

    @property
    def socket(self) -> Socket:
        """The bound socket; of several, the first host's."""
        return self.sockets[0]

    @property
    def address(self) -> tuple[t.Any, ...]:
        """The address that is reserved; of several, the first host's."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        """The number of the port."""
        return int(self.address[1])

    def __int__(self) -> int:
        return self.port

    def fileno(self) -> int:
        """The descriptor of `socket`, for ``subprocess.Popen(pass_fds=...)``: the child holds the port, too."""
        return self.socket.fileno()

    def listen(self, backlog: int = 128) -> Socket:
        """Turn the reserved sockets into listeners, without a moment in which the port is free.

        Hand what is returned to `asyncio.start_server` and the like. It is still closed at the end of the block;
        closing it before does no harm.

        :param backlog: connections that may wait to be accepted, as for `socket.socket.listen`.
        :returns: `socket`.
        :raises OSError: the reservation was released; or the kernel's own, EADDRINUSE where a server has been started
            on the port meanwhile.
        """
        for sock, address in zip(self.sockets, self.addresses, strict=True):
            try:
                sock.listen(backlog)
            except OSError as error:
                released = "" if sock.fileno() >= 0 else ": the reservation was released"
                error.add_note(f"while listening on {written(address)}{released}")
                raise
        return self.socket

    def release(self) -> None:
        """Release the port. Releasing it again changes nothing."""
        for sock in self.sockets:
            sock.close()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "released" if self.fileno() < 0 else "held"
        return f"<Reservation of {', '.join(f'{host}:{port}' for host, port, *_ in self.addresses)}, {state}>"


def reserve_port(
    host: t.Host = "127.0.0.1",
    port: int | t.Ports = 0,
    *,
    family: int = 0,
    reuse_port: bool = False,
) -> Reservation:
    """Reserve a port: hold it by a bound socket that does not listen.

    While it is held, the kernel gives the port to nobody, neither as a source port nor to a server that asks for any
    port, and connects to it are refused at once. On Linux a server that sets SO_REUSEADDR, as `socket.create_server`,
    `asyncio.start_server` and `http.server` do, can bind to it and listen: hand it the number, and release the port
    when it listens or whenever you like. Elsewhere, hand over `Reservation.listen`, or release the port first.

    :param host: the address to bind to; ``"0.0.0.0"`` or ``"::"`` for all. A name stands for its first address. With
        several hosts, such as ``["127.0.0.1", "::1"]``, the same port is reserved at each, once where some of them
        stand for one address.
    :param port: the number; 0 lets the kernel choose. Or ports to choose from, in random order: a `PortRange`, a
        `PortSet` or text such as ``"8000-8099"``.
    :param family: `socket.AF_INET` or `socket.AF_INET6` to have a name's address of that family.
    :param reuse_port: set SO_REUSEPORT, for servers that share the port among processes and set it as well.
    :raises OSError: EADDRINUSE: the port is taken, or all of them are; a note says by whom, as far as that may be
        seen (elsewhere than on Linux with psutil). `socket.gaierror`: there is no such host. Anything else that bind(2)
        says.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a port that is not 0-65535, an empty set of ports; SO_REUSEPORT where there is none.

    >>> with reserve_port() as reserved:
    ...     with socket.create_server(reserved.address) as server:
    ...         server.getsockname()[1] == reserved.port
    True
    """
    hosts: list[Any] = list(host) if isinstance(host, (list, tuple)) else [host]
    if not hosts or not all(isinstance(each, str) for each in hosts):
        raise TypeError(f"host must be a str or several of them, not {host!r}")
    places = _distinct([_place(each, family) for each in hosts])
    if reuse_port:
        _check_reuse_port()
    ports = None if port == 0 else port_set("port", port)
    return _reserve(places, ports, reuse_port)


def _place(host: str, family: int) -> Place:
    resolve.check_host(host)
    try:
        found = answers.usable(socket.getaddrinfo(host or None, 0, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except OSError as error:
        error.add_note(f"while looking up host {host!r}")
        raise
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, f"the resolver has no address for {host!r}")
    own_family, _, _, _, address = found[0]
    plain = unmapped(address[0])
    if family != socket.AF_INET6 and plain != address[0]:
        # Our IPv6 sockets take no IPv4 (_set_flags), so such an address stands for the IPv4 one in it.
        return socket.AF_INET, (plain, address[1])
    return own_family, address


def _distinct(places: Sequence[Place]) -> list[Place]:
    """Return each place once. If all addresses of a family are wanted, others of it would conflict: leave them out."""
    whole = {family for family, address in places if address[0] in ANY_HOST}
    found = (place for place in places if place[0] not in whole or place[1][0] in ANY_HOST)
    return list(dict.fromkeys(found))


def _reserve(places: list[Place], ports: PortSet | None, reuse_port: bool) -> Reservation:
    only = _only(ports)
    error: OSError | None = None
    tried = 0
    for port in ports.shuffled(port_window.draw) if ports is not None else [0] * _COMMON_TRIES:
        tried += 1
        try:
            return _hold(places, port, reuse_port)
        except OSError as busy:
            if busy.errno not in _BUSY or (busy.errno == errno.EACCES and only and sys.platform != "win32"):
                raise
            error = busy
    try:
        raise _all_taken(places, ports, tried, error) from None  # it would say the same
    finally:
        del error  # its traceback holds this frame: a cycle


def _all_taken(places: list[Place], ports: PortSet | None, tried: int, error: OSError | None) -> OSError:
    only = _only(ports)
    hosts = " or ".join(str(place[1][0]) for place in places)
    if only is not None:
        text = f"port {only} of {hosts} is taken"
    elif ports is not None:
        text = f"all {tried} ports of {ports} are taken at {hosts}, or may not be used"
    else:
        text = f"no port is free at {hosts}"
    failure = OSError(errno.EADDRINUSE if error is None else error.errno, text)
    if only is not None:
        holders.tell_port(failure, only)
    return failure


def _only(ports: PortSet | None) -> int | None:
    return ports.nth(0) if ports is not None and len(ports) == 1 else None


def _hold(places: list[Place], port: int, reuse_port: bool) -> Reservation:
    """Bind to one port at every place; if it is 0, to the port that the first place gets."""
    held: list[socket.socket] = []
    addresses = []
    try:
        for family, address in places:
            sock = socket.socket(family, socket.SOCK_STREAM)
            held.append(sock)
            _set_flags(sock, reuse_address=False, reuse_port=False)
            sock.bind((address[0], port, *address[2:]))
            addresses.append(sock.getsockname())
            port = addresses[-1][1]
            if sys.platform == "linux":
                # After bind(): if it were set before, another reservation could bind to the same port. From now on a
                # server that sets it, too, can bind, because this socket does not listen (inet_bind_conflict).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                _share_port(sock)  # after bind(), too
    except BaseException as error:
        for sock in held:
            sock.close()
        if isinstance(error, OSError):
            error.add_note(f"while binding to {places[len(addresses)][1][0]}, port {port}")
        raise
    return Reservation(held, addresses)


def bind_socket(
    address: t.Address,
    *,
    ports: t.Ports | None = None,
    reuse_address: bool | None = None,
    reuse_port: bool = False,
    device: str | None = None,
    transparent: bool = False,
    options: Iterable[t.AnyOption] = (),
) -> socket.socket:
    """Open a TCP socket and bind it: options first, then the flags, then bind(2).

    :param address: ``(host, port)``, or the four parts of an IPv6 address; the host a literal or a name, whose first
        address counts. Port 0 lets the kernel choose.
    :param ports: ports to choose from, in random order; the port of ``address`` is 0 then.
    :param reuse_address: bind although old connections of the port are in TIME_WAIT: SO_REUSEADDR. Left out, it is set
        for a given port, everywhere but on Windows. (On Linux other sockets that set it and do not listen may be bound
        to the port as well.) There it would let anybody take the port over, so SO_EXCLUSIVEADDRUSE is set instead,
        whatever is said here.
    :param reuse_port: share the port with other sockets of this user that set it, too (SO_REUSEPORT, Linux 3.9).
    :param device: the name of a network interface, and of nothing else to use (SO_BINDTODEVICE, Linux).
    :param transparent: allow addresses that are not this host's (IP_TRANSPARENT, Linux; CAP_NET_ADMIN).
    :param options: ``(level, name, value)`` tuples, or values such as `NoDelay`.
    :returns: the bound socket, which neither listens nor is connected.
    :raises OSError: EADDRINUSE: the port is taken, or all of them are; a note says by whom, as far as that may be
        seen (elsewhere than on Linux with psutil). EADDRNOTAVAIL: the address is not this host's. EPERM: a flag needs
        privileges.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a port that is not 0-65535; ``ports`` beside a port; SO_REUSEPORT where there is none.

    >>> with bind_socket(("127.0.0.1", 0)) as sock:
    ...     sock.getsockname()[0]
    '127.0.0.1'
    """
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise TypeError(f"address must be (host, port) or (host, port, flowinfo, scope_id), not {address!r}")
    host, port, *tail = address if len(address) == 2 else (*address[:2], *resolve.with_scope(address)[2])
    if ports is not None and port:
        raise ValueError(f"give either ports or a port in address: it has {port}")
    wanted = PortSet([port]) if ports is None else port_set("ports", ports)
    if reuse_port:
        _check_reuse_port()
    checked = check_options(options)
    family, place = _place(host, 0)
    # The flow label and scope of the caller; a 0 leaves the zone in the text of the host.
    own = [given or found for given, found in zip(tail, place[2:], strict=False)] if tail else place[2:]
    all_options = [*checked, *_flags_as_options(family, device, transparent)]
    reuses = bool(port) if reuse_address is None else reuse_address
    failure: OSError | None = None
    for each in [0] if not port and ports is None else wanted.shuffled(port_window.draw):
        try:
            return _bound(family, (place[0], each, *own), all_options, reuses, reuse_port)
        except OSError as error:
            failure = error
            if error.errno not in _BUSY or ports is None:
                break
    try:
        raise _explained(failure, host, wanted)
    finally:
        del failure  # its traceback holds this frame: a cycle


def _bound(
    family: int, address: tuple[Any, ...], options: Sequence[AnyOption], reuse_address: bool, reuse_port: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        lifecycle.set_options(sock, options)
        _set_flags(sock, reuse_address=reuse_address, reuse_port=reuse_port)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _explained(failure: OSError | None, host: str, ports: PortSet) -> OSError:
    host = harmless(str(host))
    if failure is None or (failure.errno == errno.EADDRINUSE and len(ports) != 1):
        return OSError(errno.EADDRINUSE, f"all {len(ports)} ports of {ports} are taken at {host}")
    if failure.errno == errno.EADDRINUSE:
        holders.tell_port(failure, ports.nth(0))
    failure.add_note(f"while binding to {host}, port {ports}")
    return failure


def _flags_as_options(family: int, device: str | None, transparent: bool) -> Iterator[AnyOption]:
    if device is not None:
        with imports.lock:
            from ..options import BindToDevice

        yield BindToDevice(device)
    if transparent:
        if sys.platform != "linux":
            raise ValueError("transparent needs Linux's IP_TRANSPARENT")
        level, name = _TRANSPARENT[socket.AddressFamily(family)]
        option: Option = (level, name, 1)
        yield option


def _set_flags(sock: socket.socket, *, reuse_address: bool, reuse_port: bool) -> None:
    """Set the flags for the use of an address, in the meaning that is safe on this platform."""
    if sys.platform == "win32":
        # SO_REUSEADDR would let any program bind to the port of another, and this one refuses it even to those that set
        # SO_REUSEADDR (Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE, Windows Sockets 2).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    elif reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        _share_port(sock)
    if sock.family == socket.AF_INET6:
        # "::" stands for IPv6 alone, so that "0.0.0.0" can be bound as well.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _share_port(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT"), 1)  # noqa: B009 - typed for Windows, too


def _check_reuse_port() -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port: this platform has no SO_REUSEPORT")


publish("safeconnect", Reservation)
