"""Who holds a port or a connection: notes for the errors that say it is taken."""

from collections import Counter

from .._core.endpoint import unmapped, written
from .._core.tcp_sockets import ANY_HOST, named
from . import tcp_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .._core.tcp_sockets import Owner


# A busy server has thousands of connections; a few lines tell enough.
_MOST_NOTES = 5


def tell_port(error: OSError, port: int) -> None:
    """Add notes on who holds a port that could not be bound to."""
    try:
        held = tcp_table.owners(each for each in tcp_table.sockets() if each.local[1] == port)
    except OSError as reason:
        error.add_note(f"who holds port {port}? {reason.strerror}")
        return
    rows = Counter((each.local, named(holders), each.state) for each, holders in held.items())
    for (local, process, state), count in rows.most_common(_MOST_NOTES):
        times = f" ({count} times)" if count > 1 else ""
        error.add_note(f"{written(local)} is held by {process}, {state}{times}")
    if not held:
        error.add_note(f"port {port} is held by a socket that is bound and no more")


def tell_connection(error: OSError, sock: "socket.socket", target: "tuple[Any, ...]") -> None:
    """Add a note on the connection that stands in the way of one from the same address and port to the same target."""
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


def _connections(local: "tuple[Any, ...]", target: "tuple[Any, ...]") -> "dict[tcp_table.TcpSocket, tuple[Owner, ...]]":
    """Those from one end to another, with the processes that have them; none where they cannot be listed."""
    hosts = (unmapped(local[0]), *ANY_HOST)
    peer = (unmapped(target[0]), target[1])
    try:
        found = tcp_table.sockets()
        return tcp_table.owners(
            each for each in found if each.local[1] == local[1] and each.peer == peer and each.local[0] in hosts
        )
    except OSError:
        return {}
