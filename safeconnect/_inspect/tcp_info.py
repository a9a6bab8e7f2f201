"""TCP's own view of a connection: from the bytes that the kernel gives to a `TcpInfo`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .._lazy import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    # For each field its struct format, its offset, and how many of its units are a second (0: it is not a time).
    Layout = Mapping[str, tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The kernel's view of a connection; made by `tcp_info`. Times are in seconds.

    A value that this kernel does not tell, or does not know yet, is None. A listening socket has nothing but a state.

    :ivar state: the name in RFC 9293, section 3.3.2, with underscores: ``"ESTABLISHED"``, ``"FIN_WAIT_1"``,
        ``"CLOSE_WAIT"``, ... ``"CLOSED"`` before a connect as well as after a reset. TIME_WAIT never shows on Linux:
        the kernel keeps no socket for it, so that one is CLOSED, too.
    :ivar rtt: the smoothed round-trip time.
    :ivar rtt_variation: how much it varies.
    :ivar min_rtt: the shortest of the last 5 minutes. Linux 4.6.
    :ivar rto: the retransmission timeout; each retransmission without an answer doubles it. macOS: None while nothing
        is under way.
    :ivar retransmits: how often what is unanswered now has been sent again for want of an answer. Linux only.
    :ivar total_retransmits: segments sent again since the beginning.
    :ivar unacknowledged: segments under way. Linux only.
    :ivar last_sent: how long ago data was sent, or the connection made if none was. Linux only.
    :ivar last_received: how long ago data came, or the connection was made if none came. Linux only.
    :ivar bytes_received: data that came, whether read or not; the peer's FIN counts as one more. Linux 4.1.
    :ivar bytes_acknowledged: data whose arrival the peer has confirmed; this side's SYN, where it is the one that
        connected, and its FIN count as one more each. Linux 4.1 only.
    :ivar unsent: bytes written that have not been sent yet, for the peer or the network is slow. Linux 4.6 only.

    >>> TcpInfo("ESTABLISHED", rtt=0.02).rto is None
    True
    """

    state: str
    rtt: float | None = None
    rtt_variation: float | None = None
    min_rtt: float | None = None
    rto: float | None = None
    retransmits: int | None = None
    total_retransmits: int | None = None
    unacknowledged: int | None = None
    last_sent: float | None = None
    last_received: float | None = None
    bytes_received: int | None = None
    bytes_acknowledged: int | None = None
    unsent: int | None = None


# include/net/tcp_states.h. The last is a connection that has not left the listener yet.
_LINUX_STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECEIVED",
    4: "FIN_WAIT_1",
    5: "FIN_WAIT_2",
    6: "TIME_WAIT",
    7: "CLOSED",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECEIVED",
}

# bsd/netinet/tcp_fsm.h
_MACOS_STATES = {
    0: "CLOSED",
    1: "LISTEN",
    2: "SYN_SENT",
    3: "SYN_RECEIVED",
    4: "ESTABLISHED",
    5: "CLOSE_WAIT",
    6: "FIN_WAIT_1",
    7: "CLOSING",
    8: "LAST_ACK",
    9: "FIN_WAIT_2",
    10: "TIME_WAIT",
}

# include/uapi/linux/tcp.h, struct tcp_info: it has only ever grown at its end.
_LINUX: Layout = {
    "retransmits": ("=B", 2, 0),
    "rto": ("=I", 8, 1_000_000),
    "unacknowledged": ("=I", 24, 0),
    "last_sent": ("=I", 44, 1_000),
    "last_received": ("=I", 52, 1_000),
    "rtt": ("=I", 68, 1_000_000),
    "rtt_variation": ("=I", 72, 1_000_000),
    "total_retransmits": ("=I", 100, 0),
    "bytes_acknowledged": ("=Q", 120, 0),
    "bytes_received": ("=Q", 128, 0),
    "unsent": ("=I", 144, 0),
    "min_rtt": ("=I", 148, 1_000_000),
}

# bsd/netinet/tcp.h, struct tcp_connection_info
_MACOS: Layout = {
    "rto": ("=I", 12, 1_000),
    "rtt": ("=I", 44, 1_000),
    "rtt_variation": ("=I", 48, 1_000),
    "bytes_received": ("=Q", 88, 0),
    "total_retransmits": ("=Q", 104, 0),
}

# ~0 stands for a minimum of nothing (include/linux/win_minmax.h).
_NO_MINIMUM = 0xFFFFFFFF / 1_000_000

# The states in which a socket without a round-trip time has never been connected.
_UNCONNECTED = ("SYN_SENT", "SYN_RECEIVED", "CLOSED")


def linux(raw: bytes) -> TcpInfo:
    """From Linux's ``struct tcp_info``, of any length.

    :raises ValueError: there is not even a state in it.
    """
    state = linux_state(raw)
    if state == "LISTEN":
        return TcpInfo(state)  # the rest is zero, or something else (net/ipv4/tcp.c, tcp_get_info)
    fields = _read(raw, _LINUX)
    if fields.get("min_rtt") == _NO_MINIMUM:
        del fields["min_rtt"]
    if fields.get("rtt") == 0:
        # No round trip measured yet, and the variation is a first guess. Before a connect the times count from the
        # start of the machine, and what is unsent is the difference of numbers that mean nothing.
        unknown = ["rtt", "rtt_variation"]
        if state in _UNCONNECTED:
            unknown += ["last_sent", "last_received", "unsent"]
        for name in unknown:
            fields.pop(name, None)
    return TcpInfo(state, **fields)


def macos(raw: bytes) -> TcpInfo:
    """From macOS's ``struct tcp_connection_info``, of any length.

    :raises ValueError: there is not even a state in it.
    """
    state = macos_state(raw)
    if state in ("CLOSED", "LISTEN"):
        return TcpInfo(state)  # nothing else is filled in (bsd/netinet/tcp_usrreq.c, tcp_connection_fill_info)
    fields = _read(raw, _MACOS)
    if fields.get("rto") == 0:
        del fields["rto"]  # its timer is not running
    return TcpInfo(state, **fields)


def linux_state(raw: bytes) -> str:
    """Return only the state, for which one byte is enough."""
    return _state(raw, _LINUX_STATES)


def macos_state(raw: bytes) -> str:
    """Return only the state, for which one byte is enough."""
    return _state(raw, _MACOS_STATES)


def _state(raw: bytes, names: Mapping[int, str]) -> str:
    if not raw:
        raise ValueError("the kernel told nothing about the connection")
    return names.get(raw[0], f"UNKNOWN ({raw[0]})")


def _read(raw: bytes, layout: Layout) -> dict[str, Any]:
    """Return the fields that lie wholly within the bytes."""
    fields: dict[str, Any] = {}
    for name, (kind, offset, per_second) in layout.items():
        if offset + struct.calcsize(kind) <= len(raw):
            (number,) = struct.unpack_from(kind, raw, offset)
            fields[name] = number / per_second if per_second else number
    return fields


publish("safeconnect", TcpInfo)
