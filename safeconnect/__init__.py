"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself."""

from ._lazy import loader as _loader
from ._net.kernel import ephemeral_ports, reserved_ports
from ._net.sockets import is_self_connected, reset
from .blocking import Connector, create_connection
from .errors import CrossedReplyError, PeerClosedError, PortsExhaustedError, SelfConnectError
from .patching import install, patched, uninstall
from .ports import PortRange, PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core.detection import DetectionTime as DetectionTime
    from ._core.tcp_info import TcpInfo as TcpInfo
    from ._net.peer import peer_closed as peer_closed
    from ._net.peer import unread_bytes as unread_bytes
    from ._net.quick_ack import quick_ack as quick_ack
    from ._net.quick_ack import recv_with_quick_ack as recv_with_quick_ack
    from ._net.tcp_info import tcp_info as tcp_info
    from ._net.tcp_info import tcp_state as tcp_state
    from .binding import Reservation as Reservation
    from .binding import bind_socket as bind_socket
    from .binding import reserve_port as reserve_port
    from .closed import Closed as Closed
    from .closing import close_gracefully as close_gracefully
    from .detection import detection_time as detection_time
    from .exposure import Exposure as Exposure
    from .exposure import self_connect_exposure as self_connect_exposure
    from .keepalive import KeepAlive as KeepAlive
    from .keepalive import UserTimeout as UserTimeout
    from .memory import ConnectMemory as ConnectMemory
    from .persistent import PersistentConnection as PersistentConnection
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
    from .waiting import wait_for_port as wait_for_port

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BindToDevice",
    "Closed",
    "CongestionControl",
    "ConnectMemory",
    "Connector",
    "CrossedReplyError",
    "DetectionTime",
    "Exposure",
    "FastOpenConnect",
    "KeepAlive",
    "Linger",
    "Mark",
    "NoDelay",
    "PeerClosedError",
    "PersistentConnection",
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
    "TcpInfo",
    "TypeOfService",
    "UserTimeout",
    "bind_socket",
    "close_gracefully",
    "create_connection",
    "detection_time",
    "ephemeral_ports",
    "install",
    "is_self_connected",
    "is_transient",
    "patched",
    "peer_closed",
    "quick_ack",
    "recv_with_quick_ack",
    "reserve_port",
    "reserved_ports",
    "reset",
    "self_connect_exposure",
    "simultaneous_open",
    "tcp_info",
    "tcp_state",
    "uninstall",
    "unread_bytes",
    "wait_for_port",
]

# Loaded when asked for: they need modules that a plain connect does not (dataclasses alone takes 5 ms).
_LATER = {
    "Backoff": "retry",
    "BindToDevice": "routing_options",
    "Closed": "closed",
    "CongestionControl": "socket_options",
    "ConnectMemory": "memory",
    "DetectionTime": "_core.detection",
    "Exposure": "exposure",
    "FastOpenConnect": "socket_options",
    "KeepAlive": "keepalive",
    "Linger": "socket_options",
    "Mark": "routing_options",
    "NoDelay": "socket_options",
    "PersistentConnection": "persistent",
    "QuickAck": "socket_options",
    "Reservation": "binding",
    "Retry": "retry",
    "RetryBudget": "retry",
    "SourcePool": "source_pool",
    "SynCount": "socket_options",
    "TcpInfo": "_core.tcp_info",
    "TypeOfService": "routing_options",
    "UserTimeout": "keepalive",
    "bind_socket": "binding",
    "close_gracefully": "closing",
    "detection_time": "detection",
    "is_transient": "retry",
    "peer_closed": "_net.peer",
    "quick_ack": "_net.quick_ack",
    "recv_with_quick_ack": "_net.quick_ack",
    "reserve_port": "binding",
    "self_connect_exposure": "exposure",
    "simultaneous_open": "rendezvous",
    "tcp_info": "_net.tcp_info",
    "tcp_state": "_net.tcp_info",
    "unread_bytes": "_net.peer",
    "wait_for_port": "waiting",
}

__getattr__ = _loader(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
