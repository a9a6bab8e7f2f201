"""The holders of ports and connections: notes for errors that say that one is taken."""

from __future__ import annotations

import socket

from .._sockets.endpoint import unmapped, written
from ..ports import PortSet
from . import tcp_rows, tcp_table
from .sock_diag import is_own
from .tcp_rows import ANY_HOST, holdings, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..typing import SockAddr
    from .tcp_rows import Holding, Owner, TcpSocket


# A busy server has thousands of connections; a few lines tell enough.
_MOST_NOTES = 5


def tell_port(error: OSError, port: int) -> None:
    """Add notes on who holds a port that could not be bound to."""
    tell_ports(error, PortSet([port]))


def tell_ports(error: BaseException, ports: PortSet) -> None:
    """Add notes on who holds ports that could not be bound to, or connected from."""
    which = f"port {ports}" if len(ports) == 1 else f"ports {ports}"
    try:
        held = tcp_table.owners(each for each in tcp_table.sockets() if each.local[1] in ports)
    except OSError as reason:
        error.add_note(f"who holds {which}? {reason.strerror}")
        return
    found = holdings(held)
    for each in found[:_MOST_NOTES]:
        error.add_note(str(each))
    if len(found) > _MOST_NOTES:
        error.add_note(f"and {sum(each.sockets for each in found[_MOST_NOTES:])} more sockets of {which}")
    # The system lists only sockets that listen or are connected.
    others = ports - PortSet(each.local[1] for each in found)
    if others:
        which = f"port {others} is" if len(others) == 1 else f"{len(others)} of these ports are"
        error.add_note(f"{which} held by a socket that is bound and no more")


def in_the_way(sockaddrs: Iterable[SockAddr]) -> list[Holding]:
    """Return what keeps a server from the port of these addresses of this host, where connects find no server.

    Nothing if the sockets of this host cannot be listed, or the addresses are of other hosts.
    """
    own = {(unmapped(each[0].partition("%")[0]), each[1]) for each in sockaddrs if is_own(each)}
    hosts = {host for host, _ in own}
    try:
        table = tcp_table.sockets() if own else []
        held = tcp_table.owners(
            each for port in {port for _, port in own} for each in tcp_rows.in_the_way(table, hosts, port)
        )
    except OSError:
        return []
    return holdings(held)[:_MOST_NOTES]


def tell_connection(error: OSError, sock: socket.socket, target: tuple[Any, ...]) -> None:
    """Add a note on the connection that exists already from the same address and port to the same target."""
    try:
        local = sock.getsockname()
    except OSError:
        return
    if not local[1]:
        return  # it was bind() that failed, over the address
    text = f"there is a connection from {written(local)} to {written(target)} already, or was a moment ago"
    for each, holders in _connections(local, target).items():
        text += f": of {named(holders)}, {each.state}"
    error.add_note(text)


def _connections(local: tuple[Any, ...], target: tuple[Any, ...]) -> dict[TcpSocket, tuple[Owner, ...]]:
    """Return the connections from one end to another, and their processes; none if they cannot be listed."""
    hosts = (unmapped(local[0]), *ANY_HOST)
    peer = (unmapped(target[0]), target[1])
    try:
        found = tcp_table.sockets()
        return tcp_table.owners(
            each for each in found if each.local[1] == local[1] and each.peer == peer and each.local[0] in hosts
        )
    except OSError:
        return {}
