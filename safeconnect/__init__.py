"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself."""

from ._lazy import loader as _loader
from ._net.kernel import ephemeral_ports, reserved_ports
from ._net.sockets import is_self_connected
from .blocking import Connector, create_connection
from .errors import PortsExhaustedError, SelfConnectError
from .patching import install, patched, uninstall
from .ports import PortRange, PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .binding import Reservation as Reservation
    from .binding import bind_socket as bind_socket
    from .binding import reserve_port as reserve_port
    from .exposure import Exposure as Exposure
    from .exposure import self_connect_exposure as self_connect_exposure
    from .keepalive import KeepAlive as KeepAlive
    from .keepalive import UserTimeout as UserTimeout
    from .memory import ConnectMemory as ConnectMemory
    from .rendezvous import simultaneous_open as simultaneous_open
    from .retry import Backoff as Backoff
    from .retry import Retry as Retry
    from .retry import RetryBudget as RetryBudget
    from .retry import is_transient as is_transient
    from .routing_options import BindToDevice as BindToDevice
    from .routing_options import Mark as Mark
    from .routing_options import TypeOfService as TypeOfService
    from .socket_options import CongestionControl as CongestionControl
    from .socket_options import FastOpenConnect as FastOpenConnect
    from .socket_options import Linger as Linger
    from .socket_options import NoDelay as NoDelay
    from .socket_options import QuickAck as QuickAck
    from .socket_options import SynCount as SynCount
    from .source_pool import SourcePool as SourcePool

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BindToDevice",
    "CongestionControl",
    "ConnectMemory",
    "Connector",
    "Exposure",
    "FastOpenConnect",
    "KeepAlive",
    "Linger",
    "Mark",
    "NoDelay",
    "PortRange",
    "PortSet",
    "PortsExhaustedError",
    "QuickAck",
    "Reservation",
    "Retry",
    "RetryBudget",
    "SelfConnectError",
    "SourcePool",
    "SynCount",
    "TypeOfService",
    "UserTimeout",
    "bind_socket",
    "create_connection",
    "ephemeral_ports",
    "install",
    "is_self_connected",
    "is_transient",
    "patched",
    "reserve_port",
    "reserved_ports",
    "self_connect_exposure",
    "simultaneous_open",
    "uninstall",
]

# Loaded when asked for: they need modules that a plain connect does not (dataclasses alone takes 5 ms).
_LATER = {
    "Backoff": "retry",
    "BindToDevice": "routing_options",
    "CongestionControl": "socket_options",
    "ConnectMemory": "memory",
    "Exposure": "exposure",
    "FastOpenConnect": "socket_options",
    "KeepAlive": "keepalive",
    "Linger": "socket_options",
    "Mark": "routing_options",
    "NoDelay": "socket_options",
    "QuickAck": "socket_options",
    "Reservation": "binding",
    "Retry": "retry",
    "RetryBudget": "retry",
    "SourcePool": "source_pool",
    "SynCount": "socket_options",
    "TypeOfService": "routing_options",
    "UserTimeout": "keepalive",
    "bind_socket": "binding",
    "is_transient": "retry",
    "reserve_port": "binding",
    "self_connect_exposure": "exposure",
    "simultaneous_open": "rendezvous",
}

__getattr__ = _loader(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
