"""What clients make of each fault: the tables of ``docs/testing-recipes.md``.

``python -m tests.testing.outcomes`` writes them anew.
"""

import contextlib
import errno
import functools
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import urllib3
from requests.adapters import HTTPAdapter

from safeconnect import testing

from ..namespace import ROOT
from .clients import CLIENTS, answer, http_request, reply_to, requests_of

PAGE = ROOT / "docs/testing-recipes.md"
ENOUGH = 20  # seconds, for what does not wait for its timeout, on any machine
HEAD = "| outcome | clients |\n|---|---|\n"
MARKED = re.compile(r"^<!-- (\w+) -->\n(?:\n((?:\|.*\n)+))?", re.MULTILINE)
PACKAGES = {"httpx", "redis", "requests", "trio"}  # some of their names are those of builtins
AT_TIMEOUT = ", at the timeout"
LATE = ", later than the timeout"
DRIPPING = 3.0  # seconds for a reply that comes byte by byte, and for a lookup
REDIS_ECHO = [b"ASK", b"1", b""]
REQUESTS = {"redis-py": b"*3\r\n$3\r\nASK\r\n$1\r\n1\r\n$0\r\n\r\n"}
ANSWER, CROSSED, OWN = "the answer", "**the reply to its first request**", "**its own request**"


class Scene:
    """A fault, and how the clients are tried at it.

    :ivar make: a context manager for the name of a client: the address, and settings of the client.
    :ivar timeout: what the clients get, in seconds.
    :ivar is_fixed: all clients get that timeout. Else it is only for those whose outcome comes with the timeout.
    :ivar is_shared: there is one fault for all clients; else each has its own.
    :ivar together: the clients are tried at the same time.
    :ivar clients: the names of those that are tried.
    """

    def __init__(self, make, timeout=0.3, *, is_fixed=False, is_shared=False, together=True, clients=CLIENTS):
        self.make, self.timeout, self.is_fixed = make, timeout, is_fixed
        self.is_shared, self.together, self.clients = is_shared, together, clients

    def outcomes(self, expected=None):
        """Return what became of each client, as the page says it; ``expected`` is what the page says."""
        timeouts = dict.fromkeys(self.clients, self.timeout)
        if expected and not self.is_fixed:
            timeouts |= {client: ENOUGH for client, what in expected.items() if not what.endswith((AT_TIMEOUT, LATE))}
        return {client: written(*found, timeouts[client]) for client, found in self.run(timeouts).items()}

    def run(self, timeouts):
        """Try each client; return its outcome and the seconds that took."""
        with contextlib.ExitStack() as stack:
            make = self.make
            if self.is_shared:
                address, _ = stack.enter_context(self.make(None))
                make = lambda _client: contextlib.nullcontext((address, {}))  # noqa: E731 - one line
            pool = stack.enter_context(ThreadPoolExecutor(len(timeouts) if self.together else 1))
            tried = pool.map(functools.partial(self._try, make), timeouts, timeouts.values())
            return dict(zip(timeouts, tried, strict=True))

    @staticmethod
    def _try(make, client, timeout):
        with make(client) as (address, settings):
            between = settings.pop("between", None)
            return outcome(functools.partial(CLIENTS[client], **settings), address, timeout, between)


