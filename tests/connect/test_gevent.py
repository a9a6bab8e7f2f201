"""Under gevent and eventlet a connect waits without stopping the other greenlets, whatever was patched first."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest

from .. import namespace
from ..namespace import ROOT
from ..support import linux_only

PATCH = {
    "gevent": """
        import gevent.monkey
        gevent.monkey.patch_all()
        spawn, sleep = gevent.spawn, gevent.sleep
    """,
    "eventlet": """
        import eventlet
        eventlet.monkey_patch()
        spawn, sleep = eventlet.spawn, eventlet.sleep
    """,
}
IMPORT = "import safeconnect._connect.blocking_race\n"
COMMON = """
    import contextlib, socket, threading, time
    from safeconnect import Backoff, Retry, SelfConnectError, create_connection
    from tests import support

    steps = []

    def step():
        for number in range(5):
            sleep(0.01)
            steps.append(number)

    @contextlib.contextmanager
    def others_go_on(at_least, at_most):
        steps.clear()
        spawn(step)
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        assert steps, f"the other greenlet made no step in {seconds:.2f} s"
        assert at_least <= seconds < at_most, seconds

    def fails(expected, *arguments, **settings):
        try:
            create_connection(*arguments, **settings).close()
        except expected as error:
            return error
        raise AssertionError("it connected")

    def never(*_):
        threading.Event().wait()

    def waits_for_the_others(host, port, family=0, *_):
        done = threading.Event()
        spawn(done.set)
        assert done.wait(10)
        return support.resolver(good)(host, port, family)

    stack = contextlib.ExitStack()
    good = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()
"""
SCENARIOS = {
    "a connect, by literal and by name": """
        for host in ("127.0.0.1", "localhost"):
            with create_connection((host, good[1]), timeout=5) as sock:
                assert sock.getpeername() == good
                assert sock.gettimeout() == 5
                assert type(sock) is socket.socket
        with create_connection(good) as sock:
            assert sock.gettimeout() is None
    """,
    "a literal that does not answer": """
        hole = stack.enter_context(support.black_hole())
        with others_go_on(0.5, 3):
            error = fails(TimeoutError, hole, timeout=0.5)
        assert "failed after" in error.__notes__[0]
    """,
    "a literal that refuses": """
        held = stack.enter_context(support.held_port())
        fails(ConnectionRefusedError, held.getsockname(), timeout=5)
    """,
    "a dead first address": """
        hole = stack.enter_context(support.black_hole())
        with others_go_on(0.25, 2):
            with create_connection(("db.test", 1), timeout=5, resolver=support.resolver(hole, good)) as sock:
                assert sock.getpeername() == good
    """,
    "addresses that do not answer": """
        holes = stack.enter_context(support.black_hole(2))
        names = support.resolver(*holes)
        with others_go_on(0.6, 3):
            error = fails(TimeoutError, ("db.test", 1), timeout=0.6, resolver=names, happy_eyeballs_delay=0.01)
        assert len(error.__notes__) == 2
    """,
    "a pause before the next try": """
        retry = Retry(attempts=2, backoff=Backoff(initial=0.3, jitter="none"))
        held = stack.enter_context(support.held_port())
        with others_go_on(0.3, 3):
            fails(ConnectionRefusedError, held.getsockname(), timeout=5, retry=retry)
    """,
    "a lookup that needs the other greenlets": """
        for settings in ({}, {"resolution_delay": 0.05}):
            with create_connection(("db.test", 1), timeout=9, resolver=waits_for_the_others, **settings) as sock:
                assert sock.getpeername() == good
    """,
    # The end of the interpreter does not wait for them either.
    "lookups that are never answered": """
        for settings in ({}, {"resolution_delay": 0.05}):
            with others_go_on(0.3, 3):
                error = fails(TimeoutError, ("db.test", 1), timeout=0.3, resolver=never, **settings)
            assert error.__notes__ == ["while looking up host 'db.test', port 1"]
    """,
    "many connects at once": """
        done = []

        def connect():
            with create_connection(("localhost", good[1]), timeout=5, resolver=support.resolver(good, good)):
                done.append(1)

        for _ in range(50):
            spawn(connect)
        deadline = time.monotonic() + 20
        while len(done) < 50 and time.monotonic() < deadline:
            sleep(0)
        assert len(done) == 50
    """,
}

pytestmark = [linux_only, pytest.mark.slow]
on_both = pytest.mark.parametrize("tool", PATCH)
in_either_order = pytest.mark.parametrize("order", ["patched first", "safeconnect first"])


def script(tool, order, *scenarios):
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    first, second = (PATCH[tool], IMPORT) if order == "patched first" else (IMPORT, PATCH[tool])
    parts = (first, second, COMMON, *scenarios, "stack.close()", "print('done')")
    return "".join(textwrap.dedent(part) + "\n" for part in parts)


@on_both
@in_either_order
def test_the_other_greenlets_go_on(tool, order):
    # All in one process, for it takes longer to start one than to run them; what it prints tells where it stopped.
    scenarios = (f"print({name!r})\n{textwrap.dedent(scenario)}" for name, scenario in SCENARIOS.items())
    run(script(tool, order, *scenarios), [*SCENARIOS, "done"])


def run(code, expected):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=namespace.surroundings(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.returncode == 0, done.stderr


@on_both
def test_a_pause_goes_by_the_clock_of_whoever_patched_last(tool):
    # What waits is looked up at call time; the race is loaded already when it is patched.
    scenario = """
        retry = Retry(attempts=2, backoff=Backoff(initial=0.3, jitter="none"))
        held = stack.enter_context(support.held_port())
        resolver = support.resolver(held.getsockname())
        with others_go_on(0.3, 3):
            fails(ConnectionRefusedError, ("db.test", 1), timeout=None, retry=retry, resolver=resolver)
    """
    run(f"import safeconnect._connect.blocking_race\n{script(tool, 'safeconnect first', scenario)}", ["done"])


@on_both
@in_either_order
def test_it_never_connects_to_itself(tool, order):
    scenario = """
        for host in ("127.0.0.1", "localhost"):
            error = fails(SelfConnectError, (host, 40000), timeout=5)
        assert not support.tcp_sockets(40000)
        support.serve_plainly(40000)
    """
    # The namespace has one port, so that COMMON's server has to have one of its own choice.
    code = script(tool, order, scenario).replace('("127.0.0.1", 0)', '("127.0.0.1", 7)')
    assert namespace.run("import warnings\nwarnings.simplefilter('ignore')\n" + code, ports="40000 40000") == "done\n"
