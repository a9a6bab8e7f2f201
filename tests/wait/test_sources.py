"""Where a wait tries from, when the kernel has no source port for it; and who is told of its tries."""

import errno

import pytest

from safeconnect import Connector, PortSet, PortsExhaustedError, SelfConnectError
from safeconnect._wait.policy import Waiting

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
MET_ITSELF = SelfConnectError(errno.ECONNREFUSED, "nobody listens")
EXHAUSTED = PortsExhaustedError(errno.EADDRNOTAVAIL, "there is no source port")
PLAIN = Connector()
SPARE = "61000-65535"


def a_wait(*, gone=False, tell=None, spare=SPARE):
    return Waiting(
        ("127.0.0.1", 8000),
        5.0,
        interval=0.1,
        attempt_timeout=1.0,
        check=None,
        gone=gone,
        draw=lambda: 0.5,
        spare_ports=lambda: PortSet.parse(spare),
        now=0.0,
        tell=tell,
    )


class TestWhereItTriesFrom:
    @pytest.mark.parametrize("error", [MET_ITSELF, EXHAUSTED])
    def test_from_ports_of_nobody_once_there_was_no_other(self, error):
        wait = a_wait()
        assert wait.next_settings(PLAIN) is PLAIN
        wait.begin(0.0)
        wait.failed(error, 0.1)
        assert wait.next_settings(PLAIN) == PLAIN.replace(source_ports=PortSet.parse(SPARE))

    def test_never_from_the_port_waited_for(self):
        wait = a_wait(spare="7999-8001")
        wait.begin(0.0)
        wait.failed(MET_ITSELF, 0.1)
        assert wait.next_settings(PLAIN).source_ports == PortSet([7999, 8001])

    def test_as_before_where_the_kernel_had_a_port_or_there_is_no_other(self):
        for error, spare in ((REFUSED, "61000-61003"), (MET_ITSELF, ""), (MET_ITSELF, "8000")):
            wait = a_wait(spare=spare)
            wait.begin(0.0)
            wait.failed(error, 0.1)
            assert wait.next_settings(PLAIN) is PLAIN

    @pytest.mark.parametrize("settings", [{"source_ports": "40000"}, {"source_address": ("127.0.0.1", 0)}])
    def test_from_where_the_caller_says(self, settings):
        plan = Connector(**settings)
        wait = a_wait()
        wait.begin(0.0)
        wait.failed(EXHAUSTED, 0.1)
        assert wait.next_settings(plan) is plan

    def test_exhausted_while_gone_is_waited_for(self):
        wait = a_wait(gone=True)
        wait.begin(0.0)
        assert not wait.failed(ExceptionGroup("", [EXHAUSTED]), 0.1)
        assert wait.next_settings(PLAIN).source_ports == PortSet.parse(SPARE)


def test_every_try_that_was_none_is_told():
    told = []
    wait = a_wait(tell=lambda *what: told.append(what))
    for error in (REFUSED, MET_ITSELF, TimeoutError("timed out")):
        wait.begin(0.0)
        wait.failed(error, 0.5)
    wait.checked(None, "it sent b'no'", 0.6)
    assert [kind for kind, _ in told] == ["refused", "met itself", "timed out", "wrong answer"]
    assert told[0][1] == str(REFUSED)
    assert told[3][1] == "it sent b'no'"
    assert wait.tries == 3
