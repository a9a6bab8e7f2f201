"""An argument of a wrong type is refused at once, by a TypeError that names it and says what it got."""

import re

import pytest

import safeconnect
from safeconnect import testing

ADDRESS = ("127.0.0.1", 1)
SETTINGS = (
    *("timeout", "source_address", "source_ports", "share_source", "options", "retry", "attempt_timeout"),
    *("happy_eyeballs_delay", "resolution_delay", "memory", "allow_self_connect", "all_errors", "trace", "resolver"),
    *("family", "allow", "second_attempt_delay"),
)
CALLS = [
    (safeconnect.Connector, {}, SETTINGS),
    (safeconnect.create_connection, {"address": ADDRESS}, SETTINGS),
    (safeconnect.Retry, {}, ("attempts", "backoff", "on", "budget")),
    (safeconnect.Backoff, {}, ("initial", "maximum", "factor", "jitter")),
    (safeconnect.ConnectMemory, {}, ("size", "lifetime")),
    (safeconnect.RetryBudget, {}, ("tokens", "ratio")),
    (safeconnect.KeepAlive, {"idle": 1, "interval": 1, "count": 1}, ("idle", "interval", "count", "user_timeout")),
    (safeconnect.UserTimeout, {}, ("seconds",)),
    (safeconnect.Linger, {}, ("seconds",)),
    (safeconnect.BindToDevice, {}, ("name",)),
    (safeconnect.Mark, {}, ("n",)),
    (safeconnect.PortRange, {"first": 1, "last": 1}, ("first", "last")),
    (safeconnect.SourcePool, {"addresses": ["127.0.0.1"]}, ("addresses", "ports")),
    (safeconnect.reserve_port, {}, ("host", "port")),
    (safeconnect.bind_socket, {"address": ("127.0.0.1", 0)}, ("address", "ports", "options")),
    (safeconnect.self_connect_exposure, {"host": "127.0.0.1", "port": 1}, ("host", "port")),
    (safeconnect.wait_for_port, {"address": ADDRESS, "timeout": 0}, ("timeout", "interval", "check", "connector")),
    (safeconnect.PersistentConnection, {"address": ADDRESS}, ("connector", "retry", "idle_limit", "max_age")),
    (safeconnect.install, {}, ("clients", "connector")),
    (safeconnect.patched, {}, ("clients", "connector")),
    (testing.Lookup, {}, ("delay",)),
]


@pytest.mark.parametrize(
    ("call", "others", "name"),
    [pytest.param(call, given, each, id=f"{call.__name__}-{each}") for call, given, names in CALLS for each in names],
)
def test_is_named_with_what_it_got(call, others, name):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{**others, name: object()})
    assert re.search(rf"\b{name}\b", str(caught.value))
    assert "object" in str(caught.value)
