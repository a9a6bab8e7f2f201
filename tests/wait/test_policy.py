"""When a wait for a port tries again, what counts, and what it tells in the end: the policy, in virtual time."""

import errno
import itertools
import re
import socket
from dataclasses import dataclass, field
from unittest.mock import Mock, call

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import safeconnect._wait.blocking
from safeconnect._wait.policy import LAST, SHORTEST, Greeting, NotReadyError

from .kit import EXHAUSTED, REFUSED, SELF_CONNECTED, a_wait, os_error

RESET, UNREACHABLE = map(os_error, (errno.ECONNRESET, errno.ENETUNREACH))
NO_IPV6 = os_error(errno.EADDRNOTAVAIL)
SILENCE = TimeoutError("timed out")
# Binary fractions, so that a clock may begin anywhere and still be exact.
SECONDS = st.integers(0, 20 * 1024).map(lambda n: n / 1024)
MORE_THAN_0 = st.integers(10, 3 * 1024).map(lambda n: n / 1024)
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@dataclass
class Account:
    """What has become of a wait: when its tries began, what time they were given, when it was over, its note."""

    began: list = field(default_factory=list)
    given: list = field(default_factory=list)
    pauses: list = field(default_factory=list)
    over: float = 0.0
    note: str = ""


def play(wait, outcomes, now=0.0):
    """Let a wait run to its end in virtual time: each try takes so long, where it may, and ends with the error."""
    account = Account()
    for seconds, error in outcomes:
        account.began.append(now)
        account.given.append(wait.begin(now))
        is_late = seconds >= account.given[-1]
        now += min(seconds, account.given[-1])
        assert not wait.failed(SILENCE if is_late else error, now)
        try:
            pause = wait.pause(now)
        except TimeoutError as late:
            account.over = now
            (account.note,) = late.__notes__
            return account
        account.pauses.append(pause)
        now += pause
    raise AssertionError("it goes on and on")


def refusals(seconds=0.0001):
    return itertools.repeat((seconds, REFUSED))


def note_of(wait, *errors):
    """The note after these errors, one a second, the last after the deadline."""
    for number, error in enumerate(errors, 1):
        wait.begin(number - 0.5)
        assert not wait.failed(error, float(number))
    with pytest.raises(TimeoutError) as caught:
        wait.pause(100.0)
    assert (str(caught.value), caught.value.errno) == ("timed out", None)
    return caught.value.__notes__[0]


