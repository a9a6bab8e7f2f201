"""All locks of the library are made in one place, where a forked child gets new ones; likewise its imports."""

import ast

import pytest

from ..namespace import ROOT

SOURCES = sorted((ROOT / "safeconnect").rglob("*.py"))
MAKERS = {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier", "allocate_lock"}
FORK_NAMES = {"register_at_fork", "new_lock"}
EXCEPTIONS = {
    "_fork.py": "makes them",
    "_uninterrupted.py": "knows CPython's own, to wrap one",
    "_latch.py": "each wait has a new one, which only its own thread acquires",
    "_sockets/lookups.py": "compares threading.Lock, to notice gevent; no child takes the lock of one lookup",
}
# Loaded by those only who have loaded the module already, or by programs of the library's own.
# `_run/` imports in the middle of an import of the program's: who has the lock may wait for that.
APART = ("__main__", "_run/", "cli/", "doctor/", "pytest_plugin.py", "testing/", "__init__.py")
LOADED_ALREADY = {
    "ssl": "whoever has a TLS socket or context has loaded it",
    "psutil": "off Linux, and only to tell who holds a port",
}


def of(path):
    return path.relative_to(ROOT / "safeconnect").as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=of)
def test_locks_and_hooks_for_forks_are_made_in_one_place(path):
    found = [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and ((node.value.id in ("threading", "_thread") and node.attr in MAKERS) or node.attr in FORK_NAMES)
    ]
    found += [
        f"line {node.lineno}: from {node.module}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module in ("threading", "_thread") or any(name.name == "register_at_fork" for name in node.names))
    ]
    assert bool(found) == (of(path) in EXCEPTIONS), f"use safeconnect._fork.Guard, or give a reason here: {found}"


@pytest.mark.parametrize("path", [path for path in SOURCES if not of(path).startswith(APART)], ids=of)
def test_what_a_function_imports_it_imports_under_the_lock(path):
    found = [
        node.lineno
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in bare_imports(function)
        if (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) not in LOADED_ALREADY
    ]
    assert found == [], "import under `with imports.lock` (safeconnect._fork): a fork may come in the middle"


def bare_imports(node):
    """The imports below a node that are not in a with block of the lock's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.With) and ast.unparse(child.items[0].context_expr).endswith("imports.lock"):
            continue
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        yield from bare_imports(child)
