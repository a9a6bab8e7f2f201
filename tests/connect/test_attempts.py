"""How long one attempt may last: shares of a short time, ``attempt_timeout``, and a server that is busy for a while."""

import pytest

from safeconnect import Backoff, ConnectMemory, Connector, Retry, testing
from safeconnect._sockets.endpoint import written
from safeconnect.events import Abandon, Keep, Start

from .. import support
from ..drivers import each_driver
from ..support import closed_port, linux_only, notes_of, ran_into, resolver, timed, wait_until

TWICE = Retry(attempts=2, backoff=Backoff(0))
SOON_AGAIN = Retry(attempts=None, backoff=Backoff(initial=0.01))
MODES = ["a race", "a retry", "a row"]

pytestmark = linux_only


@each_driver
class TestShares:
    def test_a_short_time_is_shared_out_in_a_row(self, connect, hole, server):
        names = resolver(hole, server.getsockname())
        sock, seconds = timed(lambda: connect(("name", 1), 2, resolver=names, happy_eyeballs_delay=None))
        with sock:
            assert sock.getpeername() == server.getsockname()
        assert 1 <= seconds < 2

    @pytest.mark.parametrize("settings", [{}, {"retry": TWICE}, {"happy_eyeballs_delay": None}], ids=MODES)
    def test_an_address_that_had_no_turn_is_told(self, connect, settings):
        # Beyond the 64 addresses that are tried; what a deadline leaves untried: tests/connect/test_dial_serial.py
        closed = [(f"127.0.1.{number}", closed_port(1)) for number in range(1, 67)]
        error = ran_into(ConnectionRefusedError, connect, ("name", 1), 60, resolver=resolver(*closed), **settings)
        assert error.__notes__[-1] == f"not tried: {', '.join(map(written, closed[-2:]))}"


@each_driver
class TestAttemptTimeout:
    @pytest.mark.parametrize("timeout", [60, None])
    @pytest.mark.parametrize("settings", [{"attempt_timeout": 0.05}, {"connector": Connector(attempt_timeout=0.05)}])
    def test_silence_ends_the_attempt_not_the_call(self, connect, hole, timeout, settings):
        error = ran_into(TimeoutError, connect, hole, timeout, **settings)
        assert (error.args, error.errno) == (("timed out (attempt_timeout)",), None)
        assert notes_of(error) == [f"{written(hole)}: failed after ..."]

    def test_is_retried(self, connect, hole):
        retry = Retry(attempts=3, backoff=Backoff(0))
        error = ran_into(TimeoutError, connect, hole, 60, attempt_timeout=0.05, retry=retry)
        assert notes_of(error) == [f"{written(hole)}: failed after ... (3 times)"]

    def test_the_deadline_is_never_retried(self, connect, hole):
        retry = Retry(attempts=None, backoff=Backoff(0))
        error = ran_into(TimeoutError, connect, hole, 0.2, attempt_timeout=0.05, retry=retry)
        assert error.args == ("timed out",)

    def test_ends_each_attempt_of_a_row(self, connect, hole, server):
        trace = []
        settings = {"attempt_timeout": 0.05, "happy_eyeballs_delay": None, "trace": trace.append}
        with connect(("name", 1), None, resolver=resolver(hole, server.getsockname()), **settings) as sock:
            assert sock.getpeername() == server.getsockname()
        assert [type(message) for message in trace if isinstance(message, (Start, Abandon))] == [Start, Abandon, Start]

    def test_does_nothing_where_there_is_an_answer(self, connect, server):
        for settings in ({}, {"memory": ConnectMemory()}):
            with connect(server.getsockname(), 60, attempt_timeout=50, **settings) as sock:
                assert sock.getpeername() == server.getsockname()

    def test_a_server_that_was_busy_is_reached_by_a_new_attempt(self, connect):
        with testing.blackhole() as busy:
            trace = []

            def tell(message):
                trace.append(message)
                if isinstance(message, Abandon) and message.attempt == 2:
                    busy.heal()

            # Far less than the second after which the kernel would send the SYN of an attempt again.
            with connect(busy.address, 60, attempt_timeout=0.1, retry=SOON_AGAIN, trace=tell) as sock:
                assert sock.getpeername() == busy.address
        assert isinstance(trace[-1], Keep)
        assert trace[-1].attempt > 2
        assert [each.attempt for each in trace if isinstance(each, Abandon)] == list(range(1, trace[-1].attempt))


@each_driver
class TestTwoAtOnce:
    """Two attempts have ended by the time that the driver looks: what becomes of one decides over the other."""

    def three(self, connect, hole, answering, closing, **settings):
        """Connect to two addresses that are silent until the third attempt starts, and to one that stays so."""

        def tell(message):
            if isinstance(message, Start) and message.attempt == 3:
                for fault in answering:
                    fault.heal()
                for fault in closing:
                    fault.close()
                wait_until(lambda: all(1 in support.tcp_sockets(each.address[1], remote=True) for each in answering))
                wait_until(lambda: not any(2 in support.tcp_sockets(each.address[1], remote=True) for each in closing))

        names = resolver(*(fault.address for fault in (*answering, *closing)), hole)
        return connect(("name", 1), 60, resolver=names, happy_eyeballs_delay=0.01, trace=tell, **settings)

    def test_one_has_failed_as_another_connects(self, connect, hole):
        with testing.blackhole() as good, testing.blackhole() as bad, self.three(connect, hole, [good], [bad]) as sock:
            assert sock.getpeername() == good.address

    def test_one_has_failed_as_its_time_is_over(self, connect, hole):
        with testing.blackhole() as one, testing.blackhole() as two:
            dead = [one, two]
            with pytest.raises((ConnectionRefusedError, TimeoutError)) as caught:  # trio's clock may come first or last
                self.three(connect, hole, [], dead, attempt_timeout=0.9)
            assert len(caught.value.__notes__) == 3


def test_timeout_0_waits_for_no_attempt(hole):
    ran_into(BlockingIOError, Connector(attempt_timeout=5).connect, hole, 0)
