"""The facts about a machine, as values; each unit is in the name. None: this platform does not say.

Nothing here reads anything: `gathering` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

from .._host.tcp_rows import Holding, Owner, SourceUse
from .._inspect.tcp_info import RTO_MAX, connect_time, predict
from .._lazy import publish
from .._lazy import typing as t


@dataclass(frozen=True, slots=True)
class Host:
    """The machine.

    :ivar platform: `sys.platform`.
    :ivar release: the version of the kernel.
    :ivar user_namespaces: whether `safeconnect.testing.exposed_host` and ``dead_peer`` work here; None if that could
        not be tried.
    :ivar no_user_namespaces_because: why they do not, or why it is not known.
    :ivar descriptors: how many sockets and files this process may have open (RLIMIT_NOFILE, soft); None also if there
        is no limit.
    :ivar descriptors_at_most: how far the process may raise that limit (hard).
    :ivar descriptors_free: how many more it can open now.
    :ivar tracked_connections: connections that the packet filter tracks (nf_conntrack_count).
    :ivar tracked_connections_at_most: with more than this, it drops packets (nf_conntrack_max).
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
    """The ports that the kernel chooses source ports from.

    :ivar first: the first port of ``net.ipv4.ip_local_port_range``, which is for IPv6, too.
    :ivar last: the last one.
    :ivar reserved: ``net.ipv4.ip_local_reserved_ports``, as written there: ``"8080,9000-9099"``.
    :ivar usable: the number of ports in the range that are not reserved.
    :ivar preferred_parity: the parity that connect() takes first: that of ``first``. Linux only.
    :ivar per_socket_range: whether the kernel has IP_LOCAL_PORT_RANGE (Linux 6.3, 6.1.32) and keeps to it: it prevents
        self-connects.
    """

    first: int | None = None
    last: int | None = None
    reserved: str | None = None
    usable: int | None = None
    preferred_parity: t.Parity | None = None
    per_socket_range: bool | None = None


@dataclass(frozen=True, slots=True)
class Timers:
    """The kernel's timers, ``net.ipv4.tcp_*``, by their names there. ``..._after_seconds`` follow from the others."""

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

    DERIVED = (  # in the JSON, beside the fields
        "vanished_peer_noticed_after_seconds",
        "unacknowledged_data_given_up_after_seconds",
        "unanswered_connect_given_up_after_seconds",
    )

    @property
    def vanished_peer_noticed_after_seconds(self) -> float | None:
        """For an idle connection with keepalive and the kernel's times. Without keepalive: never."""
        # A sandbox may tell zeros, which are no times (gVisor).
        if not self.keepalive_time_seconds or not self.keepalive_intvl_seconds or not self.keepalive_probes:
            return None
        return predict((self.keepalive_time_seconds, self.keepalive_intvl_seconds, self.keepalive_probes), 0).idle

    @property
    def unacknowledged_data_given_up_after_seconds(self) -> float | None:
        """The shortest time, without TCP_USER_TIMEOUT."""
        return None if self.retries2 is None else predict(None, 0, self.retries2, self._rto_max).in_flight

    @property
    def unanswered_connect_given_up_after_seconds(self) -> float | None:
        """For a connect without a timeout of its own."""
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
    :ivar waiting: the number of connections that it has not accepted yet.
    :ivar backlog: how many may wait; one more does, before connects are lost.
    :ivar processes: the processes that have the socket, as far as this user may see them.
    """

    address: str
    port: int
    waiting: int | None = None
    backlog: int | None = None
    processes: tuple[Owner, ...] = ()

    @property
    def is_full(self) -> bool:
        """True if the next connect will be lost."""
        return self.waiting is not None and self.backlog is not None and self.waiting > self.backlog


@dataclass(frozen=True, slots=True)
class Listening:
    """The settings and counters that concern servers on this machine.

    :ivar somaxconn: ``net.core.somaxconn``, the upper limit of every backlog.
    :ivar max_syn_backlog: ``net.ipv4.tcp_max_syn_backlog``: half-open connections of a listener, without SYN cookies.
    :ivar abort_on_overflow: ``net.ipv4.tcp_abort_on_overflow``: reset connections that find the queue full.
    :ivar syncookies: ``net.ipv4.tcp_syncookies``: 0 off, 1 when needed, 2 always.
    :ivar overflows: how many connects a full accept queue has lost (TcpExt ListenOverflows).
    :ivar drops: how many connects listeners have lost for any reason (TcpExt ListenDrops).
    :ivar listeners: None if the sockets cannot be listed.
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
    :ivar addresses: in the order in which a connect tries them (RFC 6724).
    :ivar failure: ``"unknown"``: there is no such name, or (some resolvers say so) none of this family;
        ``"no-address"``: none of this family; ``"no-answer"``: the name servers do not answer; ``"timed-out"``: the
        resolver did not return in time; ``"failed"``: anything else.
    :ivar error: the resolver's message.
    """

    name: str
    family: t.Family
    seconds: float
    addresses: tuple[str, ...] = ()
    failure: t.Failure | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The addresses of names.

    :ivar ipv6_loopback: whether this host has ``::1``; None if there was no free descriptor to find out.
    :ivar localhost: the lookup of ``localhost``.
    :ivar lookups: those of the target's name, or else of the host's own: A and AAAA apart.
    """

    ipv6_loopback: bool | None = None
    localhost: Lookup | None = None
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """The number of some sockets that a process has; the process is None for those whose process may not be seen."""

    process: Owner | None
    sockets: int


