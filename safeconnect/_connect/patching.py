"""Put `create_connection` in the place of `socket.create_connection`, for the whole process.

Clients that look the function up when they connect then connect safely without a change: http.client, urllib.request,
smtplib, ftplib, imaplib, poplib, xmlrpc.client, and many outside the standard library.
"""

from __future__ import annotations

import socket
from types import TracebackType
from weakref import ref

from .._fork import Guard
from .blocking import create_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_guard = Guard()
_original: Callable[..., Any] | None = None  # what was there before, while ours is in place
_active = False
_installed = False
_blocks: set[ref[_Block]] = set()  # that run


def install() -> None:
    """Put safeconnect's `create_connection` in the place of the standard library's, until `uninstall`.

    Once installed, installing again changes nothing.

    >>> install()
    >>> socket.create_connection is create_connection
    True
    >>> uninstall()
    """
    global _installed
    with _guard.lock:
        _installed = True
        _settle()


def uninstall() -> None:
    """Undo `install`: put back exactly the function that was there.

    Does nothing where nothing is installed. While a `patched` block runs the function stays until its end. Where
    another tool has put a function of its own in place since then, that one is left alone; once it is gone, calling
    this again takes ours away.

    >>> standard = socket.create_connection
    >>> install()
    >>> uninstall()
    >>> socket.create_connection is standard
    True
    """
    global _installed
    with _guard.lock:
        _installed = False
        _settle()


class patched:  # noqa: N801 - used like a function, in a with statement
    """The context manager form of `install`: in force while any such block runs, in any thread.

    It changes the whole process, not only the block's own thread. Blocks may be nested and may overlap; an instance
    may be used again.

    >>> with patched():
    ...     socket.create_connection is create_connection
    True
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    def __enter__(self) -> None:
        block = _Block()
        self._blocks.append(block)
        with _guard.lock:
            _blocks.add(ref(block, _ended))
            _settle()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._blocks:  # without an __enter__ there is nothing to end
            self._blocks.pop()
            with _guard.lock:
                _settle()


class _Block:
    """A `patched` block that runs, for as long as this lives: an interrupt cannot keep it from ending."""


def _ended(block: ref[_Block]) -> None:
    with _guard.lock:
        _blocks.discard(block)
        _settle()


def _settle() -> None:
    """Replace or restore the function, as is wanted now. Call it with the lock held."""
    global _original, _active
    wanted = _installed or any(block() is not None for block in _blocks.copy())
    is_ours = socket.create_connection is create_connection
    if wanted and not _active and not is_ours:
        _original = socket.create_connection
        socket.create_connection = create_connection  # type: ignore[assignment]  # takes more than the original
    elif not wanted and is_ours and _original is not None:
        socket.create_connection = _original
        _original = None
    # If another tool's function is in place when ours is no longer wanted, the original is kept: ours is back when that
    # tool restores it, and the next uninstall() takes it away.
    _active = wanted
