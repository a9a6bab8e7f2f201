"""Names of a package that are loaded when they are asked for."""

from __future__ import annotations

from ._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def loader(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A ``__getattr__`` for a package (PEP 562).

    :param modules: the module of each name, relative to the package.
    """

    def getattr_(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with imports.lock:
            import sys
            from importlib import import_module

            value: object = getattr(import_module(f".{modules[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return getattr_
