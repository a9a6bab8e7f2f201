"""How long a peer that has vanished goes unnoticed: arithmetic on what is set, after the kernel's own."""

import math
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Seconds until the first probe, seconds between probes, how many.
    Probes = tuple[int, int, int]

# include/net/tcp.h and net/ipv4/tcp_ipv4.c: TCP_RTO_MIN and the defaults of tcp_retries2 and TCP_RTO_MAX_MS.
_RTO_MIN = 200
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
    probes: "Probes | None", user_timeout: int | None, retries: int = RETRIES, rto_max: int = RTO_MAX
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


def _model_timeout(retries: int, rto_max: int) -> int:
    """The time that so many retransmissions stand for (net/ipv4/tcp_timer.c, tcp_model_timeout), in milliseconds.

    The retransmission timeout doubles, from 200 ms on, until it reaches its maximum. The kernel always counts from
    200 ms here, whatever the connection's own timeout is, and whatever TCP_RTO_MIN_US says.
    """
    doublings = min(retries, (rto_max // _RTO_MIN).bit_length() - 1)
    return ((2 << doublings) - 1) * _RTO_MIN + (retries - doublings) * rto_max
