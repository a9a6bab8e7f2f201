"""The way to a target: each address tried, how that ends, who listens here; nothing hangs, nothing stays."""

import errno
import json
import os
import socket
import threading

import pytest

from safeconnect import SelfConnectError, doctor
from safeconnect.doctor import examine, gather, gathering
from safeconnect.doctor.facts import Exposed

from .. import support
from ..support import SOON, closed_port, held_port, linux_only, needs_ipv6, resolver, timed


def codes(report):
    return [finding.code for finding in report.findings if finding.code.startswith("target-")]


def test_a_server():
    with support.listening() as server:
        host, port = server.getsockname()
        before = set(support.tcp_table())  # an earlier test may have had a server on this port
        report = examine((host, port), timeout=5)
        target = report.snapshot.target
        (attempt,) = target.attempts
        assert "target-answers" in codes(report)
        assert (attempt.address, attempt.port, attempt.outcome, attempt.own) == (host, port, "connected", True)
        assert 0 < attempt.seconds < 5
        assert attempt.error is None
        with server.accept()[0] as peer, pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert (target.host, target.port, target.timeout_seconds, target.untried) == (host, port, 5, 0)
    assert target.lookup.addresses == (host,)
    left = [ends for ends in set(support.tcp_table()) - before if port in ends]
    assert left == [], "it was reset, so nothing stays in TIME_WAIT"


@linux_only
def test_who_listens_here():
    with support.listening() as server:
        host, port = server.getsockname()
        (listener,) = gather((host, port)).target.listeners
        server.accept()[0].close()
    assert (listener.address, listener.port) == (host, port)
    assert [owner.pid for owner in listener.processes] == [os.getpid()]


def test_refused():
    with held_port() as held:
        report = examine(held.getsockname())
    assert codes(report)[0] == "target-refused"
    assert report.worst == "error"
    (attempt,) = report.snapshot.target.attempts
    assert (attempt.outcome, attempt.error) == ("refused", "Connection refused")


@needs_ipv6
@linux_only
def test_refused_here_and_served_there():
    with held_port() as held, support.listening(socket.AF_INET6, port=held.getsockname()[1]) as server:
        port = server.getsockname()[1]
        report = examine(("127.0.0.1", port))
    found = next(finding for finding in report.findings if finding.code == "target-refused")
    assert f"nobody listens there, but [::1]:{port} of " in found.detail
    assert f"connect to [::1]:{port}" in found.advice[0]


def test_silent(hole):
    report, seconds = timed(lambda: examine(hole, timeout=0.2))
    assert codes(report)[0] == "target-silent"
    assert seconds < SOON * 4
    (attempt,) = report.snapshot.target.attempts
    assert attempt.outcome == "silent"
    assert attempt.seconds >= 0.2


@linux_only
def test_silent_for_its_queue_is_full(hole):
    report = examine(hole, timeout=0.2)
    found = next(finding for finding in report.findings if finding.code == "target-silent")
    assert f"127.0.0.1:{hole[1]} of " in found.detail
    assert "has a full accept queue" in found.detail


def test_several_addresses_one_by_one(monkeypatch, hole):
    with support.listening() as server:
        port = server.getsockname()[1]
        addresses = [("127.0.0.2", port), hole, ("127.0.0.1", port)]
        monkeypatch.setattr(socket, "getaddrinfo", resolver(*addresses))
        report = examine(("db.example", port), timeout=0.2)
    target = report.snapshot.target
    assert target.lookup.addresses == ("127.0.0.2", "127.0.0.1")
    assert [(each.address, each.outcome) for each in target.attempts] == [
        ("127.0.0.2", "refused"),
        ("127.0.0.1", "silent"),
        ("127.0.0.1", "connected"),
    ]
    by_code = {finding.code: finding.severity for finding in report.findings if finding.code in codes(report)}
    assert by_code.items() >= {"target-refused": "warning", "target-silent": "warning", "target-answers": "ok"}.items()


def test_at_most_eight_of_many_addresses(monkeypatch):
    with held_port() as held:
        port = held.getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", resolver(*((f"127.0.0.{n}", port) for n in range(1, 12))))
        target = gather(("db.example", port)).target
    assert (len(target.lookup.addresses), len(target.attempts), target.untried) == (11, 8, 3)


