"""An interrupt at any moment of a lookup leaves all later ones as they were.

SAFECONNECT_ROUNDS sets how many real signals there are, 2000 say.
"""

import os
import textwrap
import threading
from functools import partial

import pytest

from safeconnect._connect.names import look_up_in_time
from safeconnect._sockets import answers, lookups

from .. import interrupting
from ..support import linux_only, python, wait_until
from .kit import FOUND, Resolver, idle, join

SIGNALS = int(os.environ.get("SAFECONNECT_ROUNDS", "150"))
SECONDS = 20.0  # far more than a lookup takes that nothing holds up


def look_up(resolver):
    return look_up_in_time(answers.Question(("host", 80), resolver), SECONDS)


@pytest.mark.parametrize("kind", ["lines", "calls"])
@pytest.mark.parametrize("before", ["no thread", "an idle thread", "a joint lookup"])
def test_an_interrupt_at_any_point(pool, monkeypatch, before, kind):
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 5.0 if before == "an idle thread" else 0.0)
    number = 0
    where = "nowhere yet"
    while where is not None:
        number += 1
        resolver = Resolver(hangs=before == "a joint lookup")
        if before == "no thread":
            join(pool)
        elif before == "an idle thread":
            look_up(Resolver(hangs=False))
            wait_until(lambda: idle(pool) == len(pool.living()))
        else:
            other = lookups.start(resolver, ("host", 80, 0, 1), lambda *_: None)
            resolver.wait_entered()
            timer = threading.Timer(0.0 if number % 2 else 0.005, resolver.open.set)
            timer.start()
        where = interrupting.interrupted_at(number, kind, partial(look_up, resolver))
        resolver.open.set()
        assert look_up(resolver) == FOUND, f"after an interrupt at {where}"
        assert look_up(Resolver(hangs=False)) == FOUND
        assert len(pool.living()) <= 3
        if before == "a joint lookup":
            other.cancel()
            timer.join()
        assert not [query for query in pool.queue if query.callers]
    assert number > 20
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 0.0)
    wait_until(lambda: not [worker.wake() for worker in pool.living()])  # idle threads end when they are woken now


@linux_only
def test_signals_at_random_moments():
    code = f"""
        import random, signal, socket, threading, time, warnings
        # A socket that was lost between two bytecodes is closed by its destructor, which warns of it.
        warnings.simplefilter("ignore", ResourceWarning)
        from safeconnect import Connector
        from tests import support

        class Interrupt(BaseException):
            pass

        armed = False

        def handler(*_):
            global armed
            if armed:
                armed = False
                raise Interrupt

        def accept():
            while True:
                server.accept()[0].close()

        def one():
            global armed
            armed = True
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.0015))
            try:
                connector.connect((f"name{{chance.randrange(3)}}", 1)).close()
            finally:
                armed = False

        server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        threading.Thread(target=accept, daemon=True).start()
        connectors = [Connector(timeout=20, resolver=support.resolver(server.getsockname()), resolution_delay=delay)
                      for delay in (None, 0.05)]
        for each in connectors:
            each.connect(("name", 1)).close()  # an import that is interrupted is not the subject
        signal.signal(signal.SIGALRM, handler)
        chance = random.Random(1)
        interrupts = wedged = most = 0
        while interrupts < {SIGNALS}:
            connector = chance.choice(connectors)
            try:
                one()
            except Interrupt:
                interrupts += 1
            except TimeoutError:
                wedged += 1
            most = max(most, sum(thread.name == "safeconnect lookup" for thread in threading.enumerate()))
        signal.setitimer(signal.ITIMER_REAL, 0)
        connector.connect(("name", 1)).close()
        print(wedged, most <= 32)
        import os, sys
        sys.stdout.flush()
        os._exit(0)
    """
    assert python(textwrap.dedent(code)) == "0 True\n"