class TestWhenItTries:
    def test_pauses_grow_by_a_quarter_up_to_the_interval(self):
        account = play(a_wait(2.0, draw=lambda: 1.0), refusals())
        expected = [0.025, 0.03125, 0.0390625, 0.048828125, 0.06103515625, 0.0762939453125, 0.095367431640625, 0.1, 0.1]
        assert account.pauses[:9] == pytest.approx(expected)

    def test_an_interval_that_is_shorter_than_the_first_pause(self):
        account = play(a_wait(0.5, interval=0.01, draw=lambda: 1.0), refusals())
        assert account.pauses[:3] == pytest.approx([0.01, 0.01, 0.01])

    def test_a_server_is_never_seen_later_than_after_a_quarter_of_the_wait(self):
        account = play(a_wait(60.0, interval=1.0, draw=lambda: 1.0), refusals(0.0))
        waited = account.began
        for now, pause in zip(waited, account.pauses, strict=False):
            assert pause <= min(now / 4 + 0.025, 1.0) + 1e-9
        assert sum(now < 1.0 for now in waited) == 11

    def test_pauses_are_shortened_at_random_to_half_at_most(self):
        account = play(a_wait(2.0, draw=itertools.cycle([0.0, 1.0]).__next__), refusals())
        assert account.pauses[7:11] == pytest.approx([0.1, 0.05, 0.1, 0.05])

    def test_the_last_try_begins_just_before_the_end(self):
        account = play(a_wait(1.0), refusals())
        assert account.began[-1] == pytest.approx(1.0 - LAST)
        assert account.over == pytest.approx(1.0 - LAST + 0.0001)

    def test_a_try_in_silence_takes_its_time_or_what_is_left(self):
        account = play(a_wait(2.5, draw=lambda: 1.0), itertools.repeat((9.0, None)))
        assert account.began == pytest.approx([0.0, 1.025, 2.05625])
        assert account.given == pytest.approx([1.0, 1.0, 0.44375])
        assert account.over == 2.5

    def test_without_a_timeout_it_never_ends(self):
        wait = a_wait(None)
        for now in range(10_000):
            assert wait.begin(now * 1e6) == 1.0
            assert not wait.failed(REFUSED, now * 1e6)
            assert 0 < wait.pause(now * 1e6) <= 0.1

    def test_with_no_time_there_is_one_try_which_has_its_own(self):
        account = play(a_wait(0, attempt_timeout=0.7), refusals())
        assert (account.began, account.given) == ([0.0], [0.7])

    def test_the_shortest_time_is_enough_for_one(self):
        account = play(a_wait(1e-9), refusals())
        assert account.given == [SHORTEST]

    def test_what_is_left_of_a_try(self):
        wait = a_wait(2.0, attempt_timeout=0.5)
        wait.begin(1.0)
        assert wait.left(1.1) == pytest.approx(0.4)
        with pytest.raises(TimeoutError, match="timed out"):
            wait.left(1.5)
        wait.begin(1.9)
        assert wait.left(1.95) == pytest.approx(0.05)

    @given(
        timeout=SECONDS,
        interval=MORE_THAN_0,
        attempt_timeout=MORE_THAN_0,
        durations=st.lists(SECONDS | st.integers(0, 20).map(lambda n: n / 1024), min_size=1, max_size=40),
        draws=st.lists(st.integers(0, 63).map(lambda n: n / 64), min_size=1, max_size=40),
        now=st.integers(-(10**9), 10**9).map(lambda n: n / 1024),
    )
    @example(timeout=0.25, interval=0.125, attempt_timeout=1.0, durations=[0.0], draws=[0.0], now=0.0)
    def test_as_a_naive_model_does(self, *, timeout, interval, attempt_timeout, durations, draws, now):
        wait = a_wait(
            timeout,
            interval=interval,
            attempt_timeout=attempt_timeout,
            draw=itertools.cycle(draws).__next__,
            now=now,
        )
        account = play(wait, ((seconds, REFUSED) for seconds in itertools.cycle(durations)), now)
        end = now + timeout
        assert all(0 < pause <= interval for pause in account.pauses)
        assert all(seconds <= attempt_timeout for seconds in account.given)
        assert all(began <= end - LAST + 1e-6 for began in account.began[1:])
        if timeout:
            assert end - LAST - SHORTEST < account.over <= end + SHORTEST
        tries = naive_count(timeout, interval, attempt_timeout, durations, draws)
        assert len(account.began) == tries
        counted = re.findall(r"(?:refused|timed out|cut short) (?:(once)|(\d+) times)", account.note.partition(";")[0])
        assert sum(1 if once else int(count) for once, count in counted) == tries


def naive_count(timeout, interval, attempt_timeout, durations, draws):
    """How many tries there are, by a clock that begins at 0."""
    now, cap = 0.0, min(0.025, interval)
    for count in itertools.count(1):
        seconds, drawn = durations[(count - 1) % len(durations)], draws[(count - 1) % len(draws)]
        now += min(seconds, attempt_timeout, max(timeout - now, 0.001) if timeout else attempt_timeout)
        if timeout - 0.01 - now < 0.001:
            return count
        now = min(now + cap * (1 + drawn) / 2, timeout - 0.01)
        cap = min(cap * 1.25, interval)
    return None


