"""``safeconnect ports``."""

from __future__ import annotations

import os
import sys

from .. import self_connect_exposure
from .._host import tcp_table
from .._host.backlogs import backlogs
from .._host.listeners import listeners
from .._host.tcp_sockets import ANY_HOST, holdings, source_use
from .._sockets import kernel
from .._sockets.endpoint import written
from . import FAILED
from ._console import Console, percent
from ._port import no_server, owners_as_dicts
from ._port import run as run_for_one
from ._reserved import run as run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from .._host.listeners import Listener
    from .._host.tcp_sockets import Holding, Owner, SourceUse
    from ._console import Line, Part

    Rows = tuple[Sequence[Listener], Sequence[SourceUse], Sequence[Holding]]

_BUSIEST = 10  # rows; --json has all of them
_MOST_NAMES = 3  # of processes in a cell
# A plain connect looks through one half of the source ports before the other: slow, if those taken are all of it.
_SLOW = 0.5

_LISTENER_HEADERS = ("address", "port", "owner", "ephemeral", "reserved", "exposed", "waiting", "backlog")
_USE_HEADERS = ("from", "to", "source ports", "of", "share", "TIME_WAIT")
_EXPOSURES: dict[str, Part] = {
    "exposed": ("yes", "red"),
    "other-parity": ("under pressure", "yellow"),
    "unknown": "?",
}
_EXPOSED = ("exposed", "other-parity")


def run(arguments: argparse.Namespace) -> int:
    """Run a command with reserved ports, or list the ports in use."""
    console = Console()
    if arguments.command:
        return run_command(arguments, console)
    if arguments.port is not None:
        return run_for_one(arguments)
    try:
        rows = _look()
    except OSError as error:
        console.messages.line((f"safeconnect: the ports in use cannot be listed: {error.strerror}", "red"))
        return FAILED
    if arguments.json:
        console.data.json(_as_dict(*rows))
    else:
        _print(console, *rows[:2])
    _tell(console, *rows)
    return 0


def _look() -> Rows:
    kernel.source_ports(refresh=True)
    found = tcp_table.sockets()
    owners = tcp_table.owners(each for each in found if each.listens)
    rows = listeners(
        found,
        owners=owners,
        backlogs=backlogs(),
        ephemeral=kernel.ephemeral_ports(),
        reserved=kernel.reserved_ports(),
        exposure=_exposure,
    )
    in_the_way = [each for each in found if each.is_self_connected]
    stuck = holdings(tcp_table.owners(in_the_way)) if in_the_way else []
    return rows, source_use(found, kernel.source_ports()), stuck


def _exposure(host: str, port: int) -> str:
    reason = self_connect_exposure(host, port).reason
    # The table does not say on which link such an address is.
    return "unknown" if host.startswith("fe80:") and reason in ("no-way", "foreign-host") else reason


def _print(console: Console, rows: Sequence[Listener], uses: Sequence[SourceUse]) -> None:
    data = console.data
    data.line(
        ("listening ports", "bold"), f" (source ports are taken from {kernel.ephemeral_ports()}{_less_reserved()})"
    )
    if rows:
        data.table(_LISTENER_HEADERS, map(_listener_cells, rows), right=(1, 6, 7))
    else:
        data.line("none")
    data.line()
    data.line(("busiest destinations", "bold"))
    if uses:
        data.table(_USE_HEADERS, map(_use_cells, uses[:_BUSIEST]), right=(2, 3, 4, 5))
    else:
        data.line("none")
    if len(uses) > _BUSIEST:
        data.line(f"and {len(uses) - _BUSIEST} more")


def _less_reserved() -> str:
    reserved = kernel.reserved_ports()
    return f" less {reserved}" if reserved else ""


def _listener_cells(row: Listener) -> Line:
    times = f" x{row.sockets}" if row.sockets > 1 else ""
    return (
        row.host + times,
        str(row.port),
        _names(row.owners),
        _yes(row.ephemeral),
        _yes(row.reserved),
        _EXPOSURES.get(row.exposure, "-"),
        _known(row.queue),
        _known(row.backlog),
    )


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _names(owners: Sequence[Owner]) -> str:
    shown = [f"{owner.name or '?'} ({owner.pid})" for owner in owners[:_MOST_NAMES]]
    more = len(owners) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "-"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "-"


def _use_cells(use: SourceUse) -> Line:
    share = percent(use.share)
    return (
        use.local,
        written(use.peer),
        str(use.taken),
        str(use.available),
        (share, "yellow") if _is_slow(use) else share,
        str(use.in_time_wait),
    )


def _is_slow(use: SourceUse) -> bool:
    return use.share > _SLOW


def _tell(console: Console, rows: Sequence[Listener], uses: Sequence[SourceUse], stuck: Sequence[Holding]) -> None:
    """What is to be known beside the tables."""
    for note in (*_notes(rows, uses), *map(no_server, stuck)):
        console.messages.line(("note: ", "yellow"), note)


def _notes(rows: Sequence[Listener], uses: Sequence[SourceUse]) -> Iterator[str]:
    hidden = sum(not row.owners for row in rows)
    if hidden:
        yield f"the owners of {_counted(hidden, 'listening port')} may not be seen: {_who_sees()}"
    exposed = [row for row in rows if row.exposure in _EXPOSED]
    if exposed:
        host, port = exposed[0].host, exposed[0].port
        first = written(("" if host in ANY_HOST else host, port))
        yield (
            f"{_counted(len(exposed), 'listening port')} may be chosen as source ports while the server is down, and a"
            f" connect then meets itself: `safeconnect doctor {first}` says what to do"
        )
    for use in filter(_is_slow, uses):
        yield (
            f"{percent(use.share)} of the source ports toward {written(use.peer)} are taken: a plain connect there"
            " can take 20 to 30 times as long as usual (safeconnect's do not), and at 100 % it fails with EADDRNOTAVAIL"
        )


def _who_sees() -> str:
    if sys.platform == "linux" and os.geteuid() == 0:
        return "they are in another pid namespace, as of a container or its host"
    return "root sees all of this host's" if sys.platform != "win32" else "an administrator sees all of this host's"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _as_dict(rows: Sequence[Listener], uses: Sequence[SourceUse], stuck: Sequence[Holding]) -> dict[str, object]:
    return {
        "ephemeral_ports": str(kernel.ephemeral_ports()),
        "reserved_ports": str(kernel.reserved_ports()),
        "listening": [
            {
                "host": row.host,
                "port": row.port,
                "owners": owners_as_dicts(row.owners),
                "sockets": row.sockets,
                "queue": row.queue,
                "backlog": row.backlog,
                "ephemeral": row.ephemeral,
                "reserved": row.reserved,
                "exposure": row.exposure,
            }
            for row in rows
        ],
        "destinations": [
            {
                "local": use.local,
                "host": use.peer[0],
                "port": use.peer[1],
                "source_ports": use.taken,
                "time_wait": use.in_time_wait,
                "available": use.available,
                "share": round(use.share, 4),
            }
            for use in uses
        ],
        "self_connected": [
            {"host": each.local[0], "port": each.local[1], "state": each.state, "owners": owners_as_dicts(each.owners)}
            for each in stuck
        ],
        "exit_status": 0,
    }
