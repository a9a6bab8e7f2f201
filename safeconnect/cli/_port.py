"""``safeconnect ports N``: whoever has a port, or is connected to it."""

from __future__ import annotations

from .._host import tcp_table
from .._host.tcp_sockets import holdings, named
from .._sockets.endpoint import written
from . import FAILED
from ._console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from .._host.tcp_sockets import Holding, Owner, TcpSocket
    from ._console import Line, Part

    Held = Mapping[TcpSocket, Sequence[Owner]]

_HEADERS = ("state", "local", "remote", "process")


def run(arguments: argparse.Namespace) -> int:
    """List the sockets that have the port as their own, or as their peer's."""
    console = Console()
    port = arguments.port
    try:
        held = tcp_table.owners(sorted(_of_port(port), key=lambda each: _order(each, port)))
    except OSError as error:
        console.messages.line((f"safeconnect: the ports in use cannot be listed: {error.strerror}", "red"))
        return FAILED
    if arguments.json:
        console.data.json({"port": port, "sockets": list(map(_as_dict, held.items())), "exit_status": 0})
    elif held:
        console.data.table(_HEADERS, [_cells(each, owners) for each, owners in held.items()])
    else:
        console.data.line("none")
    for note in _notes(port, held):
        console.messages.line(("note: ", "yellow"), note)
    return 0


def _of_port(port: int) -> Iterator[TcpSocket]:
    return (each for each in tcp_table.sockets() if port in (each.local[1], each.peer and each.peer[1]))


def _order(each: TcpSocket, port: int) -> tuple[object, ...]:
    """Servers first, then the others that have the port, then those that are connected to it."""
    return not each.listens, each.local[1] != port, each.local, each.peer or ("", 0), each.state


def _cells(each: TcpSocket, owners: Sequence[Owner]) -> Line:
    remote = "-" if each.peer is None else written(each.peer)
    cell: Part = (remote, "red") if each.is_self_connected else remote
    return each.state, written(each.local), cell, named(owners) if owners else "-"


def _notes(port: int, held: Held) -> Iterator[str]:
    own = {each: owners for each, owners in held.items() if each.local[1] == port}
    for each in holdings(own):
        if each.is_self_connected:
            yield no_server(each)
    if not own:
        yield (
            f"no socket has port {port} as its own, unless one is bound and neither listens nor is connected: "
            "the system does not list those"
        )


def _as_dict(row: tuple[TcpSocket, Sequence[Owner]]) -> dict[str, object]:
    each, owners = row
    return {
        "state": each.state,
        "local": _end(each.local),
        "remote": _end(each.peer),
        "owners": owners_as_dicts(owners),
    }


def owners_as_dicts(owners: Sequence[Owner]) -> list[dict[str, object]]:
    """Processes as ``--json`` has them."""
    return [{"pid": owner.pid, "name": owner.name} for owner in owners]


def no_server(each: Holding) -> str:
    """The note on a socket that is connected to itself."""
    return f"{each}, which keeps servers from the port; what to do: `safeconnect doctor {written(each.local)}`"


def _end(end: tuple[str, int] | None) -> dict[str, object] | None:
    return None if end is None else {"host": end[0], "port": end[1]}
