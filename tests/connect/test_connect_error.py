"""What is said and in which order, to the letter: addresses, turns, ranks, notes, groups."""

import errno
import os
import socket

import pytest

from safeconnect import SelfConnectError
from safeconnect._connect.connect_error import chosen, conclude, rank, self_connect_error
from safeconnect._connect.order import interleaved, without_duplicates
from safeconnect._sockets.endpoint import same_endpoint, same_host, written
from safeconnect.retry import Backoff, Retry

from .world import World, candidate, said

ONE, TWO = ("192.0.2.1", 80), ("2001:db8::2", 80, 0, 0)


def failure(number):
    return OSError(number, os.strerror(number))


class TestSameEndpoint:
    @pytest.mark.parametrize(
        ("local", "peer", "same"),
        [
            (("127.0.0.1", 5), ("127.0.0.1", 5), True),
            (("127.0.0.1", 5), ("127.0.0.1", 6), False),
            (("127.0.0.1", 5), ("127.0.0.2", 5), False),
            (("::1", 5, 0, 0), ("::1", 5, 7, 0), True),  # flow labels
            (("::1", 5, 0, 1), ("::1", 5, 0, 2), True),  # a scope without meaning
            (("fe80::1", 5, 0, 1), ("fe80::1", 5, 0, 2), False),
            (("fe80::1", 5, 0, 2), ("fe80::1", 5, 0, 2), True),
            (("FE80::1%eth0", 5, 0, 2), ("fe80::1", 5, 0, 2), True),
            (("fe90::1", 5, 0, 1), ("fe90::1", 5, 0, 2), False),
            (("fea0::1", 5, 0, 1), ("fea0::1", 5, 0, 2), False),
            (("febf::1", 5, 0, 1), ("febf::1", 5, 0, 2), False),
            (("fec0::1", 5, 0, 1), ("fec0::1", 5, 0, 2), True),
            (("::ffff:127.0.0.1", 5, 0, 0), ("127.0.0.1", 5), True),
            (("::FFFF:127.0.0.1", 5, 0, 0), ("127.0.0.1", 5), True),
            (("::ffff:7f00:1", 5, 0, 0), ("7f00:1", 5), False),
            (("fe80::1", 5), ("fe80::1", 5, 0, 0), True),
            (("127.0.0.1", 1), ("127.0.0.1", 1), True),
            (("127.0.0.1", 0), ("127.0.0.1", 0), False),  # no port yet
            ("/run/socket", "/run/socket", False),
            (("127.0.0.1", 5), "/run/socket", False),
            (("fe80::1", 5, 0, 2), ("fe80::1%eth0", 5, 0, 2), True),
            (("::ffff:10.0.0.1", 5, 0, 0), ("::ffff:10.0.0.2", 5, 0, 0), False),
            ("", "", False),
            (b"\0name", b"\0name", False),
            ((0, 0), (0, 0), False),
            (("0.0.0.0", 0), ("0.0.0.0", 0), False),
        ],
    )
    def test_compares_as_seen_from_outside(self, local, peer, same):
        assert same_endpoint(local, peer) is same
        assert same_endpoint(peer, local) is same

    def test_a_host_has_no_port(self):
        assert same_host(("127.0.0.1", 5), ("127.0.0.1", 6))
        assert not same_host(("127.0.0.1", 5), b"")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("localhost", "http"), "localhost:http"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("::1", 80), "[::1]:80"),
        (("fe80::1", 80, 0, 2), "[fe80::1%2]:80"),
        (("fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80"),
        ((b"localhost", 80), "localhost:80"),
        ((bytearray(b"\xe9"), 80), "é:80"),
        (("", 0), ":0"),
        ("/run/socket", "/run/socket"),
        (("alone",), "('alone',)"),
    ],
)
def test_written(name, text):
    assert written(name) == text


class TestOrder:
    @pytest.mark.parametrize(
        ("given", "last", "expected"),
        [
            ("", None, ""),
            ("6.1", None, "6.1"),
            ("6.1 6.2 4.1 4.2", None, "6.1 4.1 6.2 4.2"),
            ("4.1 6.1 6.2 6.3", None, "4.1 6.1 6.2 6.3"),
            ("6.1 6.2 6.3 4.1", None, "6.1 4.1 6.2 6.3"),
            ("4.2 4.1 6.1", None, "4.2 6.1 4.1"),
            ("6.1 4.1 6.2", socket.AF_INET6, "4.1 6.1 6.2"),
            ("6.1 4.1 6.2", socket.AF_INET, "6.1 4.1 6.2"),
            ("6.1 6.2", socket.AF_INET6, "6.1 6.2"),
        ],
    )
    def test_families_take_turns(self, given, last, expected):
        assert interleaved(list(map(candidate, given.split())), last) == list(map(candidate, expected.split()))

    def test_duplicates_are_dropped_over_calls(self):
        seen = {}
        first = without_duplicates(map(candidate, ["4.1", "6.1", "4.1"]), seen)
        assert first == [candidate("4.1"), candidate("6.1")]
        assert without_duplicates(map(candidate, ["6.1", "4.2"]), seen) == [candidate("4.2")]

    def test_the_family_and_the_whole_address_count(self):
        scoped = [(socket.AF_INET6, 1, 6, "", ("fe80::1", 80, 0, scope)) for scope in (1, 2)]
        other = (socket.AF_INET, *scoped[0][1:])
        assert without_duplicates([*scoped, other, scoped[0]], {}) == [*scoped, other]


