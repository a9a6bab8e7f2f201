"""A simulated network on virtual time. It obeys a `Dial` and holds it to what it promises in every world.

A world is written down as text. Hosts stand in the resolver's order, each with what happens to its first attempt, its
second, ... (the last goes on for ever): ``"6.1 silent, 4.1 refused@0.1 ok@0.2"``. ``6.1`` is 2001:db8::1 and ``4.1`` is
192.0.2.1, both port 80; ``4.1-8 silent`` are eight hosts. Lookups are written likewise: ``"AAAA@0.1=6.1+6.2 A=4.1"``,
``"both@0.2!EAI_AGAIN both=4.1"``, ``"A=never AAAA="``.
"""

import errno
import heapq
import os
import re
import socket

import pytest

from safeconnect._connect.state_machine import MOST_CANDIDATES, MOST_IN_FLIGHT, Dial, Rules
from safeconnect._connect.timing import SecondAttempts, times_of_syns
from safeconnect._sockets.endpoint import written
from safeconnect.events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start, Tick
from safeconnect.retry import Backoff, Retry, is_transient

ERRORS = {
    "refused": errno.ECONNREFUSED,
    "reset": errno.ECONNRESET,
    "timeout": errno.ETIMEDOUT,
    "unreachable": errno.EHOSTUNREACH,
    "nonet": errno.ENETUNREACH,
    "local": errno.EAFNOSUPPORT,
    "denied": errno.EACCES,
    "taken": errno.EADDRNOTAVAIL,
}
NEVER = float("inf")
AT_ONCE = Backoff(0)
SECONDS = Backoff(1, jitter="none")  # 1, 2, 4, ...
LINEAR = SecondAttempts(1.0, times_of_syns(4))  # of Linux 6.5
DOUBLING = SecondAttempts()
THRICE = Retry(attempts=3, backoff=SECONDS)
ON_AND_ON = Retry(attempts=None, backoff=AT_ONCE)


def sockaddr(host):
    family, _, number = host.partition(".")
    return (f"2001:db8::{number}", 80, 0, 0) if family == "6" else (f"192.0.2.{number}", 80)


def candidate(host):
    family = socket.AF_INET6 if host[0] == "6" else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr(host)


def name_of(address):
    return ("6." if ":" in address[0] else "4.") + address[0].replace(":", ".").rpartition(".")[2]


