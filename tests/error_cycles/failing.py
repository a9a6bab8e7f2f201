"""Every way in which a connect can fail, as ``(address, kind of error, settings)``; one list for all drivers."""

import contextlib
import socket
import threading
from functools import partial

import pytest

import safeconnect
from safeconnect import (
    AddressNotAllowedError,
    Backoff,
    ConnectMemory,
    Connector,
    NoDelay,
    Retry,
    SelfConnectError,
    SourcePool,
)
from safeconnect._local.binding import reserve_port
from safeconnect._sockets import kernel
from safeconnect.errors import PortsExhaustedError

from ..support import black_hole, held_port, listening, one_port, resolver

AGAIN = Retry(attempts=3, backoff=Backoff(initial=0.001))
CASES = {}


def case(place, label, kind=ConnectionRefusedError, **settings):
    """Add a case; ``place`` is a generator function that gives the address and further settings."""
    CASES[label] = lambda: _prepared(place, kind, settings)


@contextlib.contextmanager
def _prepared(place, kind, settings):
    with contextlib.contextmanager(place)() as (address, more):
        yield address, kind, {"timeout": 5, **settings, **more}


def two_refused(held):
    """A resolver for a name with two addresses that refuse."""
    port = held.getsockname()[1]
    return resolver(("127.0.0.1", port), ("127.0.0.2", port))


def at(host, *, named=False):
    def place():
        with held_port() as held:
            yield (host, held.getsockname()[1]), {"resolver": two_refused(held)} if named else {}

    return place


_refused = partial(case, at("127.0.0.1"))
_refused("a refused literal")
_refused("a refused literal, without a timeout", timeout=None)
_refused("a refused literal, all errors", ExceptionGroup, all_errors=True)
_refused("a refused literal, retry", retry=AGAIN)
_refused("a refused literal, retry and all errors", ExceptionGroup, retry=AGAIN, all_errors=True)
_refused("a refused literal, memory", memory=ConnectMemory())
_refused("a refused literal, from an address", source_address=("127.0.0.2", 0))
_refused("a refused literal, from a list", source_address=["127.0.0.2"])
_refused("a refused literal, options", options=[NoDelay()])
_refused("a refused literal, share_source", source_address=("127.0.0.1", 0), share_source=True)
_refused("a refused literal, a pool", source_address=SourcePool(["127.0.0.2", "127.0.0.3"]))
_refused("a refused literal, trace", trace=lambda _: None)
_refused("a refused literal, resolution_delay", resolution_delay=0.05)
_refused("a refused literal, one by one", happy_eyeballs_delay=None)
_refused("an option that is none", OSError, options=[(socket.SOL_SOCKET, 9999, 1)])
_refused("a source address of another host", OSError, source_address=("192.0.2.1", 0))
_refused("a source address of another family", OSError, source_address=["::1"])
_refused("a literal that is not allowed", AddressNotAllowedError, allow=["::1"])
_refused("a literal that is not allowed, retry", AddressNotAllowedError, allow=["::1"], retry=AGAIN)
_refused(
    "a literal that is not allowed, from a list", AddressNotAllowedError, allow=["::1"], source_address=["127.0.0.2"]
)
_refused("a literal of another family", socket.gaierror, family=socket.AF_INET6)
_refused("a predicate that says neither", TypeError, allow=lambda _: None)
_refused("a predicate that says neither, retry", TypeError, allow=lambda _: None, retry=AGAIN)
_refused("a network that is none", ValueError, allow=["a.test"])
_refused("a negative timeout", ValueError, timeout=-1)
_refused("a timeout that is text", TypeError, timeout="5")
_refused("a resolver that is none", TypeError, resolver=5)
_refused("a retry that is none", TypeError, retry=5)
_refused("a source of a wrong type", TypeError, source_address=5.5)

_name = partial(case, at("name.test", named=True))
_name("a refused name")
_name("a name that is not allowed", AddressNotAllowedError, allow=["::1"])
_name("a name that is not allowed, all errors", ExceptionGroup, allow=["::1"], all_errors=True)
_name("a name with a predicate that says neither", TypeError, allow=lambda _: None)
_name("a refused name, without a timeout", timeout=None)
_name("a refused name, all errors", ExceptionGroup, all_errors=True)
_name("a refused name, retry", retry=AGAIN)
_name("a refused name, retry and all errors", ExceptionGroup, retry=AGAIN, all_errors=True)
_name("a refused name, memory", memory=ConnectMemory())
_name("a refused name, one by one", happy_eyeballs_delay=None)
_name("a refused name, resolution_delay", resolution_delay=0.05)
_name("a refused name, from an address", source_address=("127.0.0.3", 0))

case(at("localhost"), "localhost")


def looked_up(answer):
    def getaddrinfo(*_):
        if isinstance(answer, type) and issubclass(answer, BaseException):
            raise answer(socket.EAI_NONAME, "no such name")
        return answer

    def place():
        yield ("name.test", 80), {"resolver": getaddrinfo}

    return place