class TestWhatItTells:
    def test_the_whole_note(self):
        wait = a_wait(5.0, draw=lambda: 1.0)
        account = play(wait, itertools.chain([(9.0, None)] * 2, refusals(0.0002)))
        assert account.note == (
            "127.0.0.1:8000 was not up within 5 s: timed out 2 times, refused 33 times; "
            f"the last after 4.99 s: {REFUSED}"
        )

    def test_a_try_that_the_end_cuts_short_says_nothing_new(self):
        account = play(a_wait(1.0), itertools.chain([(0.9, REFUSED)], itertools.repeat((9.0, None))))
        assert account.note.endswith(f"1 s: refused once, cut short once; the last after 900 ms: {REFUSED}")
        account = play(a_wait(0.5), itertools.repeat((9.0, None)))
        assert account.note.endswith("500 ms: timed out once; the last after 500 ms: timed out")

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (REFUSED, "refused once"),
            (SELF_CONNECTED, "met itself once"),
            (SILENCE, "timed out once"),
            (os_error(errno.ETIMEDOUT), "timed out once"),
            (RESET, "reset once"),
            (AGAIN, "name not looked up once"),
            (UNREACHABLE, "ENETUNREACH once"),
            (os_error(errno.EMFILE), "EMFILE once"),
            (EXHAUSTED, "EADDRNOTAVAIL once"),
            (OSError("getaddrinfo returns an empty list"), "OSError once"),
            (OSError(99_999, "unheard of"), "OSError once"),
        ],
        ids=str,
    )
    def test_each_kind(self, error, kind):
        expected = f"127.0.0.1:8000 was not up within 5 s: {kind}; the last after 1 s: {error}"
        assert note_of(a_wait(), error) == expected

    def test_kinds_in_the_order_in_which_they_first_came(self):
        note = note_of(a_wait(9.0), SILENCE, REFUSED, RESET, REFUSED, SILENCE, REFUSED)
        assert ": timed out 2 times, refused 3 times, reset once; the last after 6 s: [Errno " in note

    def test_an_error_without_words_has_its_name(self):
        assert note_of(a_wait(), TimeoutError()).endswith(": timed out")
        assert note_of(a_wait(), BlockingIOError()).endswith(": BlockingIOError")

    def test_what_a_check_saw(self):
        wait = a_wait(check=b"220 ")
        for error in (SILENCE, SILENCE, RESET):
            wait.begin(1.0)
            assert not wait.check_failed(error, 2.0)
        assert not wait.check_failed(NotReadyError("busy\n"), 2.5)
        assert not wait.checked(None, "the check said no", 3.0)
        wait.begin(4.9)
        assert not wait.check_failed(SILENCE, 5.0)
        seen = "connected, then timed out 2 times, connected, then reset once, not ready once, wrong answer once"
        seen += ", cut short once"
        assert note_of(wait).endswith(f" 5 s: {seen}; the last after 3 s: the check said no")
        assert wait.checked(1, "", 5.0) is True

    def test_the_addresses_of_a_name_as_the_last_try_saw_them(self):
        wait = a_wait()
        early, late = TimeoutError("timed out"), os_error(errno.ECONNREFUSED)
        early.add_note("127.0.0.2:8000: timed out after 1 s")
        late.add_note("127.0.0.1:8000: refused after 0.1 ms")  # would say the same again
        late.add_note("[::1]:8000: refused after 0.11 ms")
        for error in (early, late):
            wait.begin(0.0)
            wait.failed(error, 1.0)
        with pytest.raises(TimeoutError) as caught:
            wait.pause(5.0)
        assert caught.value.__notes__[1:] == ["[::1]:8000: refused after 0.11 ms"]
        wait.checked(None, "the check said no", 4.0)
        with pytest.raises(TimeoutError) as caught:
            wait.pause(5.0)
        assert len(caught.value.__notes__) == 1