class World:
    """Runs a dial to its end; afterwards `stream` is the whole trace: ``[(time, event or order), ...]``."""

    def __init__(self, hosts="", names=None, draw=0.5, late=0.0, start=0.0, **settings):
        self.hosts = dict(_hosts(hosts))
        self.names = _lookups(names or "both=" + "+".join(self.hosts))
        self.dial = Dial(Rules(**settings), lambda: draw)
        self.rules = self.dial.rules
        self.late = late  # how long this world's driver oversleeps
        self.now = self.start = start
        self.stream = []
        self.flying = {}  # attempt -> host
        self.met = set()  # attempts that met themselves
        self.kept = self.error = None
        self.tried = dict.fromkeys(self.hosts, 0)
        self.seconds = set()  # the second attempts
        self.began = {}  # attempt -> when its host's turn began
        self.host_of = {}  # attempt -> host, also of those that are over
        self.started = set()
        self.found = []  # hosts of this round's answers
        self._coming = []  # a heap of (time, number, event)
        self._number = 0

    # Running

    def run(self):
        self._obey(self.dial.begin(self.now))
        while not self.dial.over:
            self._receive(self._next_event())
        self._check_end()
        return self

    def _next_event(self):
        wake_at, coming = self.dial.wake_at, self._coming[0][0] if self._coming else NEVER
        assert wake_at is not None or coming < NEVER, "the dial waits for ever"
        if wake_at is not None and wake_at + self.late < coming:
            self.now = wake_at + self.late
            return Tick()
        self.now, _, event = heapq.heappop(self._coming)
        return event

    def _receive(self, event):
        self._note(event)
        if isinstance(event, Resolved):
            self.found += [name_of(each[4]) for each in event.candidates]
        attempt = getattr(event, "attempt", None)
        fresh = attempt in self.flying
        if isinstance(event, Failed) and fresh:
            del self.flying[attempt]
        if isinstance(event, Connected) and fresh and event.local == event.peer:
            self.met.add(attempt)
        orders = self.dial.receive(event, self.now)
        assert attempt is None or fresh or self.dial.over or not _about(orders, attempt), "news of an abandoned attempt"
        self._obey(orders)
        self._check_attempts()
        self._check_wake_at(idle=isinstance(event, Tick) and not orders)

    def _obey(self, orders):
        for order in orders:
            assert self.kept is None, "an order after Keep"
            assert self.error is None, "an order after GiveUp"
            self._note(order)
            getattr(self, "_" + type(order).__name__.lower())(order)

    def _note(self, message):
        assert not self.stream or self.now >= self.stream[-1][0]
        self.stream.append((self.now, message))

    # Orders

    def _resolve(self, order):
        assert not self.flying, "a lookup while attempts are in flight"
        if order.lookup != "A":
            self.started.clear()
            self.found.clear()
        answers = self.names[order.lookup]
        delay, answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            event = ResolveFailed(order.lookup, answer)
        else:
            event = Resolved(order.lookup, tuple(map(candidate, answer)))
        self._happens(delay, event)

    def _start(self, order):
        host = name_of(order.candidate[4])
        assert order.attempt not in self.flying
        if order.beside is not None:
            self._check_second(order, host)
        assert order.candidate == candidate(host)
        self.flying[order.attempt] = host
        last = self.stream[-2][1]
        # After a connect to itself the same host has another try, unless its one source port is given.
        again = isinstance(last, Abandon) and last.reset and self.host_of[last.attempt] == host
        self.host_of[order.attempt] = host
        again = self.began[last.attempt] if again else self.began.get(order.beside, self.now)
        self.began[order.attempt] = again
        assert len(self.flying) <= MOST_IN_FLIGHT
        self.started.add(host)
        assert len(self.started) <= MOST_CANDIDATES
        what, delay = self.hosts[host][min(self.tried[host], len(self.hosts[host]) - 1)]
        self.tried[host] += 1
        self._happens(delay, self._outcome(order.attempt, host, what))

    def _outcome(self, attempt, host, what):
        peer = sockaddr(host)
        if what == "self":
            return Connected(attempt, peer, peer)
        if what in ERRORS:
            return Failed(attempt, OSError(ERRORS[what], os.strerror(ERRORS[what])))
        return Connected(attempt, (sockaddr(host[0] + ".99")[0], 40000, *peer[2:]), peer)

    def _happens(self, delay, event):
        if delay < NEVER:
            self._number += 1
            heapq.heappush(self._coming, (self.now + delay, self._number, event))

    def _abandon(self, order):
        assert order.attempt in self.flying, "abandoned what is not in flight"
        assert not order.replaced or order.attempt in self.seconds
        assert order.reset == (order.attempt in self.met), "a socket that met itself is reset, and no other"
        del self.flying[order.attempt]

    def _keep(self, order):
        assert order.attempt not in self.met or self.rules.allow_self_connect, "kept a self-connect"
        last = self.stream[-2 - len(self._abandoned_at_end())][1]
        assert isinstance(last, Connected), "kept what is not connected"
        assert last.attempt == order.attempt
        self.kept = self.flying.pop(order.attempt)

    def _abandoned_at_end(self):
        count = 0
        while isinstance(self.stream[-2 - count][1], Abandon):
            count += 1
        return range(count)

    def _giveup(self, order):
        self.error = order.error

    # Promises

    def _check_second(self, order, host):
        assert self.rules.timeout is not None, "a second attempt without a deadline"
        assert self.flying[order.beside] == host, "a second attempt is beside a first one at the same address"
        assert order.beside not in self.seconds, "a second attempt beside a second one"
        assert list(self.flying.values()).count(host) == 1, "three attempts at one address"
        self.seconds.add(order.attempt)

    def _check_wake_at(self, idle):
        wake_at = self.dial.wake_at
        assert wake_at is None or wake_at >= self.now, "wants to be woken in the past"
        assert not idle or wake_at is None or wake_at > self.now, "a busy loop"

    def _check_attempts(self):
        limit = self.rules.attempt_timeout
        if limit is not None and not self.dial.over:
            assert all(self.now < self.began[attempt] + limit for attempt in self.flying), "an attempt goes on too long"

    def _check_untried(self):
        never = [host for host in dict.fromkeys(self.found) if not self.tried[host]]
        told = [note for note in getattr(self.error, "__notes__", ()) if note.startswith("not tried: ")]
        assert len(told) == bool(never)
        assert not never or told[0].count(":80") == min(len(never), 8)
        assert all(f"{written(sockaddr(host))}" in told[0] for host in never[:8])
        assert not never or self.now >= self.start + (self.rules.timeout or 0) or len(self.started) == MOST_CANDIDATES

    def _check_end(self):
        assert not self.flying, "an attempt was left open"
        assert (self.kept is None) != (self.error is None), "the dial ends with one thing"
        if self.error is not None:
            self._check_untried()
        assert self.dial.wake_at is None
        if self.rules.timeout is not None:
            assert self.now <= self.start + self.rules.timeout + self.late, "past the deadline"
        for time, _, event in sorted(self._coming, key=lambda entry: entry[:2]):
            assert self.dial.receive(event, time) == [], "an order after the end"
        assert self.dial.receive(Tick(), self.now + 1e6) == []

    # Reading the trace

    def script(self, *, lookups=False):
        """The orders, instant by instant: ``"0: start 6.1; 0.25: start 4.1; 0.3: abandon 6.1, keep 4.1"``."""
        hosts, instants = {}, {}
        for time, message in self.stream:
            if isinstance(message, Start):
                hosts[message.attempt] = name_of(message.candidate[4])
            line = _written(message, hosts)
            if line and (lookups or not isinstance(message, Resolve)):
                instants.setdefault(f"{round(time, 6):g}", []).append(line)
        return "; ".join(f"{time}: {', '.join(lines)}" for time, lines in instants.items())

    def starts(self):
        return [(time, name_of(each.candidate[4])) for time, each in self.stream if isinstance(each, Start)]


