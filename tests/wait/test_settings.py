"""What a wait for a port takes, and what it tries with: from where, when the kernel has no source port for it."""

import pytest

from safeconnect import Connector, FastOpenConnect, NoDelay, PortSet, Retry
from safeconnect._wait.policy import probe_settings

from ..support import linux_only
from . import kit
from .kit import EXHAUSTED, REFUSED, SELF_CONNECTED, a_wait

PLAIN = Connector()
SPARE = "61000-65535"


class TestProbing:
    def test_one_try_that_cannot_be_fooled(self):
        own = Connector(timeout=7, retry=Retry(), allow_self_connect=True, all_errors=True, options=[NoDelay()])
        assert probe_settings(own, gone=False) == Connector(timeout=7, options=[NoDelay()])
        assert probe_settings(own, gone=True) == Connector(timeout=7, options=[NoDelay()], all_errors=True)
        assert own.retry == Retry()

    @linux_only
    @pytest.mark.parametrize("option", [FastOpenConnect(), (6, 30, 1)], ids=str)
    def test_a_fast_open_would_connect_to_nobody(self, option):
        assert probe_settings(Connector(options=[(6, 1, 1), option]), gone=False) == Connector(options=[(6, 1, 1)])


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"timeout": -1}, ValueError, "timeout must be 0 or more seconds, not -1"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds or None, not str"),
        ({"interval": 0}, ValueError, "interval must be more than 0 and at most 86400 seconds, not 0"),
        ({"interval": None}, TypeError, "interval must be a number of seconds, not NoneType"),
        ({"attempt_timeout": 0.0}, ValueError, "attempt_timeout must be more than 0"),
        ({"attempt_timeout": float("nan")}, ValueError, "attempt_timeout must be more than 0"),
        ({"attempt_timeout": True}, TypeError, "attempt_timeout must be a number of seconds, not bool"),
        ({"gone": 1}, TypeError, "gone must be a bool, not int"),
        ({"check": "220 "}, TypeError, "check must be bytes or a callable, not str"),
        ({"check": b""}, ValueError, "check must not be empty"),
        ({"check": b"220 ", "gone": True}, ValueError, "check is not allowed with gone"),
    ],
    ids=str,
)
def test_arguments(settings, kind, text):
    with pytest.raises(kind, match=text):
        a_wait(**settings)


def test_the_address(monkeypatch):
    for address, kind in [("127.0.0.1:80", TypeError), (("127.0.0.1",), ValueError), (("::1", 80, 0), ValueError)]:
        monkeypatch.setattr(kit, "ADDRESS", address)
        with pytest.raises(kind, match=r"address must be \(host, port\)"):
            a_wait()


class TestWhereItTriesFrom:
    @pytest.mark.parametrize("error", [SELF_CONNECTED, EXHAUSTED])
    def test_from_ports_of_nobody_once_there_was_no_other(self, error):
        wait = a_wait(spare=SPARE)
        assert wait.next_settings(PLAIN) is PLAIN
        wait.begin(0.0)
        wait.failed(error, 0.1)
        assert wait.next_settings(PLAIN) == PLAIN.replace(source_ports=PortSet.parse(SPARE))

    def test_never_from_the_port_waited_for(self):
        wait = a_wait(spare="7999-8001")
        wait.begin(0.0)
        wait.failed(SELF_CONNECTED, 0.1)
        assert wait.next_settings(PLAIN).source_ports == PortSet([7999, 8001])

    def test_as_before_where_the_kernel_had_a_port_or_there_is_no_other(self):
        for error, spare in ((REFUSED, "61000-61003"), (SELF_CONNECTED, ""), (SELF_CONNECTED, "8000")):
            wait = a_wait(spare=spare)
            wait.begin(0.0)
            wait.failed(error, 0.1)
            assert wait.next_settings(PLAIN) is PLAIN

    @pytest.mark.parametrize("settings", [{"source_ports": "40000"}, {"source_address": ("127.0.0.1", 0)}])
    def test_from_where_the_caller_says(self, settings):
        plan = Connector(**settings)
        wait = a_wait(spare=SPARE)
        wait.begin(0.0)
        wait.failed(EXHAUSTED, 0.1)
        assert wait.next_settings(plan) is plan

    def test_exhausted_while_gone_is_waited_for(self):
        wait = a_wait(gone=True, spare=SPARE)
        wait.begin(0.0)
        assert not wait.failed(ExceptionGroup("", [EXHAUSTED]), 0.1)
        assert wait.next_settings(PLAIN).source_ports == PortSet.parse(SPARE)


def test_every_try_that_was_none_is_told():
    told = []
    wait = a_wait(tell=lambda *what: told.append(what))
    for error in (REFUSED, SELF_CONNECTED, TimeoutError("timed out")):
        wait.begin(0.0)
        wait.failed(error, 0.5)
    wait.checked(None, "it sent b'no'", 0.6)
    assert [kind for kind, _ in told] == ["refused", "met itself", "timed out", "wrong answer"]
    assert told[0][1] == str(REFUSED)
    assert told[3][1] == "it sent b'no'"
    assert wait.tries == 3
