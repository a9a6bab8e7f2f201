"""Safe client connects: a drop-in for `socket.create_connection` that never connects to itself."""

from ._net.kernel import ephemeral_ports, reserved_ports
from ._net.sockets import is_self_connected
from .blocking import create_connection
from .errors import PortsExhaustedError, SelfConnectError
from .patching import install, patched, uninstall
from .ports import PortRange, PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .exposure import Exposure as Exposure
    from .exposure import self_connect_exposure as self_connect_exposure

__version__ = "0.1.0"

__all__ = [
    "Exposure",
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

# Loaded when asked for: they need modules that a connect does not (dataclasses alone takes 5 ms).
_LATER = {"Exposure": "exposure", "self_connect_exposure": "exposure"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
