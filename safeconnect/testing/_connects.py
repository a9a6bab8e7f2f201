"""What happens around every connect of this process that goes through `socket.socket`."""

from __future__ import annotations

import socket
from weakref import ref

from .._fork import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Hook(Protocol):
        """Told of each connect; what ``before`` raises is raised in its place."""

        def before(self, sock: socket.socket, address: Any) -> None: ...
        def after(self, sock: socket.socket, address: Any) -> None: ...


_METHODS = ("connect", "connect_ex")
_guard = Guard()
# Known by weak reference: a hook that an interrupt keeps from being removed is gone with whoever was to remove it.
_hooks: list[ref[Any]] = []
_patched_classes: set[type[socket.socket]] = set()  # those that may have our methods


def add(hook: Hook) -> None:
    """Tell a hook of every connect from now on, as long as somebody else refers to it."""
    with _guard.lock:
        _hooks.append(ref(hook, _gone))
        _settle()


def remove(hook: Hook) -> None:
    """Tell it no more; no hook left, `socket.socket` is as it was."""
    with _guard.lock:
        try:
            _hooks[:] = [each for each in _hooks if each() is not hook]
            _settle()
        finally:
            _settle()  # interrupted above, it is made good here


def _gone(_: object) -> None:
    with _guard.lock:
        _settle()


def _settle() -> None:
    """Patch while there is a hook. What is interrupted here is made good by the next call."""
    _hooks[:] = [each for each in _hooks if each() is not None]
    if _hooks:
        _patched_classes.add(socket.socket)
        _patch(socket.socket)
        return
    for kind in _patched_classes.copy():
        _unpatch(kind)
        _patched_classes.discard(kind)


def _patch(kind: type[socket.socket]) -> None:
    for name in _METHODS:
        if not hasattr(vars(kind).get(name), "in_place_of"):
            setattr(kind, name, _told(kind, name))


def _unpatch(kind: type[socket.socket]) -> None:
    for name in _METHODS:
        ours: Any = vars(kind).get(name)
        if not hasattr(ours, "in_place_of"):
            continue
        if ours.in_place_of is None:
            delattr(kind, name)  # it was inherited
        else:
            setattr(kind, name, ours.in_place_of)


def _told(kind: type[socket.socket], name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(kind, name)

    def connect(sock: socket.socket, address: Any) -> Any:
        hooks = [hook for each in tuple(_hooks) if (hook := each()) is not None]
        for hook in hooks:
            hook.before(sock, address)
        try:
            return method(sock, address)
        finally:
            for hook in hooks:
                hook.after(sock, address)

    connect.__name__ = connect.__qualname__ = method.__name__
    connect.in_place_of = vars(kind).get(name)  # type: ignore[attr-defined]  # what the class had of its own, if anything
    return connect
