"""Who holds a port or a connection: notes for the errors that say it is taken. psutil knows, where it is installed."""

from collections import Counter

from .._core.endpoint import written

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any

    # Local end, peer, process (None: it may not be seen), state.
    Connection = tuple[tuple[Any, ...], tuple[Any, ...], int | None, str]


# A busy server has thousands of connections; a few lines tell enough.
_MOST_NOTES = 5


def tell_port(error: OSError, port: int) -> None:
    """Add notes on who holds a port that could not be bound to."""
    found = _connections()
    if found is None:
        error.add_note(f"who holds port {port}? With psutil installed this note tells; `ss -tanp sport = :{port}` does")
        return
    held = Counter((each[0], each[2], each[3]) for each in found if each[0] and each[0][1] == port)
    for (local, pid, state), count in held.most_common(_MOST_NOTES):
        times = f" ({count} times)" if count > 1 else ""
        error.add_note(f"{written(local)} is held by {_process(pid)}, {state}{times}")
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
    for own, peer, pid, state in _connections() or ():
        if own[1:2] == local[1:2] and peer[:2] == target[:2] and own[0] in (local[0], "0.0.0.0", "::"):  # noqa: S104
            text += f": of {_process(pid)}, {state}"
    error.add_note(text)


def _connections() -> "Iterable[Connection] | None":
    """Every TCP socket that is connected or listens; None without psutil, or where it may not look."""
    try:
        import psutil
    except ImportError:
        return None
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    return [(tuple(each.laddr), tuple(each.raddr), each.pid, each.status) for each in found]


def _process(pid: int | None) -> str:
    if pid is None:
        return "a process that is gone or may not be seen"
    import psutil

    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
