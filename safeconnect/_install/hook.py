"""Call a function as soon as a package has been imported."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class Finder:
    """A finder of ``sys.meta_path`` that finds nothing by itself: it lets the others find, and runs what they found."""

    def waits_for(self, name: str) -> bool:
        """Return True for the modules to run."""
        raise NotImplementedError

    def run(self, name: str, loader: Any, module: ModuleType) -> None:
        """Run a module's code, by its own loader."""
        raise NotImplementedError

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that calls us; None for what we do not wait for."""
        if not self.waits_for(name):
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]  # as good as one
                return spec
        return None


class ImportHook(Finder):
    """Calls a function after one of some packages has been imported.

    :param packages: the packages to wait for.
    :param imported: called without arguments. It must not raise.
    """

    def __init__(self, packages: Collection[str], imported: Callable[[], object]) -> None:
        self._packages = frozenset(packages)
        self._imported = imported

    def settle(self, wanted: bool) -> None:
        """Be among the finders, or not."""
        if wanted and self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        elif not wanted and self in sys.meta_path:
            sys.meta_path.remove(self)

    def waits_for(self, name: str) -> bool:
        return name in self._packages

    def run(self, name: str, loader: Any, module: ModuleType) -> None:  # noqa: ARG002 - the other finder needs the name
        loader.exec_module(module)
        self._imported()


class _Loader:
    """A loader that gives its place back to the module's own before the module's code runs."""

    def __init__(self, loader: Any, finder: Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code; called by the import system."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._finder.run(module.__name__, self._loader, module)
