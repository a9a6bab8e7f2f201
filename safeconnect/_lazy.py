"""Public names: loaded when they are asked for, and told to be where users import them from."""

from __future__ import annotations

from ._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def publish(package: str, *values: Any) -> None:
    """Make the package the ``__module__`` of public classes and functions: pickles and tracebacks name that.

    Modules call this for their classes, as an instance may be made before the package hands its class out. The source
    of a class is looked for in the file of its ``__module__``: `inspect.getsource` finds none, where Python 3.13 would
    show other lines of that file. That of functions and methods is found.
    """
    for value in values:
        if not hasattr(value, "__module__"):
            continue  # a constant
        value.__module__ = package
        if "__firstlineno__" in vars(value):
            del value.__firstlineno__


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
        publish(package, value)
        setattr(sys.modules[package], name, value)
        return value

    return getattr_
