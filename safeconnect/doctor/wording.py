"""How facts are written in findings."""

from __future__ import annotations

from .._host.tcp_sockets import named
from .._sockets.endpoint import written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .facts import Listener

_MOST = 5


def sysctl(setting: str) -> str:
    """How to change a setting of Linux."""
    return f"as root: sysctl -w {setting} (and write it to /etc/sysctl.d/)"


def end(host: str, port: int) -> str:
    """An address and a port: ``127.0.0.1:80``, ``[::1]:80``."""
    return written((host, port))


def time(seconds: float) -> str:
    """As people say it: 0.4 ms, 12.5 s, 15 min 24 s, 2 h 11 min."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.4g} s"
    whole = int(seconds)
    if seconds < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(listeners: Sequence[Listener], more: Callable[[Listener], str] = lambda _: "") -> str:
    """Listeners with their processes, of many the first few; ``more`` adds what else there is to say of each."""
    shown = []
    for each in listeners[:_MOST]:
        whose = f" of {named(each.processes)}" if each.processes else ""
        shown.append(end(each.address, each.port) + whose + more(each))
    rest = len(listeners) - _MOST
    return "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")
