"""The places where this host listens, and what their ports mean for connects, from the table of TCP sockets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..ports import PortRange, PortSet
    from ..typing import End
    from .tcp_sockets import Owner, TcpSocket


@dataclass(frozen=True, slots=True)
class Listener:
    """An address and port at which this host listens, be it with one socket or, with SO_REUSEPORT, with several.

    :ivar host: the local address; ``"0.0.0.0"`` or ``"::"`` where it is any.
    :ivar port: the local port.
    :ivar owners: the processes that have the sockets, as far as they may be seen, in the order of their ids.
    :ivar sockets: how many sockets listen here.
    :ivar queue: connections that nobody has accepted yet; None where the platform does not tell.
    :ivar backlog: how many may wait so, over all sockets; None where the platform does not tell.
    :ivar ephemeral: whether the port lies in the range from which the kernel takes source ports.
    :ivar reserved: whether the kernel leaves the port out when it chooses one by itself.
    :ivar exposure: the reason of `safeconnect.Exposure`, which says whether a connect can be a self-connect here
        while nobody listens.
    """

    host: str
    port: int
    owners: tuple[Owner, ...]
    sockets: int
    queue: int | None
    backlog: int | None
    ephemeral: bool
    reserved: bool
    exposure: str


def listeners(
    sockets: Iterable[TcpSocket],
    *,
    owners: Mapping[TcpSocket, Sequence[Owner]],
    backlogs: Mapping[int, int],
    ephemeral: PortRange,
    reserved: PortSet,
    exposure: Callable[[str, int], str],
) -> list[Listener]:
    """Return the places where these sockets listen, by port and address.

    :param sockets: of all kinds; those that do not listen are passed over.
    :param owners: the processes of those that listen; a socket that is not in it has none.
    :param backlogs: by inode, as far as they are known.
    :param ephemeral: from where the kernel takes source ports.
    :param reserved: what it leaves out of them.
    :param exposure: what to say of an address and port; asked once for each.
    """
    places: dict[End, list[TcpSocket]] = {}
    for each in sockets:
        if each.listens:
            places.setdefault(each.local, []).append(each)
    return [
        Listener(
            host=host,
            port=port,
            owners=_all_owners(owners.get(each, ()) for each in places[host, port]),
            sockets=len(places[host, port]),
            queue=_sum(each.receive_queue for each in places[host, port]),
            backlog=_sum(backlogs.get(each.inode or 0) for each in places[host, port]),
            ephemeral=port in ephemeral,
            reserved=port in reserved,
            exposure=exposure(host, port),
        )
        for host, port in sorted(places, key=_order)
    ]


def _order(place: End) -> tuple[int, int, int]:
    address = ip_address(place[0])
    return place[1], address.version, int(address)


def _all_owners(found: Iterable[Sequence[Owner]]) -> tuple[Owner, ...]:
    by_pid = {owner.pid: owner for owners in found for owner in owners}
    return tuple(by_pid[pid] for pid in sorted(by_pid))


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