class TestVerdict:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (failure(errno.ECONNREFUSED), 3),
            (failure(errno.ECONNRESET), 3),
            (SelfConnectError(errno.ECONNREFUSED, "itself"), 3),
            (failure(errno.ETIMEDOUT), 2),
            (TimeoutError("timed out"), 2),
            (failure(errno.ENETUNREACH), 1),
            (failure(errno.EHOSTUNREACH), 1),
            (failure(errno.ENETDOWN), 1),
            (failure(errno.EAFNOSUPPORT), 0),
            (failure(errno.EACCES), 0),
            (OSError("no number"), 0),
        ],
    )
    def test_rank(self, error, expected):
        assert rank(error) == expected

    @pytest.mark.parametrize(
        ("hosts", "expected"),
        [
            ("4.1 refused, 4.2 timeout, 4.3 nonet, 4.4 local", ConnectionRefusedError),
            ("4.1 local, 4.2 nonet, 4.3 timeout, 4.4 refused", ConnectionRefusedError),
            ("4.1 timeout, 4.2 nonet, 4.3 local", TimeoutError),
            ("4.1 refused, 4.2 reset", ConnectionResetError),
            ("4.1 reset, 4.2 refused", ConnectionRefusedError),
            ("4.1 denied, 4.2 local, 4.3 unreachable, 4.4 denied", OSError),
            ("4.1 local, 4.2 denied", PermissionError),
        ],
    )
    def test_the_error_that_tells_most_is_raised_and_of_equals_the_last(self, hosts, expected):
        assert type(World(hosts).run().error) is expected

    def test_of_equals_the_last(self):
        first, last = failure(errno.ECONNREFUSED), failure(errno.ECONNREFUSED)
        assert chosen([(ONE, first, 0.0), (ONE, last, 0.0), (TWO, failure(errno.ENETDOWN), 0.0)]) is last

    def test_notes_tell_the_story_line_by_line(self):
        error = World("6.1 unreachable@0.002, 4.1 refused@1.5, 4.2 silent", timeout=3).run().error
        assert type(error) is TimeoutError
        assert error.__notes__ == [
            f"[2001:db8::1]:80: {said(errno.EHOSTUNREACH)} after 2 ms",
            f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 1.5 s",
            "192.0.2.2:80: timed out after 2.75 s",
        ]

    def test_notes_name_what_was_cut_off_by_whom(self):
        error = World("4.1 silent, 4.2 silent", delay=None, timeout=5).run().error
        assert error.__notes__ == [
            "192.0.2.1:80: timed out (its share of the time) after 2.5 s",
            "192.0.2.2:80: timed out after 2.5 s",
        ]
        hosts = ", ".join(f"4.{number} silent" for number in range(1, 10))
        error = World(hosts, timeout=9).run().error
        assert error.__notes__[:2] == [
            "192.0.2.1:80: timed out (it had to make room for the next address) after 2 s",
            "192.0.2.2:80: timed out after 8.75 s",
        ]
        assert len(error.__notes__) == 9

    def test_notes_name_the_source(self):
        error = World("4.1 refused", source=("192.0.2.7", 0)).run().error
        assert error.__notes__ == ["192.0.2.1:80 from 192.0.2.7:0: failed after 0 ms"]

    def test_an_attempt_that_met_itself_is_timed_from_its_first_try(self):
        error = World("4.1 self@0.1 self@0.2 refused@0.3").run().error
        assert error.__notes__ == ["192.0.2.1:80: failed after 600 ms"]

    def test_all_errors_gives_one_for_each_address_with_its_own_lines(self):
        group = World("4.1 refused@0.1, 6.1 silent", all_errors=True, timeout=2).run().error
        assert (type(group), group.message) == (ExceptionGroup, "create_connection failed")
        assert [(type(each), each.__notes__) for each in group.exceptions] == [
            (ConnectionRefusedError, ["192.0.2.1:80: failed after 100 ms"]),
            (TimeoutError, ["[2001:db8::1]:80: failed after 1.9 s"]),
        ]

    def test_all_errors_keeps_the_last_of_each_address(self):
        old, new, other = failure(errno.ECONNREFUSED), failure(errno.ECONNRESET), failure(errno.ENETDOWN)
        again = (ONE[0], ONE[1])  # as each round looks up anew, equal addresses are objects of their own
        assert again is not ONE
        group = conclude([(ONE, old, 0.1), (TWO, other, 1.0), (again, new, 0.2)], None, all_errors=True)
        assert group.exceptions == (new, other)
        assert new.__notes__ == [
            f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 100 ms",
            f"192.0.2.1:80: {said(errno.ECONNRESET)} after 200 ms",
        ]

    def test_all_errors_of_no_address_is_the_error_of_the_lookup(self):
        error = World(names="both!EAI_NONAME", all_errors=True).run().error
        assert type(error) is socket.gaierror

    def test_an_error_given_is_the_one_raised(self):
        given = TimeoutError("timed out")
        assert conclude([(ONE, failure(errno.ECONNREFUSED), 0.1)], None, all_errors=False, error=given) is given
        assert given.__notes__ == [f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 100 ms"]
        assert conclude([], None, all_errors=True, error=given) is given

    def test_lines_are_counted_by_address_class_and_errno(self):
        refused = [(ONE, failure(errno.ECONNREFUSED), seconds) for seconds in (0.1, 0.2)]
        itself = SelfConnectError(errno.ECONNREFUSED, "itself")
        error = conclude([*refused, (ONE, itself, 0.3), (TWO, failure(errno.ECONNREFUSED), 0.4)], None, False)  # noqa: FBT003
        assert error.__notes__ == [
            f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 200 ms (2 times)",
            f"192.0.2.1:80: [Errno {errno.ECONNREFUSED}] itself after 300 ms",
            f"[2001:db8::2]:80: {said(errno.ECONNREFUSED)} after 400 ms",
        ]

    def test_what_the_error_says_its_only_note_does_not_say_again(self):
        error = World("4.1 refused@0.1").run().error
        assert (str(error), error.__notes__) == (said(errno.ECONNREFUSED), ["192.0.2.1:80: failed after 100 ms"])
        error = World("4.1 silent", timeout=2).run().error
        assert (str(error), error.__notes__) == ("timed out", ["192.0.2.1:80: failed after 2 s"])
        retry = Retry(attempts=2, backoff=Backoff(1, jitter="none"))
        error = World("4.1 refused@0.1", retry=retry).run().error
        assert error.__notes__ == ["192.0.2.1:80: failed after 100 ms (2 times)"]
        error = World("4.1 self@0.1", port_is_given=True).run().error
        assert error.__notes__ == ["192.0.2.1:80: failed after 100 ms"]

    def test_of_several_addresses_each_note_names_its_address_once(self):
        error = World("4.1 self@0.1, 4.2 refused@0.1", port_is_given=True).run().error
        assert error.__notes__[0] == (
            f"192.0.2.1:80: [Errno {errno.ECONNREFUSED}] the socket connected to itself "
            "(its source address is the target) after 100 ms"
        )

    def test_the_error_of_a_self_connect(self):
        error = self_connect_error(TWO, 16)
        assert (type(error), error.errno) == (SelfConnectError, errno.ECONNREFUSED)
        start = "nobody listens on [2001:db8::2]:80: the socket connected to itself"
        assert error.strerror == f"{start} (16 of 16 tries)"
        assert self_connect_error(TWO, 1).strerror == f"{start} (its source address is the target)"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_compares_ports_by_value(host):
    """The kernel's answers are objects of their own: 40000 is not 40000, 5 is."""
    local, peer = [(host, int("40000")) for _ in range(2)]
    assert local[1] is not peer[1], "CPython keeps small ints only"
    assert same_endpoint(local, peer)


def test_families_are_compared_by_value():
    """A resolver of the user's own may give plain ints, the socket module gives an enum."""
    given = list(map(candidate, ["6.1", "4.1", "6.2"]))
    assert interleaved(given, int(socket.AF_INET6)) == list(map(candidate, ["4.1", "6.1", "6.2"]))


def test_all_errors_tells_of_all_rounds():
    retry = Retry(attempts=2, backoff=Backoff(1, jitter="none"))
    group = World("4.1 refused@0.1 reset@0.2", retry=retry, all_errors=True).run().error
    assert [each.__notes__ for each in group.exceptions] == [
        [
            f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 100 ms",
            f"192.0.2.1:80: {said(errno.ECONNRESET)} after 200 ms",
        ]
    ]
