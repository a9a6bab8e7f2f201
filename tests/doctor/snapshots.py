"""Snapshots as data: a machine where all is well, and changes of it."""

from dataclasses import replace

from safeconnect.doctor.facts import (
    Attempt,
    Host,
    Listener,
    Listening,
    Lookup,
    Names,
    Owner,
    Snapshot,
    SourcePorts,
    SourceUse,
    Table,
    Target,
    Timers,
)

HEALTHY = Snapshot(
    host=Host(
        platform="linux",
        release="6.18",
        user_namespaces=True,
        descriptors=20000,
        descriptors_at_most=20000,
        descriptors_free=19000,
        tracked_connections=10,
        tracked_connections_at_most=262144,
    ),
    source_ports=SourcePorts(32768, 60999, "", 28232, "even", per_socket_range=True),
    timers=Timers(300, 15, 4, 3, 8, 120.0, 3, 4, 5, 60, 2),
    listening=Listening(
        4096, 2048, abort_on_overflow=False, syncookies=1, overflows=0, drops=0, listeners=(), max_tw_buckets=65536
    ),
    names=Names(
        ipv6_loopback=True,
        localhost=Lookup("localhost", "both", 0.0001, ("::1", "127.0.0.1")),
        lookups=(
            Lookup("here", "IPv4", 0.0001, ("127.0.1.1",)),
            Lookup("here", "IPv6", 0.0001, (), "no-address", "No address associated with hostname"),
        ),
    ),
    table=Table({"ESTABLISHED": 3, "LISTEN": 1}),
)

SERVER = Listener("127.0.0.1", 8080, 0, 128, (Owner(7, "python"),))
FULL = replace(SERVER, waiting=129)


def change(**parts):
    """HEALTHY with other values: ``host={"descriptors": 5}``; a part that is no dict is taken as it is."""
    made = {}
    for name, values in parts.items():
        made[name] = replace(getattr(HEALTHY, name), **values) if isinstance(values, dict) else values
    return replace(HEALTHY, **made)


def busy(taken, *, in_time_wait=0, available=28232, peer="192.0.2.1", **parts):
    use = SourceUse("192.0.2.9", (peer, 80), taken, in_time_wait, available)
    return change(table=Table({}, (), (use,)), **parts)


def attempt(outcome, address="192.0.2.1", seconds=0.001, *, own=False):
    error = None if outcome == "connected" else f"the kernel says {outcome}"
    return Attempt(address, 80, seconds, outcome, own, error)


def target(*attempts, listeners=None, exposed=None, lookup=None, held=None):
    found = lookup or Lookup("db", "both", 0.001, tuple(each.address for each in attempts))
    return change(target=Target("db", 80, 3.0, found, attempts, 0, listeners, exposed, held))
