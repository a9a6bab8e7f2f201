"""What is printed says what it is: no public class leaves that to ``<... object at 0x...>``."""

import inspect
import socket

import pytest

import safeconnect
from safeconnect import PersistentConnection, Retry, patched, testing

from ..support import needs_ipv6
from .test_hints import is_ours, public_callables


def is_made_here(cls):
    """Not a client's class with our connect, nor a protocol, which has no instances."""
    bases = [base for base in cls.__mro__[:-1] if not is_ours(base)]
    return not bases and not getattr(cls, "_is_protocol", False)


CLASSES = {name: cls for name, cls in public_callables().items() if inspect.isclass(cls) and is_made_here(cls)}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_a_repr(name):
    assert CLASSES[name].__repr__ is not object.__repr__


def test_all_kinds_are_among_them():
    assert {"safeconnect.Connector", "safeconnect.testing.Names", "safeconnect.doctor.facts.Host"} < set(CLASSES)
    assert any(name.endswith("blocking:Exchange") for name in CLASSES)


@needs_ipv6
def test_a_name_with_two_addresses():
    with testing.dual_stack("refused", "echo") as both:
        port = both.port
        v6, v4 = f"<Refusing at ::1:{port}, 0 connections>", f"<Server at 127.0.0.1:{port}, 0 connections>"
        assert repr(both) == f"<DualStack dual.test:{port}, v6: {v6}, v4: {v4}>"


def test_names_and_those_looked_up():
    with testing.names({"a.test": "192.0.2.1", "b.test": []}) as names:
        socket.getaddrinfo("a.test", 80)
        assert repr(names) == "<Names a.test, b.test; 1 lookup>"


def test_a_guard_and_what_it_found():
    guard = testing.guard()
    assert repr(guard) == "<Guard: nothing found>"
    guard.findings.append("a connect\noutside")
    assert repr(guard) == r"<Guard: a connect\x0aoutside>"


def test_a_server_has_peers():
    seen = []
    with (
        testing.serve(lambda peer: seen.append(repr(peer))) as server,
        safeconnect.create_connection(server.address, 5) as sock,
    ):
        assert sock.recv(1) == b""
        host, port = sock.getsockname()
    assert seen == [f"<Peer of <Connection 1 from {host}:{port}, 0 bytes, open>>"]


def test_a_script():
    assert repr(testing.Script({"192.0.2.1": "ok", "::1": "silent"})) == "<Script of 192.0.2.1, ::1>"


def test_a_block_with_the_patched_function():
    assert repr(patched(clients=["urllib3", "redis"])) == "patched(clients=['redis', 'urllib3'], connector=None)"


def test_an_exchange():
    with testing.echo() as server, PersistentConnection(server.address, retry=Retry()) as connection:
        with connection.exchange(timeout=5) as exchange:
            assert repr(exchange) == f"<Exchange 1 of <PersistentConnection to {server.address!r}, connected>>"
        assert repr(exchange).endswith(", over>")
