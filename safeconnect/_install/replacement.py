"""One function of somebody else's module or class, with ours in its place for as long as that is wanted."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Replacement:
    """One attribute that holds our function while that is wanted, and afterwards the very object that it held before.

    `settle` may be interrupted at any point, and then called again: it goes by what the attribute holds, not by what
    was done to it.

    :param module: the module's name, and ``path``, the attribute in it, such as ``"Connection._connect"``.
    :param functions: ours, any of which may be in place.
    """

    __slots__ = ("_is_active", "_saved", "functions", "module", "original", "path")

    def __init__(self, module: str, path: str, *functions: Callable[..., Any]) -> None:
        self.module = module
        self.path = path
        self.functions: Sequence[Callable[..., Any]] = functions
        self.original: Any = None  # what ours calls for what it does not do; kept for calls that outlast it
        self._saved: Any = None  # what to put back
        self._is_active = False

    def load(self) -> None:
        """Ask the module for the attribute: some modules import it only then (anyio)."""
        getattr(sys.modules.get(self.module), self.path, None)

    @property
    def is_loaded(self) -> bool:
        """True if the attribute is there to be replaced; a module that is being imported may not have it yet."""
        return self._find() is not None

    @property
    def is_in_place(self) -> bool:
        """True if the attribute holds one of our functions."""
        found = self._find()
        return found is not None and self._holds_ours(found[0], found[1])

    def found(self) -> Any:
        """Return what would be replaced: the function in place, or the one that ours replaces; None if not loaded."""
        at = self._find()
        if at is None:
            return None
        owner, name = at
        return self._saved if self._holds_ours(owner, name) else vars(owner)[name]

    def __str__(self) -> str:
        return f"{self.module}.{self.path}()"

    def settle(self, function: Callable[..., Any] | None) -> None:
        """Put one of ours in place, or None: what was there before.

        If another tool's function is there, it is left alone. If ours comes back when that tool restores it, the next
        call takes it away.
        """
        at = self._find()
        if at is None:
            self._is_active = False
            return
        owner, name = at
        is_ours = self._holds_ours(owner, name)
        if function is None:
            if is_ours and self._saved is not None:
                setattr(owner, name, self._saved)
                self._saved = None
        elif is_ours:
            if self._saved is not None:  # otherwise the user has put it there
                setattr(owner, name, function)
        elif not self._is_active:
            self._saved = self.original = vars(owner)[name]
            setattr(owner, name, function)
        self._is_active = function is not None

    def _holds_ours(self, owner: Any, name: str) -> bool:
        return any(vars(owner)[name] is each for each in self.functions)

    def _find(self) -> tuple[Any, str] | None:
        owner: Any = sys.modules.get(self.module)
        *classes, name = self.path.split(".")
        for each in classes:
            owner = getattr(owner, each, None)
        return (owner, name) if name in getattr(owner, "__dict__", ()) else None
