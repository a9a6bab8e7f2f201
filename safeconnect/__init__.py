"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself."""

from ._lazy import loader as _loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core.detection import DetectionTime as DetectionTime
    from ._core.tcp_info import TcpInfo as TcpInfo
    from ._net.kernel import ephemeral_ports as ephemeral_ports
    from ._net.kernel import reserved_ports as reserved_ports
    from ._net.peer import peer_closed as peer_closed
    from ._net.peer import unread_bytes as unread_bytes
    from ._net.quick_ack import quick_ack as quick_ack
    from ._net.quick_ack import recv_with_quick_ack as recv_with_quick_ack
    from ._net.sockets import is_self_connected as is_self_connected
    from ._net.sockets import reset as reset
    from ._net.tcp_info import tcp_info as tcp_info
    from ._net.tcp_info import tcp_state as tcp_state
    from .addresses import is_global_address as is_global_address
    from .binding import Reservation as Reservation
    from .binding import bind_socket as bind_socket
    from .binding import reserve_port as reserve_port
    from .blocking import Connector as Connector
    from .blocking import create_connection as create_connection
    from .closed import Closed as Closed
    from .closing import close_gracefully as close_gracefully
    from .detection import detection_time as detection_time
    from .errors import AddressNotAllowedError as AddressNotAllowedError
    from .errors import CrossedReplyError as CrossedReplyError
    from .errors import PeerClosedError as PeerClosedError
    from .errors import PortsExhaustedError as PortsExhaustedError
    from .errors import SelfConnectError as SelfConnectError
    from .exposure import Exposure as Exposure
    from .exposure import self_connect_exposure as self_connect_exposure
    from .keepalive import KeepAlive as KeepAlive
    from .keepalive import UserTimeout as UserTimeout
    from .memory import ConnectMemory as ConnectMemory
    from .patching import install as install
    from .patching import patched as patched
    from .patching import uninstall as uninstall
    from .persistent import PersistentConnection as PersistentConnection
    from .ports import PortRange as PortRange
    from .ports import PortSet as PortSet
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
    "AddressNotAllowedError",
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
    "is_global_address",
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

# Loaded when asked for: pytest loads this package for the plugin in it, whoever tests what, and most names bring
# modules along that a plain connect does not need.
_LATER = {
    "AddressNotAllowedError": "errors",
    "Backoff": "retry",
    "BindToDevice": "routing_options",
    "Closed": "closed",
    "CongestionControl": "socket_options",
    "ConnectMemory": "memory",
    "Connector": "blocking",
    "CrossedReplyError": "errors",
    "DetectionTime": "_core.detection",
    "Exposure": "exposure",
    "FastOpenConnect": "socket_options",
    "KeepAlive": "keepalive",
    "Linger": "socket_options",
    "Mark": "routing_options",
    "NoDelay": "socket_options",
    "PeerClosedError": "errors",
    "PersistentConnection": "persistent",
    "PortRange": "ports",
    "PortSet": "ports",
    "PortsExhaustedError": "errors",
    "QuickAck": "socket_options",
    "Reservation": "binding",
    "Retry": "retry",
    "RetryBudget": "retry",
    "SelfConnectError": "errors",
    "SourcePool": "source_pool",
    "SynCount": "socket_options",
    "TcpInfo": "_core.tcp_info",
    "TypeOfService": "routing_options",
    "UserTimeout": "keepalive",
    "bind_socket": "binding",
    "close_gracefully": "closing",
    "create_connection": "blocking",
    "detection_time": "detection",
    "ephemeral_ports": "_net.kernel",
    "install": "patching",
    "is_global_address": "addresses",
    "is_self_connected": "_net.sockets",
    "is_transient": "retry",
    "patched": "patching",
    "peer_closed": "_net.peer",
    "quick_ack": "_net.quick_ack",
    "recv_with_quick_ack": "_net.quick_ack",
    "reserve_port": "binding",
    "reserved_ports": "_net.kernel",
    "reset": "_net.sockets",
    "self_connect_exposure": "exposure",
    "simultaneous_open": "rendezvous",
    "tcp_info": "_net.tcp_info",
    "tcp_state": "_net.tcp_info",
    "uninstall": "patching",
    "unread_bytes": "_net.peer",
    "wait_for_port": "waiting",
}

__getattr__ = _loader(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
