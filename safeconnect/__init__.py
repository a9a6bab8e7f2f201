"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself."""

from ._net.kernel import ephemeral_ports, reserved_ports
from ._net.sockets import is_self_connected
from .blocking import create_connection
from .errors import PortsExhaustedError, SelfConnectError
from .patching import install, patched, uninstall
from .ports import PortRange, PortSet

__version__ = "0.1.0"

__all__ = [
    "PortRange",
    "PortSet",
    "PortsExhaustedError",
    "SelfConnectError",
    "create_connection",
    "ephemeral_ports",
    "install",
    "is_self_connected",
    "patched",
    "reserved_ports",
    "self_connect_exposure",
    "uninstall",
]
