"""Exposure: can a plain connect from this machine to some port be a self-connect, and why?"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field

from .._checks import check_int
from .._lazy import publish
from .._lazy import typing as t
from .._sockets import kernel, resolve
from .._sockets.endpoint import same_host, written
from .._sockets.prevention import prevents_self_connects
from ..ports import MAX_PORT, PortRange, PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Reason


_WHY = {
    "exposed": "the port lies in the range of source ports, {range}, and connect() may choose it while nobody listens",
    "other-parity": "the port lies in the range of source ports, {range}, but connect() chooses ports of the other "
    "parity until those are used up toward the target",
    "foreign-host": "connects to this host do not come from its own address",
    "no-way": "this machine has no way to connect to that host",
    "outside-range": "the port lies outside the range of source ports, {range}",
    "reserved": "the port is reserved, so the kernel never chooses it as a source port",
}


@dataclass(frozen=True, slots=True)
class Exposure:
    """The answer of `self_connect_exposure`, which can be printed; true if a plain connect can be a self-connect.

    :ivar host: the host asked about.
    :ivar port: the port asked about.
    :ivar reason: ``"exposed"`` or ``"other-parity"`` (only under pressure) where it can; ``"foreign-host"``,
        ``"no-way"``, ``"outside-range"`` or ``"reserved"`` where it cannot.
    :ivar prevented: whether safeconnect's own connects leave the port out, by a per-socket range of source ports (Linux
        6.3 and 6.1.32). They are checked in any case. False too if there is no other source port.
    :ivar ephemeral: the range of source ports that the answer is about.
    :ivar reserved: the ports that the kernel leaves out of it.
    """

    host: str
    port: int
    reason: t.Reason
    prevented: bool
    ephemeral: t.PortRange
    reserved: t.PortSet = field(default_factory=PortSet)

    @property
    def advice(self) -> tuple[str, ...]:
        """Advice for a server on that port, one sentence each; none if it is not exposed."""
        if not self:
            return ()
        below = f"below {self.ephemeral.first}" if self.ephemeral.first > 1 else "elsewhere"
        advice = [f"move the server to a port {below}, which connect() never chooses"]
        together = str(self.reserved | PortSet([self.port]))
        if sys.platform == "linux":
            line = f"sysctl -w net.ipv4.ip_local_reserved_ports={together}"
            advice.append(f"or reserve the port, as root: {line} (and write it to /etc/sysctl.d/)")
            if self.reason == "exposed":
                other = self.port + 1 if self.port < self.ephemeral.last else self.port - 1
                advice.append(f"or take a port of the other parity, {other} say: connect() chooses those last")
        elif sys.platform == "win32":
            line = f"netsh int ipv4 add excludedportrange protocol=tcp startport={self.port} numberofports=1"
            advice.append(f"or reserve the port, as administrator: {line}")
        advice.append(f"or hold it while the server is down: safeconnect.reserve_port({self.host!r}, {self.port})")
        return tuple(advice)

    def __bool__(self) -> bool:
        return self.reason in ("exposed", "other-parity")

    def __str__(self) -> str:
        why = _WHY[self.reason].format(range=self.ephemeral)
        if not self:
            return f"{written((self.host, self.port))} is not exposed: {why}"
        own = "leave the port out (IP_LOCAL_PORT_RANGE)" if self.prevented else "detect it, reset and try again"
        return f"{written((self.host, self.port))} is exposed to self-connects: {why}. Connects by safeconnect {own}."


def self_connect_exposure(host: str, port: int) -> Exposure:
    """Say whether a connect from this machine to ``host:port`` can be a self-connect while nobody listens there.

    It can if the kernel may choose the target's own port as the source port and the target's own address as the
    source address. A listening server is not looked for: it is exposed whenever it is down.

    :param host: a name or a literal address; a name is looked up.
    :param port: 1 to 65535.
    :raises TypeError: the host is not a str, or the port not an int.
    :raises ValueError: the port is not 1-65535.
    :raises socket.gaierror: the name could not be looked up.

    >>> bool(self_connect_exposure("127.0.0.1", 80))
    False
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    check_int("port", port, 1, MAX_PORT)
    ephemeral = kernel.ephemeral_ports(refresh=True)
    reason = _reason(host, port, ephemeral)
    return Exposure(host, port, reason, prevents_self_connects(port), ephemeral, kernel.reserved_ports())


def _reason(host: str, port: int, ephemeral: PortRange) -> Reason:
    if port not in ephemeral:
        return "outside-range"
    if port in kernel.reserved_ports(refresh=True):
        return "reserved"
    found = resolve.look_up((host, port))
    from_itself = [_comes_from_itself(family, sockaddr) for family, _, _, _, sockaddr in found]
    if True not in from_itself:
        return "foreign-host" if False in from_itself else "no-way"
    # Linux prefers the parity of the range's low bound (since 4.2); macOS and Windows have no such preference.
    if sys.platform == "linux" and (port - ephemeral.first) % 2:
        return "other-parity"
    return "exposed"


def _comes_from_itself(family: int, sockaddr: tuple[object, ...]) -> bool | None:
    """Return True if the source address toward that address is the address itself; None if there is no way there.

    UDP's connect() finds out, and sends nothing.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(sockaddr)
        except OSError:
            return None
        return same_host(probe.getsockname(), probe.getpeername())


publish("safeconnect", Exposure)
