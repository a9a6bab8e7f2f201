"""Call `install` in a program that knows nothing of it, as the environment variable SAFECONNECT says.

Every Python below ``safeconnect run`` runs this when it starts, also those that never connect. So it imports next to
nothing, and installs only once the program has imported `socket`.
"""

from __future__ import annotations

import importlib
import os
import sys

from .._install.clients import NAMES
from .._install.hook import Finder, ImportHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

VARIABLE = "SAFECONNECT"
OFF = ("", "0", "off", "no", "false")
ON = ("1", "on", "yes", "true")
_OWN = f"{__name__.partition('.')[0]}."
_ITSELF = "install"  # no module has this name alone

_watches: list[_Watch] = []  # one, once it is activated


def activate() -> None:
    """Install as SAFECONNECT says, now or once the program imports `socket`. Calling it again does nothing.

    It never raises: wrong settings are one line on stderr, and the program runs as it would without them.
    """
    if sys.flags.ignore_environment:  # python -I and -E: the line of the wheel is run there, too
        return
    text = os.environ.get(VARIABLE, "").strip()
    if not _watches and text not in OFF and not _is_own_command(sys.orig_argv):
        watch = _Watch(text)
        _watches.append(watch)
        sys.meta_path.insert(0, watch)
        watch.look()


def _is_own_command(argv: list[str]) -> bool:
    """Return True in ``safeconnect`` itself: its connects are ours, and it says itself what is wrong in SAFECONNECT."""
    return argv[1:3] == ["-m", "safeconnect"] or os.path.basename("".join(argv[1:2])) == "safeconnect"  # noqa: PTH119


class _Watch(Finder):
    """Notes when modules are imported, and installs.

    It installs when `socket` is there and no import of a client, or of a module of ours, is under way: a client is
    reached before its import or after it, and ours may be importing what `install` needs.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._under_way: set[str] = set()

    def waits_for(self, name: str) -> bool:
        return name == "socket" or name in NAMES or name.startswith(_OWN)

    def run(self, name: str, loader: Any, module: ModuleType) -> None:
        self._under_way.add(name)
        try:
            loader.exec_module(module)
        finally:
            self._under_way.discard(name)
            self.look()

    def look(self) -> None:
        """Install if it is time."""
        if self._under_way or "socket" not in sys.modules:
            return
        self._under_way.add(_ITSELF)  # what it imports does not begin it again
        try:
            _install(self._text)
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        finally:
            self._under_way.discard(_ITSELF)


def _install(text: str) -> None:
    # Without the lock for imports: this thread may hold that of a module for which the lock's holder waits.
    try:
        from .._install.installing import install

        if text in ON:
            install()
        else:
            from .settings import chosen, read

            install(**chosen(read(text)))
        _follow_gevent(text)
    except Exception as error:  # noqa: BLE001 - the program must run as if we were not there
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        tell(f"{VARIABLE}: {what}; connects stay as they are")


def _follow_gevent(text: str) -> None:
    """Install again when gevent has patched `socket`: it puts its own ``create_connection`` in the place of ours."""
    from .._install import installing

    ours = list(installing._installed)  # noqa: SLF001 - a module of ours

    def patched(event: Any) -> None:
        is_socket = type(event).__name__ == "GeventDidPatchModuleEvent" and event.module_name == "socket"
        if is_socket and installing._installed == ours:  # noqa: SLF001 - otherwise the program has its own
            installing.uninstall()
            _install(text)

    def subscribe() -> None:
        try:
            events: Any = importlib.import_module("gevent.events")
            if not any(getattr(each, "__module__", "") == __name__ for each in events.subscribers):
                events.subscribers.append(patched)
        except Exception as error:  # noqa: BLE001 - the program's own import must not fail by this
            tell(f"gevent is not known: {type(error).__name__}: {error}")

    if "gevent" in sys.modules:
        subscribe()
    else:
        ImportHook(["gevent"], subscribe).settle(wanted=True)


def tell(text: str) -> None:
    """Write a line to stderr, if there is one."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"safeconnect: {text}\n")
    except (OSError, ValueError):  # nobody reads it, or it is closed
        return
