"""What happens around every connect of this process that goes through `socket.socket`."""

import socket

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
_hooks: "list[Hook]" = []
_patched_class: "list[type[socket.socket]]" = []  # the one that has our methods, if any
_own: "dict[str, Callable[..., Any] | None]" = {}  # what it had of its own


def add(hook: "Hook") -> None:
    """Tell a hook of every connect from now on."""
    with _guard.lock:
        _hooks.append(hook)
        if len(_hooks) == 1:
            _patch(socket.socket)


def remove(hook: "Hook") -> None:
    """Tell it no more; no hook left, `socket.socket` is as it was."""
    with _guard.lock:
        _hooks.remove(hook)
        if not _hooks:
            _unpatch(_patched_class.pop())


def _patch(kind: "type[socket.socket]") -> None:
    _patched_class.append(kind)
    for name in _METHODS:
        _own[name] = vars(kind).get(name)
        setattr(kind, name, _told(getattr(kind, name)))


def _unpatch(kind: "type[socket.socket]") -> None:
    for name, method in _own.items():
        if method is None:
            delattr(kind, name)  # it was inherited
        else:
            setattr(kind, name, method)
    _own.clear()


def _told(method: "Callable[..., Any]") -> "Callable[..., Any]":
    def connect(sock: socket.socket, address: "Any") -> "Any":
        hooks = list(_hooks)
        for hook in hooks:
            hook.before(sock, address)
        try:
            return method(sock, address)
        finally:
            for hook in hooks:
                hook.after(sock, address)

    connect.__name__ = connect.__qualname__ = method.__name__
    return connect