_fault = partial(case, looked_up(LookupError))
for _label, _settings in (
    ("", {}),
    (", without a timeout", {"timeout": None}),
    (", retry", {"retry": AGAIN}),
    (", all errors", {"all_errors": True}),
    (", resolution_delay", {"resolution_delay": 0.01}),
    (", trace", {"trace": lambda _: None}),
):
    case(looked_up(socket.gaierror), f"a lookup that fails{_label}", socket.gaierror, **_settings)
    case(looked_up([]), f"an empty answer{_label}", OSError, **_settings)
_fault("a resolver with a fault, without a timeout", LookupError, timeout=None)
_fault("a resolver with a fault", LookupError)
_fault("a resolver with a fault, resolution_delay", LookupError, resolution_delay=0.01)


def _arguments(label, kind, address):
    def place():
        yield address, {}

    case(place, label, kind)


_arguments("a port that is too high", ValueError, ("127.0.0.1", 70000))
_arguments("a port that is too high, of a name", ValueError, ("name.invalid", 70000))
_arguments("several targets", TypeError, [("127.0.0.1", 1), ("127.0.0.1", 2)])
_arguments("a port of a wrong type", TypeError, ("127.0.0.1", 8.5))
_arguments("an address of three parts", ValueError, ("127.0.0.1", 80, 0))
_arguments("a name that is none", UnicodeError, ("a..b", 80))
_arguments("an option of a host without IPv6", OSError, ("2001:db8::1", 0))


def hangs():
    released = threading.Event()
    try:
        yield ("name.test", 80), {"resolver": lambda *_: [] if released.wait() else None}
    finally:
        released.set()


_hung = partial(case, hangs, kind=TimeoutError, timeout=0.05)
_hung("a lookup that hangs")
_hung("a lookup that hangs, all errors", all_errors=True)
_hung("a lookup that hangs, retry", retry=AGAIN)
_hung("a lookup that hangs, resolution_delay", resolution_delay=0.01)


def silent():
    with black_hole() as hole:
        yield hole, {}


_silent = partial(case, silent, timeout=0.05)
_silent("no answer", TimeoutError)
_silent("no answer, all errors", ExceptionGroup, all_errors=True)
_silent("no answer, retry", TimeoutError, retry=AGAIN)
_silent("no answer, one by one", TimeoutError, happy_eyeballs_delay=None)
_silent("no answer, attempt_timeout", TimeoutError, attempt_timeout=0.01)
_silent("no answer, attempt_timeout and all errors", ExceptionGroup, attempt_timeout=0.01, all_errors=True)
_silent("no answer, attempt_timeout and retry", TimeoutError, attempt_timeout=0.01, retry=AGAIN)


def added(kind, **settings):
    return lambda place: case(place, place.__name__, kind, **settings)


@added(TimeoutError, timeout=0.015, happy_eyeballs_delay=None)
def no_answer_and_no_time_for_the_last():
    with black_hole(3) as holes:
        yield ("name.test", 80), {"resolver": resolver(*holes)}


@added(TimeoutError, timeout=0.3, happy_eyeballs_delay=0.02)
def no_answer_and_a_refusal():
    with black_hole() as hole, held_port() as held:
        yield ("name.test", 80), {"resolver": resolver(hole, held.getsockname())}


@added(PortsExhaustedError, source_address="127.0.0.1")
def no_source_port_left():
    _need_port_range()
    with listening() as server, reserve_port() as reserved:
        yield server.getsockname(), {"source_ports": str(reserved.port)}


@added(OSError)
def a_pool_without_a_port():
    _need_port_range()
    with listening() as server, reserve_port(["127.0.0.2", "127.0.0.3"]) as reserved:
        pool = SourcePool(["127.0.0.2", "127.0.0.3"], str(reserved.port))
        yield server.getsockname(), {"source_address": pool}


@added(OSError)
def a_source_port_that_is_taken():
    with listening() as server, reserve_port() as reserved:
        yield server.getsockname(), {"source_address": reserved.address}


@added(OSError, share_source=True)
def a_source_port_that_is_not_shared():
    with listening() as server, listening() as other:
        yield server.getsockname(), {"source_address": other.getsockname()}


@added(SelfConnectError)
def a_connection_that_meets_itself():
    with reserve_port() as reserved:
        address = reserved.address
    yield address, {"source_address": address}


@added(SelfConnectError)
def connections_that_meet_themselves():
    _need_port_range()
    with reserve_port("127.0.0.1", _own_range()) as reserved:
        address = reserved.address
    yield address, {"options": [one_port(address[1])]}


def _need_port_range():
    if not kernel.has_port_range():
        pytest.skip("without IP_LOCAL_PORT_RANGE a source port is bound, beside others that allow it by SO_REUSEADDR")


def _own_range():
    ports = safeconnect.ephemeral_ports()
    return f"{ports.first}-{ports.last}"


@added(RuntimeError)
def a_trace_that_fails():
    def trace(_):
        raise RuntimeError

    with held_port() as held:
        yield held.getsockname(), {"trace": trace}


@added(ExceptionGroup, connector=Connector(all_errors=True, retry=AGAIN, timeout=5), timeout=None)
def a_connector_of_its_own():
    with held_port() as held:
        yield held.getsockname(), {}
