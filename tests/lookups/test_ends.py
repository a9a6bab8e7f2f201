"""Lookups where threads are scarce: hung names beside good ones, subinterpreters, the end of the interpreter, forks."""

import os
import sys
import textwrap
import threading

import pytest

from safeconnect import ConnectMemory, Connector, RetryBudget
from safeconnect._sockets import lookups

from .. import interrupting, support
from ..cli.terminal import UNMEASURED
from ..support import in_a_child, python

pytestmark = support.linux_only
HUNG = 100


def test_a_hundred_hung_names_beside_good_ones(server):
    """Once those who asked for the hung ones have gone, the good ones have their threads."""
    over = threading.Event()

    def resolver(host, *_):
        if host.startswith("hung"):
            over.wait(60)
        return support.resolver(server.getsockname())(host, *_)

    def ask(number):
        with pytest.raises(TimeoutError):
            Connector(timeout=0.3, resolver=resolver).connect((f"hung{number}", 1))

    try:
        support.in_threads(ask, range(HUNG))
        for number in range(20):
            Connector(timeout=support.SOON, resolver=resolver).connect((f"good{number}", 1)).close()
        assert len(interrupting.lookup_threads()) <= lookups.MAX_THREADS_IN_ALL
    finally:
        over.set()


CONNECT = """
    import socket
    from safeconnect import create_connection

    def resolver(host, *_):
        if host == "hung":
            import threading
            threading.Event().wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]

    server = socket.create_server(("127.0.0.1", 0))
    def connect():
        create_connection(("a.test", 1), 5, resolver=resolver).close()
        print("connected", flush=True)
"""


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="a wait with a timeout in a subinterpreter aborts 3.12")
def test_an_isolated_subinterpreter():
    """It has no daemon threads: the name is looked up in the calling thread."""
    code = textwrap.dedent(CONNECT) + "connect()\nserver.close()\n"
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    program = f"""
        import {name} as interpreters
        code = {code!r}
        failure = interpreters.run_string(interpreters.create(), code)
        assert failure is None, failure
        import os
        os._exit(0)
    """
    # Coverage's own module for it is not made for subinterpreters, and says so.
    assert python(textwrap.dedent(program), env=os.environ | UNMEASURED) == "connected\n"


def test_the_end_of_the_interpreter_beside_a_lookup_that_hangs():
    program = textwrap.dedent(CONNECT) + textwrap.dedent("""
        import atexit
        atexit.register(connect)
        try:
            create_connection(("hung", 1), 0.05, resolver=resolver)
        except TimeoutError:
            print("timed out", flush=True)
        """)
    assert python(program) == "timed out\nconnected\n"


@pytest.mark.parametrize("owner", [ConnectMemory(), RetryBudget()], ids=["memory", "budget"])
def test_a_lock_that_another_thread_holds_at_a_fork(owner):
    def hold():
        with owner._guard.lock:
            holds.set()
            ends.wait(20)

    def work():
        owner.succeeded() if isinstance(owner, RetryBudget) else owner.forget()
        return 0

    holds, ends = threading.Event(), threading.Event()
    with support.meanwhile(hold):
        assert holds.wait(10)
        try:
            assert in_a_child(work) == 0
        finally:
            ends.set()
