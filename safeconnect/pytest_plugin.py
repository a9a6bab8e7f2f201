"""The pytest plugin: the faults of `safeconnect.testing` as fixtures, a guard, and the option ``--safeconnect``.

The plugin imports nothing but pytest when it is loaded; each fixture imports what it needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ._lazy import typing as t

# Each fault, with its description in ``pytest --fixtures``.
_FAULTS = {
    "refused": "an address that refuses connections",
    "blackhole": "an address where connects are not answered until heal() makes a server of it",
    "late_listener": "an address that refuses connections until its start() is called",
    "echo": "a server that sends back what it gets",
    "silent": "a server that accepts and reads, and never answers",
    "never_reads": "a server that accepts and never reads",
    "resets": "a server that resets its connections at once",
    "half_closes": "a server that sends FIN at once, and goes on reading",
    "drips": "a server that sends back what it gets, a byte at a time",
    "slow_accept": "a server that accepts slowly",
    "flaky": "a server that follows a script: refuse, reset, serve",
    "crossed_replies": "a server that answers the first request of each connection late",
    "self_connecting": "an address where every connect connects to itself",
    "dual_stack": "a name with two addresses: ::1, a black hole, and 127.0.0.1, a server (skipped without IPv6)",
    "tls": "a server that speaks TLS, with a client_context that trusts it",
    "dead_peer": "a host of its own with a server that can vanish (skipped where there are no namespaces)",
    "exposed_host": "a host of its own where every connect to one port connects to itself (likewise)",
}
# The arguments of the plain fixtures; faults that are not here take none.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"slow_accept": (0.1,), "flaky": (("refuse", "reset", "serve"),)}
_NAMESPACES = ("dead_peer", "exposed_host")
# The default of safeconnect_faults: the faults in which a connect, or what comes after it, fails.
_FAILING = (
    "refused",
    "blackhole",
    "silent",
    "never_reads",
    "resets",
    "half_closes",
    "drips",
    "crossed_replies",
    "self_connecting",
)


def _make(name: str, *arguments: Any, **settings: Any) -> Any:
    from . import testing

    reason = None
    if name in _NAMESPACES:
        reason = testing.namespaces_unavailable()
    elif name == "dual_stack":
        from .testing._names import no_ipv6

        reason = no_ipv6()
    if reason:
        pytest.skip(reason)
    return getattr(testing, name)(*arguments, **settings)


def _plain(name: str) -> Any:
    def fixture() -> Iterator[Any]:
        with _make(name, *_ARGUMENTS.get(name, ())) as fault:
            yield fault

    fixture.__name__ = f"safeconnect_{name}"
    fixture.__doc__ = f"A fault: {_FAULTS[name]}. See `safeconnect.testing.{name}`."
    return pytest.fixture(fixture)


def _factory(name: str) -> Any:
    def fixture() -> Iterator[Callable[..., Any]]:
        with ExitStack() as stack:
            yield lambda *arguments, **settings: stack.enter_context(_make(name, *arguments, **settings))

    fixture.__name__ = f"safeconnect_{name}_factory"
    fixture.__doc__ = f"Makes a fault at each call, with arguments: {_FAULTS[name]}. All end with the test."
    return pytest.fixture(fixture)


for _name in _FAULTS:
    globals()[f"safeconnect_{_name}"] = _plain(_name)
    globals()[f"safeconnect_{_name}_factory"] = _factory(_name)


@pytest.fixture
def safeconnect_port() -> Iterator[t.Reservation]:
    """A port that nobody else gets until the test ends: a `safeconnect.Reservation`."""
    from ._local.binding import reserve_port

    with reserve_port() as reservation:
        yield reservation


@pytest.fixture
def safeconnect_port_factory() -> Iterator[Callable[..., t.Reservation]]:
    """Reserves a port at each call, with the arguments of `safeconnect.reserve_port`. All end with the test."""
    from ._local.binding import reserve_port

    with ExitStack() as stack:
        yield lambda *arguments, **settings: stack.enter_context(reserve_port(*arguments, **settings))


@pytest.fixture
def safeconnect_names() -> Iterator[Callable[..., Any]]:
    """A function that answers name lookups until the test ends: call it as `safeconnect.testing.names`."""
    with ExitStack() as stack:
        yield lambda answers: stack.enter_context(_make("names", answers))


@pytest.fixture
def safeconnect_faults(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fault: the test runs once for each that its marker names, or for all that make a client fail."""
    with _make(request.param, *_ARGUMENTS.get(request.param, ())) as fault:
        yield fault


@pytest.fixture
def safeconnect_guard(request: pytest.FixtureRequest) -> Iterator[t.Guard]:
    """A guard: the test fails if it leaves descriptors open, connects to itself, or connects outside loopback."""
    __tracebackhide__ = True
    try:
        with _make("guard") as guard:
            yield guard
    except AssertionError as error:
        _raise_in(request, error.with_traceback(None))


def _raise_in(request: pytest.FixtureRequest, error: AssertionError) -> None:
    """Raise an error as from the first line of the test: its own frame is gone when its fixtures end."""
    __tracebackhide__ = True
    code = getattr(inspect.unwrap(request.function), "__code__", None)
    if code is None:
        raise error
    line = compile("raise error", code.co_filename, "exec").replace(co_firstlineno=code.co_firstlineno)
    names = {"error": error}
    try:
        exec(line, names)  # noqa: S102 - only so the traceback has an entry in the test's file
    finally:
        names.clear()  # the traceback holds them: a cycle
        del error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses safeconnect_faults once for each fault."""
    if "safeconnect_faults" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("safeconnect_faults")
    names = marker.args if marker and marker.args else _FAILING
    unknown = [name for name in names if name not in _FAULTS]
    if unknown:
        raise pytest.UsageError(f"safeconnect_faults: there is no fault {unknown[0]!r}, but {', '.join(_FAULTS)}")
    metafunc.parametrize("safeconnect_faults", names, indirect=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--safeconnect``."""
    parser.getgroup("safeconnect").addoption(
        "--safeconnect",
        action="store_true",
        help="replace socket.create_connection by the safe connect for the whole session",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and with ``--safeconnect`` install the safe connect."""
    config.addinivalue_line(
        "markers", "safeconnect_faults(*names): the faults that the fixture safeconnect_faults makes, one for each run"
    )
    if config.getoption("--safeconnect"):
        from ._install.installing import install

        install()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo the installation."""
    if config.getoption("--safeconnect"):
        from ._install.installing import uninstall

        uninstall()
