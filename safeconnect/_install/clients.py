"""The clients that `install` reaches: which function of each is replaced, by which of ours, in which versions."""

from __future__ import annotations

import sys
from importlib import import_module

from .._fork import imports
from .replacement import Replacement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_Version = tuple[int, ...]


class Client:
    """One client whose connects go through one function, or one for threads and one for asyncio.

    :param name: its package; the client is reached once that has been imported.
    :param functions: its functions, each with what is put in its place: a module of this package and a name in it. All
        are replaced, or none.
    :param versions: the first version that is known, and the first that is not.
    :param uses: names in the first function's module that ours use.
    """

    __slots__ = ("_functions", "_uses", "_versions", "is_checked", "name", "why_not")

    def __init__(
        self,
        name: str,
        functions: Sequence[tuple[Replacement, str]],
        versions: tuple[_Version, _Version],
        uses: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._functions = functions
        self._versions = versions
        self._uses = uses
        self.is_checked = False
        self.why_not = ""  # why it is left alone; known once it is checked

    @property
    def is_in_place(self) -> bool:
        """True if ours are in the place of its functions."""
        return all(replacement.is_in_place for replacement, _ in self._functions)

    def settle(self, wanted: bool) -> None:
        """Put ours in the place of its functions, or back what was there; no client that is left alone is changed."""
        is_wanted = wanted and self.is_checked and not self.why_not
        for replacement, _ in self._functions:
            replacement.settle(replacement.functions[0] if is_wanted else None)

    def check(self) -> None:
        """See whether the client is one that is known, and load what is put in its place. It imports modules."""
        if self.is_checked or self.name not in sys.modules:
            return
        try:
            for replacement, _ in self._functions:
                replacement.load()
            absent = [str(replacement) for replacement, _ in self._functions if not replacement.is_loaded]
            if absent and _is_being_imported(self.name):
                return
            self.why_not = self._unknown_version() or self._lacking(absent) or self._load()
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

    def _lacking(self, absent: list[str]) -> str:
        module = self._functions[0][0].module
        used = [f"{module}.{name}" for name in self._uses if not hasattr(sys.modules.get(module), name)]
        return f"it has no {', '.join(absent + used)}" if absent or used else ""

    def _load(self) -> str:
        loaded = []
        for replacement, ours in self._functions:
            module, _, name = ours.partition(":")
            with imports.lock:
                function = getattr(import_module(module, __package__), name)
            known = _parameters(function)
            strange = [name for name in _parameters(replacement.found()) if name not in known]
            if strange:
                return f"{replacement} takes {', '.join(strange)}, which is not known"
            loaded.append(function)
        for (replacement, _), function in zip(self._functions, loaded, strict=True):
            replacement.functions = (function,)
        return ""


def _is_being_imported(package: str) -> bool:
    """Say whether its import is under way, maybe in another thread; then it is not known yet what it has."""
    return getattr(getattr(sys.modules[package], "__spec__", None), "_initializing", False)


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
WEBSOCKET = Replacement("websocket._http", "_open_socket")
AMQP = Replacement("amqp.transport", "_AbstractTransport._connect")
PYMONGO = Replacement("pymongo.pool_shared", "_create_connection")
PYMONGO_ASYNCIO = Replacement("pymongo.pool_shared", "_async_create_connection")

CLIENTS = (
    Client("asyncio", [(ASYNCIO, ".asyncio:create_connection")], ((3, 11), (3, 16))),
    Client("aiohappyeyeballs", [(AIOHAPPYEYEBALLS, ".asyncio:start_connection")], ((2, 4), (3,))),
    Client("anyio", [(ANYIO, ".anyio:connect_tcp")], ((4, 10), (5,))),
    Client("trio", [(TRIO, ".trio:open_tcp_stream")], ((0, 25), (1,))),
    Client("urllib3", [(URLLIB3, ".blocking:urllib3_create_connection")], ((2,), (3,))),
    Client("redis", [(REDIS, ".blocking:redis_connect")], ((6,), (9,))),
    Client("websocket", [(WEBSOCKET, ".blocking:websocket_open_socket")], ((1, 6), (2,)), ["DEFAULT_SOCKET_OPTION"]),
    Client("amqp", [(AMQP, ".blocking:amqp_connect")], ((5, 1), (6,))),
    Client(
        "pymongo",
        [(PYMONGO, ".blocking:pymongo_create_connection"), (PYMONGO_ASYNCIO, ".asyncio:pymongo_create_connection")],
        ((4, 12), (5,)),
        ["_csot", "_set_keepalive_times"],
    ),
)
NAMES = tuple(client.name for client in CLIENTS)
