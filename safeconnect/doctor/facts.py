"""The facts about a machine as values, each in the unit that its name says. None: this platform does not tell.

Nothing here reads anything: `gathering` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

from .._host.tcp_sockets import Holding, Owner, SourceUse
from .._inspect.detection_time import RTO_MAX, connect_time, predict
from .._lazy import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from ..typing import Failure, Family, Outcome


__all__ = [
    "Attempt",
    "ClosedFirst",
    "Exposed",
    "Holder",
    "Holding",
    "Host",
    "Listener",
    "Listening",
    "Lookup",
    "Names",
    "Owner",
    "Snapshot",
    "SourcePorts",
    "SourceUse",
    "Table",
    "Target",
    "Timers",
    "plain",
]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine.

    :ivar platform: `sys.platform`.
    :ivar release: of the kernel.
    :ivar user_namespaces: whether `safeconnect.testing.exposed_host` and ``dead_peer`` are to be had; None where that
        could not be tried.
    :ivar no_user_namespaces_because: why not, or why it is not known.
    :ivar descriptors: how many this process may have open, sockets and files (RLIMIT_NOFILE, soft); None also where
        there is no limit.
    :ivar descriptors_at_most: how far it may raise that (hard).
    :ivar descriptors_free: how many of them are still to be had; None where that is not to be seen.
    :ivar tracked_connections: by the packet filter (nf_conntrack_count).
    :ivar tracked_connections_at_most: beyond which it drops packets (nf_conntrack_max).
    """

    platform: str
    release: str
    user_namespaces: bool | None = None
    no_user_namespaces_because: str | None = None
    descriptors: int | None = None
    descriptors_at_most: int | None = None
    descriptors_free: int | None = None
    tracked_connections: int | None = None
    tracked_connections_at_most: int | None = None


@dataclass(frozen=True, slots=True)
class SourcePorts:
    """What the kernel takes source ports from.

    :ivar first: of ``net.ipv4.ip_local_port_range``, which serves IPv6, too.
    :ivar last: of the same.
    :ivar reserved: ``net.ipv4.ip_local_reserved_ports``, as there: ``"8080,9000-9099"``.
    :ivar usable: how many ports that leaves.
    :ivar preferred_parity: of the ports that connect() takes first: that of ``first``. Linux only.
    :ivar per_socket_range: whether there is IP_LOCAL_PORT_RANGE (Linux 6.3), by which self-connects are prevented.
    """

    first: int | None = None
    last: int | None = None
    reserved: str | None = None
    usable: int | None = None
    preferred_parity: Literal["even", "odd"] | None = None
    per_socket_range: bool | None = None


@dataclass(frozen=True, slots=True)
class Timers:
    """The kernel's patience: ``net.ipv4.tcp_*``, by their names there. ``..._after_seconds`` follow from the others."""

    keepalive_time_seconds: int | None = None
    keepalive_intvl_seconds: int | None = None
    keepalive_probes: int | None = None
    retries1: int | None = None
    retries2: int | None = None
    rto_max_seconds: float | None = None
    syn_retries: int | None = None
    syn_linear_timeouts: int | None = None
    synack_retries: int | None = None
    fin_timeout_seconds: int | None = None
    tw_reuse: int | None = None

    DERIVED = (  # goes into the JSON beside the fields
        "vanished_peer_noticed_after_seconds",
        "unacknowledged_data_given_up_after_seconds",
        "unanswered_connect_given_up_after_seconds",
    )

    @property
    def vanished_peer_noticed_after_seconds(self) -> float | None:
        """On an idle connection with keepalive on, and no times of its own. Without keepalive: never."""
        if self.keepalive_time_seconds is None or self.keepalive_intvl_seconds is None or self.keepalive_probes is None:
            return None
        return predict((self.keepalive_time_seconds, self.keepalive_intvl_seconds, self.keepalive_probes), 0).idle

    @property
    def unacknowledged_data_given_up_after_seconds(self) -> float | None:
        """At least; without TCP_USER_TIMEOUT."""
        return None if self.retries2 is None else predict(None, 0, self.retries2, self._rto_max).in_flight

    @property
    def unanswered_connect_given_up_after_seconds(self) -> float | None:
        """Without a timeout of the program's own."""
        if self.syn_retries is None:
            return None
        return connect_time(self.syn_retries, self.syn_linear_timeouts or 0, self._rto_max)

    @property
    def _rto_max(self) -> int:
        return RTO_MAX if self.rto_max_seconds is None else round(self.rto_max_seconds * 1000)


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket.

    :ivar address: where it listens; ``0.0.0.0`` and ``::`` are all addresses.
    :ivar waiting: connections that it has not accepted yet.
    :ivar backlog: how many may wait; one more does, before connects are lost.
    :ivar processes: those that have it, as far as they may be seen.
    """

    address: str
    port: int
    waiting: int | None = None
    backlog: int | None = None
    processes: tuple[Owner, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the next connect will be lost."""
        return self.waiting is not None and self.backlog is not None and self.waiting > self.backlog


