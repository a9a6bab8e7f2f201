"""`typing.get_type_hints` works on everything public, and its text is not evaluated before."""

import importlib
import inspect
import pkgutil
import typing

import safeconnect

from .test_process import python

# Documented, and given by what is public.
GIVEN = [
    "safeconnect._persistent.asyncio:Exchange",
    "safeconnect._persistent.blocking:Exchange",
    "safeconnect._persistent.trio:Exchange",
    "safeconnect.doctor.facts:Holding",
    "safeconnect.doctor.facts:SourceUse",
]


def public_modules():
    yield safeconnect
    for _, name, _ in pkgutil.walk_packages(safeconnect.__path__, "safeconnect."):
        is_public = "._" not in name and not name.startswith(("safeconnect.cli", "safeconnect.doctor."))
        if not is_public and name != "safeconnect.doctor.facts":
            continue
        try:
            yield importlib.import_module(name)
        except ImportError:
            assert name.startswith("safeconnect.integrations."), name  # its client is not installed


def is_ours(value):
    return str(getattr(value, "__module__", None)).partition(".")[0] == "safeconnect"


def functions_of(cls):
    """The methods and properties of a class that are public or special and written here."""
    for name, member in inspect.getmembers_static(cls):
        if name[0] != "_" or name.endswith("__"):
            for function in (member, *(getattr(member, part, None) for part in ("__func__", "fget", "func"))):
                if inspect.isfunction(function) and is_ours(function):
                    yield name, function


def public_callables():
    """Each once, by the name that it was found under first."""
    found = {}
    for module in public_modules():
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            if name[0] == "_" or not callable(value) or not is_ours(value):
                continue
            if not hasattr(module, "__all__") and "._" in value.__module__:
                continue  # imported
            found.setdefault(value, f"{module.__name__}.{name}")
    found.update((pkgutil.resolve_name(name), name) for name in GIVEN)
    for cls in [value for value in found if inspect.isclass(value)]:
        for member, function in functions_of(cls):
            found.setdefault(function, f"{found[cls]}.{member}")
    return {name: value for value, name in found.items()}


def is_of_a_client(value):
    """A class with annotations of a client, which may name there what it imports for type checkers only."""
    return inspect.isclass(value) and any(inspect.get_annotations(base) for base in value.__mro__ if not is_ours(base))


def test_hints_of_all_public_callables_are_found():
    callables = public_callables()
    failed = {}
    for name, value in callables.items():
        for loaded in safeconnect.__all__:  # on request, again: annotations of classes must do without
            vars(safeconnect).pop(loaded, None)
        try:
            is_of_a_client(value) or typing.get_type_hints(value)
        except NameError as error:
            failed[name] = error.name
    assert failed == {}
    assert len(callables) > 500


def test_hints_are_the_types_themselves():
    hints = typing.get_type_hints(safeconnect.create_connection)
    assert hints["address"] == tuple[typing.Any, ...]
    assert hints["source_address"] == safeconnect.typing.AnySource | None
    assert typing.get_type_hints(safeconnect.Closed) == {"how": safeconnect.typing.How, "dropped": int}


def test_nothing_loads_typing_before():
    code = """
        import sys
        before = "typing" in sys.modules
        import socket, safeconnect
        with socket.create_server(("127.0.0.1", 0)) as server:
            safeconnect.create_connection(server.getsockname(), 5).close()
        print(("typing" in sys.modules) == before, "safeconnect.typing" in sys.modules)
        from typing import get_type_hints
        print(get_type_hints(safeconnect.create_connection)["timeout"])
    """
    assert python(code).splitlines() == ["True False", "float | None"]
