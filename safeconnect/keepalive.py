"""Noticing a peer that has gone: `KeepAlive` while nothing is sent, `UserTimeout` while sent data waits.

Pure, as `safeconnect.socket_options`, which has the other options as values.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from ._checks import MAX_COUNT, MAX_SECONDS, MAX_TIMEOUT, check_int, check_seconds, milliseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Setting


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Probe a connection on which nothing arrives, and give it up when the peer does not answer.

    Without it a peer that vanished (power cut, cable, a firewall that forgot) is never noticed while nothing is sent.
    A vanished peer is noticed ``idle + interval * count`` seconds after its last sign of life. While sent data waits
    for an answer no probes are sent: that case is `UserTimeout`'s, or let `detecting` set both.

    Off unless set; where another program sets only the switch, Linux waits 7200 s, then probes 9 times every 75 s.

    :param idle: seconds of silence before the first probe, 1 to 32767.
    :param interval: seconds between probes, 1 to 32767.
    :param count: probes without an answer until the connection is given up, 1 to 127.
    :param user_timeout: `UserTimeout`'s seconds, set as well where the platform has it and left out where not. On Linux
        it also takes the place of ``count``.
    :raises TypeError: an argument is no int.
    :raises ValueError: an argument is out of range.

    Sets SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT (tcp(7), Linux 2.4). macOS has them, with TCP_KEEPALIVE
    for the idle time; Windows has them since Windows 10, version 1709.

    >>> KeepAlive(idle=30, interval=10, count=3).settings("AF_INET")[1]
    ('IPPROTO_TCP', 'TCP_KEEPIDLE', 30)
    """

    idle: int
    interval: int
    count: int
    _: KW_ONLY
    user_timeout: float | None = None

    best_effort: ClassVar[frozenset[str]] = frozenset({"TCP_USER_TIMEOUT"})

    def __post_init__(self) -> None:
        check_int("idle", self.idle, 1, MAX_SECONDS)
        check_int("interval", self.interval, 1, MAX_SECONDS)
        check_int("count", self.count, 1, MAX_COUNT)
        if self.user_timeout is not None:
            check_seconds("user_timeout", self.user_timeout, 0.001, MAX_TIMEOUT)

    @classmethod
    def detecting(cls, within: float) -> KeepAlive:
        """Notice a peer that has gone silent within so many seconds, whether data is under way or not.

        About half the time is idle, the other half three probes (fewer below 5 s), and a ninth is kept back: Linux's
        timers may run late by an eighth of their time. Data under way is timed by TCP_USER_TIMEOUT, with the same
        number of seconds, below 14 s with up to 1.5 s less than ``within``. macOS and Windows have no such option;
        there it is silently left out, and data under way is given up when the system's own retransmissions are
        (minutes). TCP_USER_TIMEOUT bounds connect as well.

        :param within: seconds, 2 to 32767; fractions are dropped. With 2 s nothing can be kept back, so that it may
            become 2.5 s.
        :raises TypeError: ``within`` is no number.
        :raises ValueError: ``within`` is out of range.

        >>> KeepAlive.detecting(within=60)
        KeepAlive(idle=29, interval=8, count=3, user_timeout=53)
        """
        check_seconds("within", within, 2, MAX_SECONDS)
        total = max(2, int(within) * 8 // 9)
        count = min(3, total - 1)
        interval = max(1, total // (2 * count))
        # A user timeout ends the probing at the first probe that finds it over (net/ipv4/tcp_timer.c,
        # tcp_keepalive_timer): with one longer than all probes take, the next would come too late. Data under way is
        # noticed up to 1.5 s after it, for it counts from the first retransmission, and a machine whose own cable was
        # pulled retransmits late (measured, Linux 6.18).
        user_timeout = min(total, max(int(within) - 1.5, 1))
        return cls(total - interval * count, interval, count, user_timeout=user_timeout)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The switch, the times, and the user timeout where there is one."""
        settings: tuple[Setting, ...] = (
            ("SOL_SOCKET", "SO_KEEPALIVE", 1),
            ("IPPROTO_TCP", "TCP_KEEPIDLE", self.idle),
            ("IPPROTO_TCP", "TCP_KEEPINTVL", self.interval),
            ("IPPROTO_TCP", "TCP_KEEPCNT", self.count),
        )
        if self.user_timeout is None:
            return settings
        return (*settings, ("IPPROTO_TCP", "TCP_USER_TIMEOUT", milliseconds(self.user_timeout)))


@dataclass(frozen=True, slots=True)
class UserTimeout:
    """Give the connection up when sent data, or the SYN of connect, has had no answer for so long.

    Off unless set: Linux then goes on for 15 minutes or longer (``net.ipv4.tcp_retries2``). It bounds connect as well,
    where ``timeout`` is the better word, and says nothing about a connection on which nothing is sent: see `KeepAlive`.

    :param seconds: 0.001 to 2147483; the kernel counts milliseconds, and fractions of one are rounded up.
    :raises TypeError: it is no number.
    :raises ValueError: it is out of range.

    Sets TCP_USER_TIMEOUT (tcp(7), RFC 5482, Linux 2.6.37). macOS and Windows lack it.

    >>> UserTimeout(7.5).settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_USER_TIMEOUT', 7500),)
    """

    seconds: float

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds, 0.001, MAX_TIMEOUT)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The timeout in milliseconds."""
        return (("IPPROTO_TCP", "TCP_USER_TIMEOUT", milliseconds(self.seconds)),)
