"""Public names: loaded when they are asked for, with the ``__module__`` that users import them from."""

from __future__ import annotations

from sys import _getframe

from ._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from . import typing as typing  # noqa: PLC0414 - modules import it from here
else:

    class _Typing:
        """Stands for `safeconnect.typing`, and loads it when a name of it is read: modules import it as ``t``.

        Annotations such as ``t.SockAddr`` are text, and only `typing.get_type_hints` and the like evaluate them.
        """

        def __getattr__(self, name: str) -> Any:
            # pytest reads such names of all that it finds in a plugin; Python 3.15's dataclasses read annotations'.
            if name[0] == "_" or _getframe(1).f_globals.get("__name__") == "dataclasses":
                raise AttributeError(name)
            with imports.lock:
                from importlib import import_module

                return getattr(import_module(".typing", __package__), name)

    typing = _Typing()


def publish(package: str, *values: Any) -> None:
    """Make the package the ``__module__`` of public classes and functions: pickles and tracebacks name that.

    Modules call this for their classes, as an instance may be made before the package hands its class out. As the file
    of that module has no source of the class, `inspect.getsource` finds none; Python 3.13 would show other lines of it.
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