class TestWhatCounts:
    def test_a_connection_is_up(self):
        wait = a_wait()
        wait.begin(0.0)
        assert wait.connected(0.1)

    @pytest.mark.parametrize(
        "error",
        [
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            socket.gaierror(getattr(socket, "EAI_NODATA", socket.EAI_NONAME), "No address associated with hostname"),
            socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
            os_error(errno.EACCES),
            os_error(errno.EPERM),
            ExceptionGroup("of a resolver", [LookupError()]),
            type("PortError", (socket.gaierror, ValueError), {})(socket.EAI_SERVICE, "port must be 0-65535"),
            type("PortTypeError", (OSError, TypeError), {})("port must be an int"),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("gone", [False, True])
    def test_what_waiting_does_not_mend_is_raised(self, error, gone):
        wait = a_wait(gone=gone)
        wait.begin(0.0)
        with pytest.raises(type(error)) as caught:
            wait.failed(error, 0.1)
        assert caught.value is error

    @pytest.mark.parametrize("error", [REFUSED, SELF_CONNECTED], ids=str)
    def test_a_refusal_is_gone(self, error):
        for each in (error, ExceptionGroup("all", [error])):
            wait = a_wait(gone=True)
            wait.begin(0.0)
            assert wait.failed(each, 0.1)

    @pytest.mark.parametrize(
        "errors",
        [[REFUSED, REFUSED], [REFUSED, NO_IPV6], [UNREACHABLE, REFUSED], [os_error(errno.EAFNOSUPPORT), REFUSED]],
        ids=str,
    )
    def test_gone_from_each_address_there_is_a_way_to(self, errors):
        wait = a_wait(gone=True)
        wait.begin(0.0)
        assert wait.failed(ExceptionGroup("all", errors), 0.1)

    @pytest.mark.parametrize(
        ("errors", "kind"),
        [
            ([SILENCE], "timed out"),
            ([REFUSED, SILENCE], "timed out"),
            ([SILENCE, NO_IPV6, RESET, REFUSED], "reset"),
            ([NO_IPV6], "EADDRNOTAVAIL"),
            ([REFUSED, EXHAUSTED], "EADDRNOTAVAIL"),
            ([os_error(errno.EHOSTUNREACH), REFUSED], "EHOSTUNREACH"),
            ([AGAIN], "name not looked up"),
        ],
        ids=str,
    )
    def test_anything_else_is_not(self, errors, kind):
        error = ExceptionGroup("all", errors) if len(errors) > 1 else errors[0]
        assert f"was not gone within 5 s: {kind} once; " in note_of(a_wait(gone=True), error)

    def test_a_refusal_when_time_was_up_is_not_for_there_may_be_other_addresses(self):
        wait = a_wait(gone=True)
        seconds = wait.begin(0.0)
        assert not wait.failed(ExceptionGroup("all", [REFUSED]), seconds)
        wait.begin(4.0)
        assert wait.failed(ExceptionGroup("all", [REFUSED]), 4.1)

    def test_nor_is_a_connection(self):
        wait = a_wait(gone=True)
        wait.begin(0.0)
        assert not wait.connected(0.1)
        assert note_of(wait).endswith("was not gone within 5 s: connected once; the last after 100 ms: connected")


@pytest.mark.parametrize("pieces", [1, 2, 4])
@pytest.mark.parametrize(
    ("sent", "is_right", "read"), [(b"220 ready", True, 4), (b"200 OK", False, 2), (b"22", False, 2), (b"", False, 0)]
)
def test_greeting(sent, is_right, read, pieces):
    """It is read up to where it ends or differs, whatever pieces it comes in, and not a byte further."""
    greeting, position = Greeting(b"220 "), 0
    while greeting.missing:
        piece = sent[position : position + min(pieces, greeting.missing)]
        position += len(piece)
        greeting.received(piece)
    assert greeting.is_right is is_right
    assert position == min(max(read, pieces), len(sent), 4)
    assert is_right or greeting.text == f"it sent {sent[:position]!r} in the place of b'220 '"


def test_the_bytes_share_the_time_of_the_try(monkeypatch):
    monkeypatch.setattr(safeconnect._wait.blocking, "monotonic", itertools.count().__next__)
    wait = a_wait(10.0, attempt_timeout=5, check=b"220 ")
    wait.begin(0.0)
    sock = Mock(recv=Mock(side_effect=[b"2", b"2", b"0", b" "]))
    assert safeconnect._wait.blocking._is_right(sock, wait)
    assert sock.settimeout.mock_calls == [call(5), call(4), call(3), call(2)]