def test_a_name_that_does_not_exist(monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    report = examine(("no-such-host.invalid", 80))
    assert codes(report) == ["target-unknown"]
    assert report.snapshot.target.lookup.failure == "unknown"
    assert report.snapshot.target.attempts == ()


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "no-answer"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "failed"),
        (UnicodeError("label too long"), "failed"),
        (OSError("getaddrinfo returns an empty list"), "failed"),
    ],
)
def test_lookups_that_fail(error, failure, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    report = examine(("db.example", 80))
    assert codes(report) == ["target-lookup-failed"]
    assert report.snapshot.target.lookup.failure == failure
    assert report.snapshot.target.lookup.error == (getattr(error, "strerror", None) or str(error))


def test_a_resolver_that_hangs_keeps_nobody(monkeypatch):
    released = threading.Event()

    def hang(host, *arguments):
        if host == "db.example":
            released.wait(60)
        return resolver(("127.0.0.1", 0))(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        report, seconds = timed(lambda: examine(("db.example", 80), timeout=0.1))
    finally:
        released.set()
    assert seconds < 30
    assert codes(report) == ["target-lookup-failed"]
    lookups = [report.snapshot.target.lookup, *report.snapshot.names.lookups]
    assert [lookup.failure for lookup in lookups] == ["timed-out"] * 3
    assert all(lookup.seconds >= 0.1 for lookup in lookups)


def test_a_slow_lookup_of_one_family(monkeypatch):
    asked = []

    def slow(host, port, family=0, *rest):
        asked.append((host, family))
        if (host, family) == ("db.example", socket.AF_INET6):
            never.wait(0.3)
        return resolver(("127.0.0.1", port))(host, port, 0, *rest)

    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    v4, v6 = gather(("db.example", closed_port()), timeout=5).names.lookups
    assert (v4.family, v6.family) == ("IPv4", "IPv6")
    assert v6.seconds >= 0.3
    families = [family for host, family in asked if host == "db.example"]
    assert families == [socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC]


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (SelfConnectError(errno.ECONNREFUSED, "it met itself"), "met-itself", "target-refused"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable", "target-unreachable"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable", "target-unreachable"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "failed", "target-failed"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "failed", "target-failed"),
        (OSError("no words of the kernel's"), "failed", "target-failed"),
    ],
)
def test_other_ends(error, outcome, code, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(gathering, "dial", fail)
    report = examine(("127.0.0.1", closed_port()))
    assert report.snapshot.target.attempts[0].outcome == outcome
    assert code in codes(report)


def test_exposure():
    port = closed_port()
    exposed = gather(("127.0.0.1", port)).target.exposed
    assert exposed.is_exposed
    assert exposed.advice
    assert exposed.told.startswith(f"127.0.0.1:{port} is exposed")
    assert "target-exposed" in codes(examine(("localhost", port)))
    assert gather(("127.0.0.1", 1)).target.exposed == Exposed(
        "outside-range", exposed.prevented, gather(("127.0.0.1", 1)).target.exposed.told
    )


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("127.0.0.1:80", TypeError, "must be .host, port."),
        (("127.0.0.1",), TypeError, "must be .host, port."),
        ((None, 80), TypeError, "host"),
        (("", 80), TypeError, "host"),
        (("127.0.0.1", "80"), TypeError, "int, not str"),
        (("127.0.0.1", True), TypeError, "int, not bool"),
        (("127.0.0.1", 0), ValueError, "1-65535"),
        (("127.0.0.1", 65536), ValueError, "1-65535"),
    ],
)
def test_wrong_targets(target, kind, words):
    with pytest.raises(kind, match=words):
        gather(target)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_wrong_timeouts(timeout):
    with pytest.raises(ValueError, match="timeout must be"):
        gather(timeout=timeout)


def test_a_report_as_json(server):
    report = examine(server.getsockname())
    found = report.as_dict()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["worst", "findings", "snapshot"]
    assert [finding["code"] for finding in found["findings"]] == [finding.code for finding in report.findings]
    assert found["snapshot"]["target"]["attempts"][0]["outcome"] == "connected"


def test_the_face():
    assert all(getattr(doctor, name).__doc__ for name in doctor.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        doctor.nonsense  # noqa: B018 - the access itself is under test


def test_lines_that_a_hosts_file_has_twice(monkeypatch):
    with support.listening() as server:
        address = server.getsockname()
        monkeypatch.setattr(socket, "getaddrinfo", resolver(address, address))
        target = gather(("db.test", address[1])).target
    assert [attempt.address for attempt in target.attempts] == ["127.0.0.1"]
    assert target.untried == 0
