"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself.

PYTEST_DONT_REWRITE: pytest finds it loaded under `safeconnect run`, and would warn that it comes too late.
"""

from __future__ import annotations

from ._lazy import loader as _loader
from ._lazy import typing as t  # noqa: F401 - annotations of classes are evaluated here, as it is their ``__module__``

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._close.blocking import close_gracefully as close_gracefully
    from ._close.policy import Closed as Closed
    from ._connect.address_filter import is_global_address as is_global_address
    from ._connect.blocking import Connector as Connector
    from ._connect.blocking import create_connection as create_connection
    from ._connect.memory import ConnectMemory as ConnectMemory
    from ._inspect.connection import detection_time as detection_time
    from ._inspect.connection import peer_closed as peer_closed
    from ._inspect.connection import tcp_info as tcp_info
    from ._inspect.connection import tcp_state as tcp_state
    from ._inspect.connection import unread_bytes as unread_bytes
    from ._inspect.tcp_info import DetectionTime as DetectionTime
    from ._inspect.tcp_info import TcpInfo as TcpInfo
    from ._install.installing import Coverage as Coverage
    from ._install.installing import install as install
    from ._install.installing import installed as installed
    from ._install.installing import patched as patched
    from ._install.installing import uninstall as uninstall
    from ._local.binding import Reservation as Reservation
    from ._local.binding import bind_socket as bind_socket
    from ._local.binding import reserve_port as reserve_port
    from ._local.self_connect_exposure import Exposure as Exposure
    from ._local.self_connect_exposure import self_connect_exposure as self_connect_exposure
    from ._local.source_pool import SourcePool as SourcePool
    from ._persistent.blocking import PersistentConnection as PersistentConnection
    from ._simultaneous.blocking import simultaneous_open as simultaneous_open
    from ._sockets.kernel import ephemeral_ports as ephemeral_ports
    from ._sockets.kernel import reserved_ports as reserved_ports
    from ._sockets.lifecycle import is_self_connected as is_self_connected
    from ._sockets.lifecycle import reset as reset
    from ._sockets.quick_ack import quick_ack as quick_ack
    from ._sockets.quick_ack import recv_with_quick_ack as recv_with_quick_ack
    from ._wait.blocking import wait_for_port as wait_for_port
    from .errors import AddressNotAllowedError as AddressNotAllowedError
    from .errors import CrossedReplyError as CrossedReplyError
    from .errors import PeerClosedError as PeerClosedError
    from .errors import PortsExhaustedError as PortsExhaustedError
    from .errors import SelfConnectError as SelfConnectError
    from .options import BindToDevice as BindToDevice
    from .options import CongestionControl as CongestionControl
    from .options import FastOpenConnect as FastOpenConnect
    from .options import KeepAlive as KeepAlive
    from .options import Linger as Linger
    from .options import Mark as Mark
    from .options import NoDelay as NoDelay
    from .options import QuickAck as QuickAck
    from .options import SynCount as SynCount
    from .options import TypeOfService as TypeOfService
    from .options import UserTimeout as UserTimeout
    from .ports import PortRange as PortRange
    from .ports import PortSet as PortSet
    from .retry import Backoff as Backoff
    from .retry import Retry as Retry
    from .retry import RetryBudget as RetryBudget
    from .retry import is_transient as is_transient

__version__ = "0.1.0"

__all__ = [
    "AddressNotAllowedError",
    "Backoff",
    "BindToDevice",
    "Closed",
    "CongestionControl",
    "ConnectMemory",
    "Connector",
    "Coverage",
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
    "installed",
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
    "BindToDevice": "options",
    "Closed": "_close.policy",
    "CongestionControl": "options",
    "ConnectMemory": "_connect.memory",
    "Connector": "_connect.blocking",
    "Coverage": "_install.installing",
    "CrossedReplyError": "errors",
    "DetectionTime": "_inspect.tcp_info",
    "Exposure": "_local.self_connect_exposure",
    "FastOpenConnect": "options",
    "KeepAlive": "options",
    "Linger": "options",
    "Mark": "options",
    "NoDelay": "options",
    "PeerClosedError": "errors",
    "PersistentConnection": "_persistent.blocking",
    "PortRange": "ports",
    "PortSet": "ports",
    "PortsExhaustedError": "errors",
    "QuickAck": "options",
    "Reservation": "_local.binding",
    "Retry": "retry",
    "RetryBudget": "retry",
    "SelfConnectError": "errors",
    "SourcePool": "_local.source_pool",
    "SynCount": "options",
    "TcpInfo": "_inspect.tcp_info",
    "TypeOfService": "options",
    "UserTimeout": "options",
    "bind_socket": "_local.binding",
    "close_gracefully": "_close.blocking",
    "create_connection": "_connect.blocking",
    "detection_time": "_inspect.connection",
    "ephemeral_ports": "_sockets.kernel",
    "install": "_install.installing",
    "installed": "_install.installing",
    "is_global_address": "_connect.address_filter",
    "is_self_connected": "_sockets.lifecycle",
    "is_transient": "retry",
    "patched": "_install.installing",
    "peer_closed": "_inspect.connection",
    "quick_ack": "_sockets.quick_ack",
    "recv_with_quick_ack": "_sockets.quick_ack",
    "reserve_port": "_local.binding",
    "reserved_ports": "_sockets.kernel",
    "reset": "_sockets.lifecycle",
    "self_connect_exposure": "_local.self_connect_exposure",
    "simultaneous_open": "_simultaneous.blocking",
    "tcp_info": "_inspect.connection",
    "tcp_state": "_inspect.connection",
    "uninstall": "_install.installing",
    "unread_bytes": "_inspect.connection",
    "wait_for_port": "_wait.blocking",
}

__getattr__: Callable[[str], object] = _loader(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