@dataclass(frozen=True, slots=True)
class Listening:
    """What servers on this machine depend on.

    :ivar somaxconn: ``net.core.somaxconn``, at which listen() cuts backlogs off.
    :ivar max_syn_backlog: ``net.ipv4.tcp_max_syn_backlog``: half-open connections of a listener, without SYN cookies.
    :ivar abort_on_overflow: ``net.ipv4.tcp_abort_on_overflow``: reset what finds the queue full.
    :ivar syncookies: ``net.ipv4.tcp_syncookies``: 0 off, 1 when needed, 2 always.
    :ivar overflows: how often a full accept queue has lost a connect (TcpExt ListenOverflows).
    :ivar drops: connects lost by listeners for that or any other reason (TcpExt ListenDrops).
    :ivar listeners: None where the sockets cannot be listed.
    :ivar max_tw_buckets: ``net.ipv4.tcp_max_tw_buckets``: how many sockets may be in TIME_WAIT; with more, the kernel
        skips that state.
    """

    somaxconn: int | None = None
    max_syn_backlog: int | None = None
    abort_on_overflow: bool | None = None
    syncookies: int | None = None
    overflows: int | None = None
    drops: int | None = None
    listeners: tuple[Listener, ...] | None = None
    max_tw_buckets: int | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """One lookup of a name.

    :ivar family: ``"IPv4"`` (A), ``"IPv6"`` (AAAA), or ``"both"`` at once.
    :ivar addresses: in the order in which they are to be tried (RFC 6724).
    :ivar failure: ``"unknown"``: there is no such name, or (as some resolvers say) none of this family;
        ``"no-address"``: none of this family; ``"no-answer"``: the name servers do not answer; ``"timed-out"``: the
        resolver did not say anything in time; ``"failed"``: anything else.
    :ivar error: what the resolver says.
    """

    name: str
    family: Family
    seconds: float
    addresses: tuple[str, ...] = ()
    failure: Failure | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """What names stand for.

    :ivar ipv6_loopback: whether this host has ``::1``; None where there was no descriptor to see with.
    :ivar localhost: the lookup of ``localhost``.
    :ivar lookups: of the target's name, or else of the host's own, A and AAAA apart.
    """

    ipv6_loopback: bool | None = None
    localhost: Lookup | None = None
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, and how many of the sockets in question it has; None: those whose process may not be seen."""

    process: Owner | None
    sockets: int


@dataclass(frozen=True, slots=True)
class ClosedFirst:
    """A server that closed connections before its clients did.

    :ivar listener: where it listens.
    :ivar sockets: how many of its connections are in TIME_WAIT: those of the last minute.
    """

    listener: Listener
    sockets: int


@dataclass(frozen=True, slots=True)
class Table:
    """All TCP sockets of this network namespace.

    :ivar states: how many there are in each state.
    :ivar close_wait: whose peer has closed, and who has not.
    :ivar destinations: how many source ports are taken toward the busiest of them.
    :ivar closed_first: the servers here with the most connections that they closed first, which are in TIME_WAIT.
    """

    states: Mapping[str, int]
    close_wait: tuple[Holder, ...] = ()
    destinations: tuple[SourceUse, ...] = ()
    closed_first: tuple[ClosedFirst, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address of the target, tried once.

    :ivar seconds: how long that took.
    :ivar outcome: ``"met-itself"``: the only connection to be had was one to itself, so nobody listens;
        ``"no-source-port"``: all are taken; the others are what they say.
    :ivar own: whether it is an address of this machine.
    :ivar error: what the kernel says.
    """

    address: str
    port: int
    seconds: float
    outcome: Outcome
    own: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Exposed:
    """Whether a plain connect to the target can meet itself: see `safeconnect.self_connect_exposure`.

    :ivar reason: why, or why not.
    :ivar prevented: whether connects by safeconnect cannot.
    :ivar told: all that in a sentence.
    :ivar advice: what to do.
    """

    reason: str
    prevented: bool
    told: str
    advice: tuple[str, ...] = ()

    @property
    def is_exposed(self) -> bool:
        """Whether it can."""
        return self.reason in ("exposed", "other-parity")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the user wants to connect.

    :ivar timeout_seconds: that each address was given.
    :ivar lookup: of both families at once, as a connect does it.
    :ivar attempts: one for each address, in order.
    :ivar untried: how many further addresses there are.
    :ivar listeners: all that listen on this port here, on whatever address; None where they cannot be listed. Only for
        addresses of this machine.
    :ivar exposed: None for addresses of other machines.
    :ivar held: what may keep a server from this port of this machine, where nobody listens: sockets that are connected
        to themselves, or in TIME_WAIT, or connected from this port. None as for ``listeners``.
    """

    host: str
    port: int
    timeout_seconds: float
    lookup: Lookup
    attempts: tuple[Attempt, ...] = ()
    untried: int = 0
    listeners: tuple[Listener, ...] | None = None
    exposed: Exposed | None = None
    held: tuple[Holding, ...] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the rules go by.

    :ivar table: None where the sockets cannot be listed; then ``no_table_because`` says why.
    """

    host: Host
    source_ports: SourcePorts
    timers: Timers
    listening: Listening
    names: Names
    table: Table | None = None
    no_table_because: str | None = None
    target: Target | None = None

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        found: dict[str, Any] = plain(self)
        return found


def plain(value: object) -> Any:
    """A value as JSON has it: objects by their fields and what follows from them, tuples as lists."""
    if is_dataclass(value):
        names = [*(field.name for field in fields(value)), *getattr(value, "DERIVED", ())]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return value


publish("safeconnect.doctor", Snapshot)
