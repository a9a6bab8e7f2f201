"""``safeconnect ports``: list the ports in use, or the sockets of one port; or run a command with reserved ports."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import ExitStack
from dataclasses import asdict

from .. import self_connect_exposure
from .._host import tcp_table
from .._host.tcp_rows import ANY_HOST, holdings, listeners, named, source_use
from .._local.binding import reserve_port
from .._sockets import kernel
from .._sockets.endpoint import written
from .._sockets.spare_ports import spare_ports
from ..ports import PortSet
from . import FAILED, replace_with
from ._console import Console, OutputError, percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from .._host.tcp_rows import Holding, Listener, Owner, SourceUse, TcpSocket
    from ._console import Line, Part, Stream

    Ports = tuple[list[int], list[socket.socket]]

_MOST_DESTINATIONS = 10  # --json has all of them
_MOST_OWNERS = 3
# A plain connect looks through one half of the source ports before the other: slow, if those taken are all of it.
_SLOW = 0.5
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - held, not listened on

_LISTENER_HEADERS = ("address", "port", "owner", "ephemeral", "reserved", "exposed", "waiting", "backlog")
_USE_HEADERS = ("from", "to", "source ports", "of", "share", "TIME_WAIT")
_SOCKET_HEADERS = ("state", "local", "remote", "process")
_EXPOSED: dict[str, Part] = {"exposed": ("yes", "red"), "other-parity": ("under pressure", "yellow")}


def run(arguments: argparse.Namespace) -> int:
    """Run the command, or list."""
    console = Console()
    if arguments.command:
        return run_with_ports(arguments, console)
    try:
        notes = _list_all(arguments, console.data) if arguments.port is None else _list_one(arguments, console.data)
    except OutputError:
        raise
    except OSError as error:
        console.messages.line((f"safeconnect: the ports in use cannot be listed: {error.strerror}", "red"))
        return FAILED
    for note in notes:
        console.messages.line(("note: ", "yellow"), note)
    return 0


def _list_all(arguments: argparse.Namespace, data: Stream) -> list[str]:
    """List the listening ports and the busiest destinations; return the notes on them."""
    kernel.source_ports(refresh=True)
    found = tcp_table.sockets()
    rows = listeners(
        found,
        owners=tcp_table.owners(each for each in found if each.listens),
        backlogs=tcp_table.backlogs(),
        ephemeral=kernel.ephemeral_ports(),
        reserved=kernel.reserved_ports(),
        exposure=_exposure,
    )
    uses = source_use(found, kernel.source_ports())
    in_the_way = [each for each in found if each.is_self_connected]
    stuck = holdings(tcp_table.owners(in_the_way)) if in_the_way else []
    if arguments.json:
        data.json(_as_dict(rows, uses, stuck))
    else:
        _print(data, rows, uses)
    return [*_notes(rows, uses), *map(_no_server, stuck)]


def _exposure(host: str, port: int) -> str:
    reason = self_connect_exposure(host, port).reason
    # The table does not say on which link such an address is.
    return "unknown" if host.startswith("fe80:") and reason in ("no-way", "foreign-host") else reason


def _print(data: Stream, rows: Sequence[Listener], uses: Sequence[SourceUse]) -> None:
    reserved = kernel.reserved_ports()
    less = f" less {reserved}" if reserved else ""
    data.line(("listening ports", "bold"), f" (source ports are taken from {kernel.ephemeral_ports()}{less})")
    if rows:
        data.table(_LISTENER_HEADERS, map(_listener_cells, rows), right=(1, 6, 7))
    else:
        data.line("none")
    data.line()
    data.line(("busiest destinations", "bold"))
    if uses:
        data.table(_USE_HEADERS, map(_use_cells, uses[:_MOST_DESTINATIONS]), right=(2, 3, 4, 5))
    else:
        data.line("none")
    if len(uses) > _MOST_DESTINATIONS:
        data.line(f"and {len(uses) - _MOST_DESTINATIONS} more")


def _listener_cells(row: Listener) -> Line:
    owners = [f"{owner.name or '?'} ({owner.pid})" for owner in row.owners[:_MOST_OWNERS]]
    more = f" and {len(row.owners) - _MOST_OWNERS} more" if len(row.owners) > _MOST_OWNERS else ""
    return (
        f"{row.host} x{row.sockets}" if row.sockets > 1 else row.host,
        str(row.port),
        ", ".join(owners) + more or "-",
        "yes" if row.ephemeral else "-",
        "yes" if row.reserved else "-",
        "?" if row.exposure == "unknown" else _EXPOSED.get(row.exposure, "-"),
        "?" if row.queue is None else str(row.queue),
        "?" if row.backlog is None else str(row.backlog),
    )


def _use_cells(use: SourceUse) -> Line:
    share = percent(use.share)
    return (
        use.local,
        written(use.peer),
        str(use.taken),
        str(use.available),
        (share, "yellow") if use.share > _SLOW else share,
        str(use.in_time_wait),
    )


def _notes(rows: Sequence[Listener], uses: Sequence[SourceUse]) -> Iterator[str]:
    hidden = sum(not row.owners for row in rows)
    if hidden:
        yield f"the owners of {_counted(hidden)} may not be seen: {_who_sees()}"
    exposed = [row for row in rows if row.exposure in _EXPOSED]
    if exposed:
        host, port = exposed[0].host, exposed[0].port
        first = written(("" if host in ANY_HOST else host, port))
        yield (
            f"{_counted(len(exposed))} may be chosen as source ports while the server is down, and a connect then meets"
            f" itself: `safeconnect doctor {first}` says what to do"
        )
    for use in uses:
        if use.share > _SLOW:
            yield (
                f"{percent(use.share)} of the source ports toward {written(use.peer)} are taken: a plain connect there"
                " can take 20 to 30 times as long as usual (safeconnect's do not), and at 100 % it fails with"
                " EADDRNOTAVAIL"
            )


def _who_sees() -> str:
    if sys.platform == "linux" and os.geteuid() == 0:
        return "they are in another pid namespace, as of a container or its host"
    return "root sees all of this host's" if sys.platform != "win32" else "an administrator sees all of this host's"


def _counted(number: int) -> str:
    return "1 listening port" if number == 1 else f"{number} listening ports"


def _no_server(each: Holding) -> str:
    return f"{each}, which keeps servers from the port; what to do: `safeconnect doctor {written(each.local)}`"


def _as_dict(rows: Sequence[Listener], uses: Sequence[SourceUse], stuck: Sequence[Holding]) -> dict[str, object]:
    return {
        "ephemeral_ports": str(kernel.ephemeral_ports()),
        "reserved_ports": str(kernel.reserved_ports()),
        "listening": list(map(asdict, rows)),
        "destinations": [
            {
                "local": use.local,
                "host": use.peer[0],
                "port": use.peer[1],
                "source_ports": use.taken,
                "in_time_wait": use.in_time_wait,
                "available": use.available,
                "share": round(use.share, 4),
            }
            for use in uses
        ],
        "self_connected": [
            {**_end(each.local), "state": each.state, "owners": list(map(asdict, each.owners))} for each in stuck
        ],
        "exit_status": 0,
    }


def _list_one(arguments: argparse.Namespace, data: Stream) -> list[str]:
    """List the sockets that have the port, or are connected to it; return the notes on them."""
    port = arguments.port
    found = [each for each in tcp_table.sockets() if port in (each.local[1], each.peer and each.peer[1])]
    # Servers first, then the others that have the port, then those that are connected to it.
    found.sort(key=lambda each: (not each.listens, each.local[1] != port, each.local, each.peer or ("", 0), each.state))
    held = tcp_table.owners(found)
    if arguments.json:
        data.json({"port": port, "sockets": [_socket_as_dict(*row) for row in held.items()], "exit_status": 0})
    elif held:
        data.table(_SOCKET_HEADERS, [_socket_cells(each, owners) for each, owners in held.items()])
    else:
        data.line("none")
    own = {each: owners for each, owners in held.items() if each.local[1] == port}
    if not own:
        unlisted = "one is bound and neither listens nor is connected: the system does not list those"
        return [f"no socket has port {port} as its own, unless {unlisted}"]
    return [_no_server(each) for each in holdings(own) if each.is_self_connected]


def _socket_cells(each: TcpSocket, owners: Sequence[Owner]) -> Line:
    remote = "-" if each.peer is None else written(each.peer)
    return (
        each.state,
        written(each.local),
        (remote, "red") if each.is_self_connected else remote,
        named(owners) if owners else "-",
    )


def _socket_as_dict(each: TcpSocket, owners: Sequence[Owner]) -> dict[str, object]:
    return {
        "state": each.state,
        "local": _end(each.local),
        "remote": None if each.peer is None else _end(each.peer),
        "owners": list(map(asdict, owners)),
    }


def _end(end: tuple[str, int]) -> dict[str, object]:
    return {"host": end[0], "port": end[1]}


# With a command


def run_with_ports(arguments: argparse.Namespace, console: Console) -> int:
    """Run the command with ports that are reserved until it ends; return 1 if they could not be reserved."""
    number = arguments.number or 1
    hosts: Sequence[str] = [arguments.host] if arguments.host is not None else _EVERY_ADDRESS
    # On other platforms than Linux no server can bind to a port that is held.
    is_released = arguments.release or sys.platform != "linux"
    with ExitStack() as held:
        try:
            if arguments.host is None:
                hosts = every_address()
            ports, sockets = (_lent if is_released else _reserved)(held, hosts, number)
        except OSError as error:
            what, where = "a port" if number == 1 else f"{number} ports", ", ".join(hosts)
            why = error.strerror or error
            console.messages.line((f"safeconnect: {what} could not be reserved at {where}: {why}", "red"))
            if error.errno in (errno.EMFILE, errno.ENFILE):
                console.messages.line(
                    "  each port takes a descriptor or two: raise the limit (`ulimit -n`) or ask for fewer"
                )
            return FAILED
        name = arguments.env or "PORT"
        numbered = {f"{name}{place}": str(port) for place, port in enumerate(ports, 1)} if number > 1 else {}
        added = {name: str(ports[0])} | numbered
        if arguments.json:
            console.data.json({"ports": ports, "environment": added, "held": not is_released})
        return replace_with(arguments.command, os.environ | added, console.messages, keep=sockets)


def every_address() -> Sequence[str]:
    """Return the addresses that stand for all, of both families if this host has both.

    :raises OSError: no descriptor or memory is left to find out.
    """
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        if error.errno in kernel.SCARCE:
            raise
        return _EVERY_ADDRESS[:1]
    return _EVERY_ADDRESS


def _reserved(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Return ports that stay bound, and their sockets. A server with SO_REUSEADDR or SO_REUSEPORT can bind to them."""
    found = [held.enter_context(reserve_port(hosts, reuse_port=True)) for _ in range(number)]
    return [each.port for each in found], [sock for each in found for sock in each.sockets]


def _lent(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Return free ports that any server can bind to, and the sockets that have their names.

    The kernel never chooses one of these ports, so only a program that asks for the very number can take it first. On
    Linux no other run gets the same ports at the same time: each port has a name that only one process can have.
    """
    ports: list[int] = []
    names: list[socket.socket] = []
    left = spare_ports()
    while len(ports) < number:
        if not left:
            raise OSError(errno.EADDRINUSE, f"fewer ports are free that the kernel gives to nobody: {len(ports)}")
        with reserve_port(hosts, left) as reservation:
            left -= PortSet([reservation.port])
            named = _named(held, reservation.port)
            if named is not None:
                ports.append(reservation.port)
                names += named
    return ports, names


def _named(held: ExitStack, port: int) -> list[socket.socket] | None:
    """Return the socket that tells other runs that the port is taken; None if another run has it.

    unix(7): abstract names belong to the network namespace. Only Linux has them.
    """
    if sys.platform != "linux":
        return []
    name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    try:
        name.bind(f"\0safeconnect ports {port}")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return [name]
