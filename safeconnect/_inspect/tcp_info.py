"""The kernel's view of a connection as values: `TcpInfo` from its bytes, `DetectionTime` from the socket's options."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from .._lazy import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    # For each field its struct format, its offset, and how many of its units are a second (0: it is not a time).
    Layout = Mapping[str, tuple[str, int, int]]
    # Seconds until the first probe, seconds between probes, how many.
    Probes = tuple[int, int, int]


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


# include/net/tcp.h and net/ipv4/tcp_ipv4.c, in milliseconds: TCP_RTO_MIN, TCP_TIMEOUT_INIT (of a SYN), and the defaults
# of tcp_retries2 and TCP_RTO_MAX_MS.
_RTO_MIN = 200
_FIRST_RTO = 1000
RETRIES = 15
RTO_MAX = 120_000


@dataclass(frozen=True, slots=True)
class DetectionTime:
    """After how many seconds a peer that has vanished is noticed; made by `detection_time`.

    :ivar idle: while nothing is sent; from the last sign of life on. ``math.inf``: never.
    :ivar in_flight: while sent data waits for an answer; from the first retransmission on. None: not known.

    >>> DetectionTime(idle=math.inf, in_flight=924.6).idle > 7 * 24 * 3600
    True
    """

    idle: float
    in_flight: float | None


def predict(
    probes: Probes | None, user_timeout: int | None, retries: int = RETRIES, rto_max: int = RTO_MAX
) -> DetectionTime:
    """From what is set on a socket.

    :param probes: None where keepalive is off.
    :param user_timeout: milliseconds; 0 for not set, None where there is no such option.
    :param retries: ``net.ipv4.tcp_retries2``.
    :param rto_max: milliseconds between retransmissions at most.
    """
    idle = math.inf if probes is None else _idle(*probes, user_timeout or 0)
    if user_timeout is None:
        return DetectionTime(idle, None)
    return DetectionTime(idle, (user_timeout or _model_timeout(retries, rto_max)) / 1000)


def _idle(idle: int, interval: int, count: int, user_timeout: int) -> float:
    """When the probes end (net/ipv4/tcp_timer.c, tcp_keepalive_timer).

    A user timeout takes the place of the count, before the idle time as well as long after it: the first probe that
    finds it over, and is not the very first, ends the connection.
    """
    if user_timeout:
        count = max(1, -((idle * 1000 - user_timeout) // (interval * 1000)))
    return float(idle + interval * count)


def connect_time(retries: int, linear: int = 0, rto_max: int = RTO_MAX) -> float:
    """After how many seconds the kernel gives up a connect that nobody answers.

    The SYN is sent again after 1 s, and that as often as ``linear`` says and once more; each further pause is twice as
    long. The end comes with the first pause that is over when the time has passed which the retries alone stand for
    (net/ipv4/tcp_timer.c, tcp_write_timeout): so a few retries give up before the linear ones are used up. Measured on
    Linux 6.18: 1 retry 3 s, 2 retries 7 s, and with one linear one 8 s.

    :param retries: ``net.ipv4.tcp_syn_retries``.
    :param linear: ``net.ipv4.tcp_syn_linear_timeouts``, Linux 6.5; 4 by default. Before: 0.
    :param rto_max: milliseconds between two SYNs at most.
    """
    least = _model_timeout(retries, rto_max, _FIRST_RTO)
    pause, passed, sent = _FIRST_RTO, _FIRST_RTO, 1
    while passed < least:
        if sent > linear:
            pause = min(pause * 2, rto_max)
        passed += pause
        sent += 1
    return passed / 1000


def _model_timeout(retries: int, rto_max: int, first: int = _RTO_MIN) -> int:
    """The time that so many retransmissions stand for (net/ipv4/tcp_timer.c, tcp_model_timeout), in milliseconds.

    The retransmission timeout doubles, from the first one on, until it reaches its maximum. For data the kernel always
    counts from 200 ms here, whatever the connection's own timeout is, and whatever TCP_RTO_MIN_US says.
    """
    doublings = min(retries, (rto_max // first).bit_length() - 1)
    return ((2 << doublings) - 1) * first + (retries - doublings) * rto_max


publish("safeconnect", DetectionTime, TcpInfo)