class Inside(Scene):
    """A fault in a host of its own, where the clients run as well, in one process and one after the other."""

    def run(self, timeouts):
        code = "import sys; from tests.testing import outcomes; outcomes.inside(*sys.argv[1:])"
        with self.make() as host:
            arguments = (self.make.__name__, json.dumps(timeouts))
            program = host.popen_python(code, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
            for line in program.stdout:
                if line.startswith("{"):
                    return json.loads(line)
                getattr(host, line.strip())()
                program.stdin.write("done\n")
                program.stdin.flush()
        raise RuntimeError("the clients have ended without a word")


def inside(scene, timeouts):
    """Try the clients in this host, and print the outcomes."""
    with testing.serve(answer, port=20999) as server, contextlib.ExitStack() as stack:
        if scene == "exposed_host":  # its one source port is taken by a connection to the same server
            stack.enter_context(socket.create_connection(server.address))
        found = {
            client: vanishing(client, server, timeout)
            if scene == "dead_peer"
            else outcome(CLIENTS[client], server.address, timeout)
            for client, timeout in json.loads(timeouts).items()
        }
    print(json.dumps(found), flush=True)


def tell(command):
    """Let the host outside do something, and wait until it is done."""
    print(command, flush=True)
    sys.stdin.readline()


def vanishing(client, server, timeout):
    """Try a connection that has been used, and whose peer vanishes before the next request."""
    try:
        return outcome(CLIENTS[client], server.address, timeout, between=lambda: tell("vanish"))
    finally:
        tell("heal")


def written(what, seconds, timeout):
    """Say of an outcome whether it took as long as the timeout."""
    if seconds < timeout:
        return what
    return what + (LATE if what == ANSWER else AT_TIMEOUT)


def outcome(client, address, timeout, between=None):
    """Return what a client has come to, in words, and the seconds that its last request took."""
    began = [time.monotonic()]

    def begin_again():
        between()
        began.append(time.monotonic())

    try:
        got = client(address, timeout, between and begin_again)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is the outcome
        what = named(error)
    else:
        what = described(got, len(began))
    return what, time.monotonic() - began[-1]


def named(error):
    """Return the class of an error as its users import it, with the errno where the class does not tell."""
    while isinstance(error, ExceptionGroup) or (type(error) is OSError and error.errno is None and error.__cause__):
        error = error.exceptions[0] if isinstance(error, ExceptionGroup) else error.__cause__  # trio's
    kind = type(error)
    package = kind.__module__.partition(".")[0]
    name = kind.__name__
    if package in PACKAGES and hasattr(sys.modules[package], name):
        name = f"{package}.{name}"
    return f"`{name}` ({errno.errorcode[error.errno]})" if kind is OSError and error.errno else f"`{name}`"


def described(got, number):
    """Say what a client has got for its request of that number: bytes, or what redis-py has made of them."""
    if got in (http_request(1), REDIS_ECHO):
        return OWN
    if answered := re.search(rb"hello (\d)", got):
        return ANSWER if int(answered[1]) == number else CROSSED
    return "a part of the answer, taken for all of it" if got else "nothing, taken for an answer"


def same(name, *arguments, **settings):
    """Make the same fault for each client."""

    @contextlib.contextmanager
    def make(_client):
        with getattr(testing, name)(*arguments, **settings) as fault:
            yield fault.address, {}

    return make


@contextlib.contextmanager
def never_reads(_client):
    with testing.never_reads() as server:
        yield server.address, {"data": bytes(30_000_000)}


@contextlib.contextmanager
def half_closes(client):
    whole = reply_to(REQUESTS.get(client, http_request(1)))
    with testing.half_closes(whole[:-8]) as server:
        yield server.address, {}


@contextlib.contextmanager
def drips(client):
    whole = reply_to(REQUESTS.get(client, http_request(1)))
    with testing.drips(DRIPPING / len(whole), data=whole) as server:
        yield server.address, {}


@contextlib.contextmanager
def crossed_replies(_client):
    """The first reply of the first connection comes once its client has given up."""
    given_up, replied = threading.Event(), threading.Event()

    def handler(peer):
        for request in requests_of(peer):
            given_up.wait(ENOUGH)
            try:
                peer.sendall(reply_to(request))
            finally:
                replied.set()

    def give_up():
        given_up.set()
        replied.wait(ENOUGH)

    with testing.serve(handler) as server:
        yield server.address, {"between": give_up}


@contextlib.contextmanager
def flaky(client):
    settings = {}
    if client == "requests":
        settings = {"adapter": HTTPAdapter(max_retries=urllib3.Retry(3, allowed_methods=None))}
    elif client == "httpx":
        settings = {"transport": httpx.HTTPTransport(retries=3)}
    elif client == "redis-py":
        settings = {"retries": 3}
    with testing.flaky([reset_at_first_byte, reset_at_first_byte, answer]) as server:
        yield server.address, settings


def reset_at_first_byte(peer):
    if peer.recv():
        peer.reset()


@contextlib.contextmanager
def tls(client):
    settings = {}
    if client in {"requests", "httpx"}:
        settings = {"scheme": "https"}
    elif client == "redis-py":
        settings = {"ssl": True}
    elif client == "asyncio":
        settings = {"ssl": ssl.create_default_context()}
    with testing.tls() as server:
        yield server.address, settings


@contextlib.contextmanager
def names(_client):
    with testing.names({}):
        yield ("db.test", 5432), {}


@contextlib.contextmanager
def slow_lookup(_client):
    """An answer that comes later than the timeout, with an address where somebody listens."""
    slow = testing.Lookup(["127.0.0.1"], delay=DRIPPING)
    with testing.serve(answer) as server, testing.names({"slow.test": slow}):
        yield ("slow.test", server.port), {}


@contextlib.contextmanager
def dual_stack(_client):
    with testing.dual_stack(v4=functools.partial(testing.serve, answer)) as both:
        yield both.address, {}


SCENES = {
    "refused": Scene(same("refused")),
    "blackhole": Scene(same("blackhole")),
    "flaky": Scene(flaky),
    "resets": Scene(same("resets", "first_byte")),
    "silent": Scene(same("silent")),
    "slow_accept": Scene(same("slow_accept", 3.0, handler=answer)),
    "never_reads": Scene(never_reads),
    "half_closes": Scene(half_closes),
    "drips": Scene(drips, timeout=1.5, is_fixed=True),
    "crossed_replies": Scene(crossed_replies, timeout=2.0, is_fixed=True),
    "self_connecting": Scene(same("self_connecting"), together=False),
    "exposed_host": Inside(testing.exposed_host),
    "dead_peer": Inside(testing.dead_peer, timeout=1.5, is_fixed=True),
    "tls": Scene(tls, clients=("requests", "httpx", "redis-py", "asyncio")),
    "names": Scene(names, together=False),
    "slow_lookup": Scene(slow_lookup, timeout=1.5, is_fixed=True, is_shared=True),
    "dual_stack": Scene(dual_stack, timeout=1.0, together=False),
}


def table(outcomes):
    """Write the outcomes of a scene as a table: a row for each outcome, with the clients that it has."""
    rows = dict.fromkeys(outcomes.values())
    of = {what: ", ".join(client for client, each in outcomes.items() if each == what) for what in rows}
    return HEAD + "".join(f"| {what} | {of[what]} |\n" for what in rows)


def tables():
    """Return what the page says: the outcomes of each scene, by client."""
    found = {}
    for scene, rows in MARKED.findall(PAGE.read_text(encoding="utf-8")):
        cells = re.findall(r"^\| (.*) \| (.*) \|$", rows, re.MULTILINE)[1:]
        found[scene] = {client: what for what, clients in cells for client in clients.split(", ")}
    return found


def outcomes_in_a_process(scene, expected):
    """Return the outcomes of a scene; what the clients leave behind, threads and caches, ends with the process."""
    command = [sys.executable, "-m", __name__, scene, json.dumps(expected)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=100, check=True)
    return json.loads(done.stdout)


def main():
    if sys.argv[1:]:
        print(json.dumps(SCENES[sys.argv[1]].outcomes(json.loads(sys.argv[2]))))
        return

    def fresh(found):
        return f"<!-- {found[1]} -->\n\n{table(SCENES[found[1]].outcomes())}"

    PAGE.write_text(MARKED.sub(fresh, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