def script(hosts="", names=None, lookups=False, **settings):
    return World(hosts, names, **settings).run().script(lookups=lookups)


def _hosts(text):
    for part in filter(None, map(str.strip, text.split(","))):
        host, *outcomes = part.split()
        for each in _each(host):
            yield each, [_outcome(outcome) for outcome in outcomes]


def _each(hosts):
    """``4.1-3`` is 4.1, 4.2 and 4.3."""
    family, first, last = re.fullmatch(r"(\d)\.(\d+)(?:-(\d+))?", hosts).groups()
    return [f"{family}.{number}" for number in range(int(first), int(last or first) + 1)]


def _outcome(text):
    what, _, delay = text.partition("@")
    return what, NEVER if what == "silent" else float(delay or 0)


def _lookups(text):
    lookups = {}
    for part in text.split():
        head, _, rest = part.replace("!", "=!").partition("=")
        lookup, _, delay = head.partition("@")
        if rest.startswith("!"):
            number = getattr(socket, rest[1:])
            answer = socket.gaierror(number, rest[1:])
        else:
            answer = [host for host in rest.split("+") if host]
        delay = NEVER if rest == "never" else float(delay or 0)
        lookups.setdefault(lookup, []).append((delay, [] if rest == "never" else answer))
    return lookups


def _about(orders, attempt):
    return any(getattr(order, "attempt", None) == attempt for order in orders)


def _written(message, hosts):
    if isinstance(message, Resolve):
        return f"look up {message.lookup}"
    if isinstance(message, Start):
        return f"start {hosts[message.attempt]}"
    if isinstance(message, Abandon):
        what = "reset" if message.reset else "replace" if message.replaced else "abandon"
        return f"{what} {hosts[message.attempt]}"
    if isinstance(message, Keep):
        return f"keep {hosts[message.attempt]}"
    return f"give up: {brief(message.error)}" if isinstance(message, GiveUp) else None


def brief(error):
    """An error in a word or two: its class, and its errno where the class does not tell."""
    if isinstance(error, ExceptionGroup):
        return f"[{', '.join(map(brief, error.exceptions))}]"
    name = type(error).__name__
    if isinstance(error, socket.gaierror):
        return error.strerror
    return f"{name} {errno.errorcode[error.errno]}" if type(error) is OSError and error.errno else name


def said(number):
    """What the kernel says, as an error of this number reads."""
    return f"[Errno {number}] {os.strerror(number)}"


# What the settings of a case are written with.
NAMES = {"Retry": Retry, "Backoff": Backoff, "is_transient": is_transient, "sockaddr": sockaddr}
NAMES |= {
    "LINEAR": LINEAR,
    "DOUBLING": DOUBLING,
    "AT_ONCE": AT_ONCE,
    "SECONDS": SECONDS,
    "THRICE": THRICE,
    "ON_AND_ON": ON_AND_ON,
}


def scripts(text):
    """One test for each case: its name, its hosts and behind a bar the world's settings, the orders that it leads to.

    What is further to the right goes on with the line before.
    """
    lines = re.sub(r"\n {8}", " ", text).strip().split("\n")
    expected = (re.sub(r"(\w+) (\d\.\d+-\d+)", _for_each, line) for line in lines[2::3])
    cases = [(given.strip(), line.strip()) for given, line in zip(lines[1::3], expected, strict=True)]
    return pytest.mark.parametrize(("given", "expected"), cases, ids=lines[::3])


def _for_each(found):
    return ", ".join(f"{found[1]} {host}" for host in _each(found[2]))


def played(given, expected, **settings):
    """The script of a case, with the lookups where it is to have them."""
    hosts, _, more = given.partition("|")
    return script(hosts, lookups="look up" in expected, **settings, **eval(f"dict({more})", NAMES))
