"""The clients that `install` reaches: which function of each is replaced, by which of ours, in which versions."""

from __future__ import annotations

import sys
from importlib import import_module

from .._fork import imports
from .replacement import Replacement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_Version = tuple[int, ...]


class Client:
    """One client whose connects go through one function.

    :param package: the client is reached once this package has been imported.
    :param replacement: its function.
    :param ours: what is put in its place, a module of this package and a name in it.
    :param versions: the first version that is known, and the first that is not.
    """

    __slots__ = ("_ours", "_versions", "is_checked", "name", "replacement", "why_not")

    def __init__(self, name: str, replacement: Replacement, ours: str, versions: tuple[_Version, _Version]) -> None:
        self.name = name
        self.replacement = replacement
        self._ours = ours
        self._versions = versions
        self.is_checked = False
        self.why_not = ""  # why it is left alone; known once it is checked

    def check(self) -> None:
        """See whether the client is one that is known, and load what is put in its place. It imports modules."""
        if self.is_checked or self.name not in sys.modules:
            return
        try:
            self.replacement.load()
            if not self.replacement.is_loaded:
                return  # its import is under way in another thread
            self.why_not = self._unknown_version() or self._load()
        except Exception as error:  # noqa: BLE001 - the client's import must not fail by this
            self.why_not = f"{type(error).__name__}: {error}"
        self.is_checked = True

    def _unknown_version(self) -> str:
        version = _version(self.name)
        first, beyond = self._versions
        if first <= version < beyond:
            return ""
        return (
            f"version {_text(version) or 'unknown'} is not between {_text(first)} and {_text(beyond)}, which are known"
        )

    def _load(self) -> str:
        module, _, name = self._ours.partition(":")
        with imports.lock:
            function = getattr(import_module(module, __package__), name)
        known = _parameters(function)
        strange = [name for name in _parameters(self.replacement.found()) if name not in known]
        if strange:
            return f"{self.replacement} takes {', '.join(strange)}, which is not known"
        self.replacement.functions = (function,)
        return ""


def _parameters(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    if code is None:
        return ("what a compiled function takes",)
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def _version(package: str) -> _Version:
    if package == "asyncio":
        return sys.version_info[:2]
    version = getattr(sys.modules[package], "__version__", None)
    if not isinstance(version, str):
        with imports.lock:
            from importlib.metadata import version as version_of  # takes long to load, and few clients need it
        version = version_of(package)
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _text(version: _Version) -> str:
    return ".".join(map(str, version))


ASYNCIO = Replacement("asyncio.base_events", "BaseEventLoop.create_connection")
AIOHAPPYEYEBALLS = Replacement("aiohappyeyeballs", "start_connection")
ANYIO = Replacement("anyio", "connect_tcp")
TRIO = Replacement("trio", "open_tcp_stream")
URLLIB3 = Replacement("urllib3.util.connection", "create_connection")
REDIS = Replacement("redis.connection", "Connection._connect")

CLIENTS = (
    Client("asyncio", ASYNCIO, ".asyncio:create_connection", ((3, 11), (3, 15))),
    Client("aiohappyeyeballs", AIOHAPPYEYEBALLS, ".asyncio:start_connection", ((2, 4), (3,))),
    Client("anyio", ANYIO, ".anyio:connect_tcp", ((4, 10), (5,))),
    Client("trio", TRIO, ".trio:open_tcp_stream", ((0, 25), (1,))),
    Client("urllib3", URLLIB3, ".blocking:urllib3_create_connection", ((2,), (3,))),
    Client("redis", REDIS, ".blocking:redis_connect", ((6,), (9,))),
)
NAMES = tuple(client.name for client in CLIENTS)