@dataclass(frozen=True, slots=True)
class ClosedFirst:
    """A server that closes connections before its clients do, and how many of its connections are in TIME_WAIT."""

    listener: Listener
    sockets: int


@dataclass(frozen=True, slots=True)
class Table:
    """All TCP sockets of this network namespace.

    :ivar states: the number of sockets in each state.
    :ivar close_wait: the processes with sockets that the peer has closed and they have not.
    :ivar destinations: the source ports taken toward the busiest destinations.
    :ivar closed_first: the servers here with the most connections in TIME_WAIT.
    """

    states: Mapping[str, int]
    close_wait: tuple[Holder, ...] = ()
    destinations: tuple[SourceUse, ...] = ()
    closed_first: tuple[ClosedFirst, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connect to one address of the target.

    :ivar seconds: how long it took.
    :ivar outcome: ``"met-itself"``: the only possible connection was a self-connect, so nobody listens;
        ``"no-source-port"``: all are taken; the others say what they mean.
    :ivar own: whether it is an address of this machine.
    :ivar error: the kernel's message.
    """

    address: str
    port: int
    seconds: float
    outcome: t.Outcome
    own: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Exposed:
    """The risk that a plain connect to the target is a self-connect: see `safeconnect.self_connect_exposure`.

    :ivar reason: why, or why not.
    :ivar prevented: whether safeconnect prevents it.
    :ivar told: all that in a sentence.
    :ivar advice: what to do.
    """

    reason: str
    prevented: bool
    told: str
    advice: tuple[str, ...] = ()

    @property
    def is_exposed(self) -> bool:
        """True if it can."""
        return self.reason in ("exposed", "other-parity")


@dataclass(frozen=True, slots=True)
class Target:
    """The server that the user wants to connect to.

    :ivar timeout_seconds: the timeout of the lookup, and of each attempt.
    :ivar lookup: of both families at once, as a connect does it.
    :ivar attempts: one for each address, in order.
    :ivar untried: how many further addresses there are.
    :ivar listeners: all listeners on this port of this machine, whatever their address; None if they cannot be listed,
        or if the target is another machine.
    :ivar exposed: None for other machines.
    :ivar held: if nobody listens: the sockets that may keep a server from this port of this machine. They are
        self-connected, in TIME_WAIT, or connected from this port. None as for ``listeners``.
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
    """All the facts: the input of the rules.

    :ivar table: None if the sockets cannot be listed; ``no_table_because`` then says why.
    """

    host: Host
    source_ports: SourcePorts
    timers: Timers
    listening: Listening
    names: Names
    table: Table | None = None
    no_table_because: str | None = None
    target: Target | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """Return the facts as JSON has them."""
        return dict(plain(self))


def plain(value: object) -> t.Any:
    """Return a value as JSON has it: objects as their fields and what follows from them, tuples as lists."""
    if is_dataclass(value):
        names = [*(field.name for field in fields(value)), *getattr(value, "DERIVED", ())]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return value


publish("safeconnect.doctor", Snapshot)
