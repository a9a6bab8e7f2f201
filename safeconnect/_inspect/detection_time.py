"""How long a vanished peer goes unnoticed, computed from the socket's options as the kernel does it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._lazy import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Seconds until the first probe, seconds between probes, how many.
    Probes = tuple[int, int, int]

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


publish("safeconnect", DetectionTime)
