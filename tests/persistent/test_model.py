"""PersistentConnection against a scripted server and a model of it: any sequence of what can happen."""

import time

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from safeconnect import CrossedReplyError, PeerClosedError, PersistentConnection
from safeconnect._inspect import connection as peer

from .. import replying, support
from ..replying import ReplyingServer, number_of, request
from .kit import AT_ONCE

LIMIT = 60.0
MAX_AGE = 200.0


class Model(RuleBasedStateMachine):
    """``connections``: how many the server must have seen; ``is_up``: whether the client has one it may use."""

    def __init__(self):
        super().__init__()
        self.server = ReplyingServer()
        self.connections = 0
        self.is_up = False
        self.asked = []  # what the server must have been asked: (connection, number)
        self.number = 0
        self.now = 0.0
        self.share = 0.0  # what the chance of the next connection is
        self.old_at = 0.0

    @initialize()
    def begin(self):
        self.connection = PersistentConnection(self.server.address, retry=AT_ONCE, idle_limit=LIMIT, max_age=MAX_AGE)
        self.connection._link.clock = lambda: self.now
        self.connection._link.draw = lambda: self.share

    def teardown(self):
        if hasattr(self, "connection"):
            self.connection.close()
        self.server.__exit__()

    def expect(self, sendings=1, *, kept):
        """The model's side of exchanges that reach the server."""
        for sending in range(sendings):
            if not self.is_up:
                self.connections += 1
                self.old_at = self.now + MAX_AGE * (1 - self.share / 5)
            self.number += 1
            self.asked.append((self.connections, self.number))
            self.is_up = kept and sending == sendings - 1

    def ask(self, what=replying.ANSWER):
        with self.connection.exchange(10) as exchange:
            exchange.sendall(request(exchange.id, what))
            reply = number_of(exchange.recv_exactly(8))
            exchange.verify(reply)
        return reply

    @rule(times=st.integers(1, 5))
    def are_answered(self, times):
        for _ in range(times):
            self.expect(kept=True)
            assert self.ask() == self.number

    @rule()
    def is_answered_and_closed(self):
        self.expect(kept=True)
        assert self.ask(replying.CLOSE_AFTER) == self.number
        support.wait_until(lambda: not self.is_quiet())
        self.is_up = False

    @rule()
    def gets_more_than_it_asked_for(self):
        self.expect(kept=True)
        assert self.ask(replying.TWICE) == self.number
        support.wait_until(lambda: not self.is_quiet())
        self.is_up = False

    def is_quiet(self):
        return peer.is_quiet(self.connection._link.sock)

    @rule()
    def times_out(self):
        def work():
            with self.connection.exchange(10) as exchange:
                exchange.sendall(request(exchange.id, milliseconds=5))
                self.reached()  # however busy the machine is
                exchange._deadline = time.monotonic()
                exchange.recv_exactly(8)

        self.expect(kept=False)
        error = support.ran_into(TimeoutError, work)
        assert "no reply in time" in error.__notes__[-1]

    def reached(self):
        """Wait until the server has got what was sent."""
        support.wait_until(lambda: len(self.server.requests) == len(self.asked))

    @rule(what=st.sampled_from([replying.CLOSE, replying.HALF]))
    def is_closed_before_the_reply_is_complete(self, what):
        self.expect(kept=False)
        support.ran_into(PeerClosedError, self.ask, what)

    @rule()
    def is_reset(self):
        self.expect(kept=False)
        support.ran_into(ConnectionResetError, self.ask, replying.RESET)

    @rule()
    def raises_an_error_of_its_own(self):
        def work():
            with self.connection.exchange(10) as exchange:
                exchange.sendall(request(exchange.id))
                raise LookupError

        self.expect(kept=False)
        support.ran_into(LookupError, work)
        self.reached()

    @rule()
    def gets_a_reply_to_another_request(self):
        def work():
            with self.connection.exchange(10) as exchange:
                exchange.sendall(request(exchange.id))
                number_of(exchange.recv_exactly(8))
                exchange.verify(exchange.id - 1)

        self.expect(kept=False)
        support.ran_into(CrossedReplyError, work)

    @rule(
        seconds=st.sampled_from([1.0, LIMIT / 2, LIMIT - 1, LIMIT, 10 * LIMIT]), share=st.sampled_from([0, 0.5, 0.99])
    )
    def time_passes(self, seconds, share):
        self.now += seconds
        self.share = share
        if seconds >= LIMIT or self.now >= self.old_at:
            self.is_up = False
        self.expect(kept=True)
        assert self.ask() == self.number

    @rule(lost=st.integers(0, 2), what=st.sampled_from([replying.CLOSE, replying.RESET]))
    def is_sent_again_where_it_may_be(self, lost, what):
        asked = iter([what] * lost + [replying.ANSWER])

        def function(exchange):
            exchange.sendall(request(exchange.id, next(asked)))
            return number_of(exchange.recv_exactly(8))

        self.expect(lost + 1, kept=True)
        assert self.connection.run(function, 10, idempotent=True) == self.number

    @rule()
    def server_restarts(self):
        self.server.stop()
        self.server.start()
        self.is_up = False

    @rule()
    def server_is_down(self):
        self.server.stop()
        support.ran_into(ConnectionRefusedError, self.ask)
        self.is_up = False
        self.server.start()

    @precondition(lambda self: hasattr(self, "connection"))
    @invariant()
    def the_server_saw_what_the_model_says(self):
        assert self.server.requests == self.asked
        assert self.connection._link.lock.holder is None
        assert (self.connection._link.sock is not None) or not self.is_up


TestModel = support.linux_only(Model.TestCase)
TestModel.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
