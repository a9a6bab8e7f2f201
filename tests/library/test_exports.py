"""The public face is what it says it is."""

import doctest
import importlib
import inspect
import pickle
import pkgutil

import pytest

import safeconnect

from ..support import python

PUBLIC = sorted(safeconnect.__all__)
MODULES = ["safeconnect", *(name for _, name, _ in pkgutil.walk_packages(safeconnect.__path__, "safeconnect."))]


def test_all_is_sorted_and_complete():
    assert list(safeconnect.__all__) == sorted(safeconnect.__all__)
    assert [name for name in dir(safeconnect) if not name.startswith("__")] == PUBLIC


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        safeconnect.nonsense  # noqa: B018 - the access itself is under test


def public_names():
    for package in ("", ".asyncio", ".trio", ".anyio", ".testing", ".doctor"):
        for name in importlib.import_module(f"safeconnect{package}").__all__:
            yield pytest.param(f"safeconnect{package}", name, id=f"safeconnect{package}.{name}")


@pytest.mark.parametrize(("package", "name"), list(public_names()))
def test_every_public_name_is_where_users_import_it_from(package, name):
    value = getattr(importlib.import_module(package), name)
    assert value.__doc__
    assert value is getattr(importlib.import_module(package), name)
    if callable(value):
        assert (value.__module__, value.__qualname__) == (package, name)
        assert pickle.loads(pickle.dumps(value)) is value


def test_a_value_is_of_the_package_without_a_look_into_it():
    code = """
        import pickle
        from safeconnect.retry import Retry
        from safeconnect.ports import PortSet
        from safeconnect.options import KeepAlive
        for value in (Retry(), PortSet(), KeepAlive(1, 1, 1)):
            assert b"safeconnect." not in pickle.dumps(value)
            assert pickle.loads(pickle.dumps(value)) == value
            print(type(value).__module__)
    """
    assert python(code).split() == ["safeconnect"] * 3


def test_the_source_of_public_functions_and_methods_is_found_and_none_is_wrong():
    assert inspect.getsource(safeconnect.create_connection).startswith("def create_connection(")
    assert inspect.getsource(safeconnect.Connector.connect).lstrip().startswith("def connect(")
    with pytest.raises(OSError, match=r"source code|class definition"):
        inspect.getsource(safeconnect.Connector)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstring_examples(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if not name.startswith("safeconnect.integrations."):
            raise
        pytest.skip(str(error))  # it needs a client that is not installed
    assert module.__doc__
    if hasattr(module, "__all__") and hasattr(module, "__path__"):  # a package: its names have their own test, below
        finder = doctest.DocTestFinder(recurse=False)
        assert [test.name for test in finder.find(module) if doctest.DocTestRunner().run(test).failed] == []
        return
    failed, _ = doctest.testmod(module)
    assert failed == 0


@pytest.mark.parametrize(("package", "name"), list(public_names()))
def test_docstring_examples_of_public_names(package, name):  # testmod() leaves them out, as they are of a package
    value = getattr(importlib.import_module(package), name)
    members = vars(value).values() if isinstance(value, type) else ()
    functions = filter(inspect.isfunction, [inspect.unwrap(value), *members])
    own = (each.__globals__ for each in functions if each.__globals__["__name__"].startswith("safeconnect."))
    names = next(own, {})
    for test in doctest.DocTestFinder().find(value, name, module=False, globs={**names, name: value}):
        assert doctest.DocTestRunner().run(test).failed == 0


def test_public_functions_have_examples():
    finder = doctest.DocTestFinder()
    without = []
    for name in PUBLIC:
        value = getattr(safeconnect, name)
        examples = [test for test in finder.find(value, name, module=False) if test.examples]
        if not examples and name != "Exposure":  # made by self_connect_exposure, whose example shows one
            without.append(name)
    assert without == []
