"""Who starts when, who wins, who is closed: the race, one row a scenario, with every order at its exact instant."""

import pytest

from safeconnect.events import Abandon

from .world import World, played, scripts

RACES = """
one address answers
    6.1 ok@0.123
    0: start 6.1; 0.123: keep 6.1
one address refuses
    4.1 refused@0.123
    0: start 4.1; 0.123: give up: ConnectionRefusedError
one address answers just in time
    4.1 ok@5 | timeout=5
    0: start 4.1; 5: keep 4.1
one address answers too late
    4.1 ok@5.1 | timeout=5
    0: start 4.1; 5: abandon 4.1, give up: TimeoutError
one address is silent
    4.1 silent | timeout=5
    0: start 4.1; 5: abandon 4.1, give up: TimeoutError
a timeout of nothing
    4.1 ok | timeout=0
    0: give up: TimeoutError
the third overtakes
    4.1 ok@1, 4.2 ok@1, 4.3 ok@0.2
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.7: abandon 4.1, abandon 4.2, keep 4.3
the second overtakes, the third never starts
    4.1 ok@1, 4.2 ok@0.1, 4.3 ok@0.2
    0: start 4.1; 0.25: start 4.2; 0.35: abandon 4.1, keep 4.2
a longer delay lets the first win
    4.1 ok@1, 4.2 ok@1, 4.3 ok@0.2 | delay=0.45
    0: start 4.1; 0.45: start 4.2; 0.9: start 4.3; 1: abandon 4.2, abandon 4.3, keep 4.1
no answer before the delay, then one from the first
    4.1 ok@0.3, 4.2 ok@1
    0: start 4.1; 0.25: start 4.2; 0.3: abandon 4.2, keep 4.1
an answer at the very end of the delay comes first
    4.1 ok@0.25, 4.2 ok@0
    0: start 4.1; 0.25: keep 4.1
failures start the next at once
    4.1 refused@0.1, 4.2 refused@0.2, 4.3 ok@10, 4.4 ok@0.25
    0: start 4.1; 0.1: start 4.2; 0.3: start 4.3; 0.55: start 4.4; 0.8: abandon 4.3, keep 4.4
all fail
    4.1 refused@0.1, 4.2 reset@0.2, 4.3 refused@10, 4.4 reset@0.25
    0: start 4.1; 0.1: start 4.2; 0.3: start 4.3; 0.55: start 4.4; 10.3: give up: ConnectionRefusedError
many answer, the earliest wins
    4.1 refused@0.5, 4.2 ok@10, 4.3 ok@9, 4.4 ok@8, 4.5 refused@0.5 | delay=1
    0: start 4.1; 0.5: start 4.2; 1.5: start 4.3; 2.5: start 4.4; 3.5: start 4.5; 10.5: abandon 4.3, abandon 4.4,
        keep 4.2
an early attempt fails while later ones run
    4.1 refused@0.6, 4.2 silent, 4.3 silent, 4.4 ok@0.1
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.6: start 4.4; 0.7: abandon 4.2, abandon 4.3, keep 4.4
an earlier attempt goes on and wins
    4.1 ok@0.6, 4.2 refused@0.1, 4.3 silent
    0: start 4.1; 0.25: start 4.2; 0.35: start 4.3; 0.6: abandon 4.3, keep 4.1
two fail at once, two start
    4.1 refused@0.3, 4.2 refused@0.05, 4.3 silent, 4.4 ok@0.1
    0: start 4.1; 0.25: start 4.2; 0.3: start 4.3, start 4.4; 0.4: abandon 4.3, keep 4.4
all the candidates are in flight, then the last fails
    4.1 ok@2, 4.2 refused@0.1
    0: start 4.1; 0.25: start 4.2; 2: keep 4.1
no delay between candidates
    4.1 ok@0.2, 4.2 ok@0.1 | delay=0
    0: start 4.1, start 4.2; 0.1: abandon 4.1, keep 4.2
families take turns
    6.1 silent, 6.2 silent, 4.1 ok@1, 4.2 silent
    0: start 6.1; 0.25: start 4.1; 0.5: start 6.2; 0.75: start 4.2; 1.25: abandon 6.1, abandon 6.2, abandon 4.2,
        keep 4.1
the resolver puts IPv4 first
    4.1 silent, 4.2 ok@1, 6.3 ok@0.5 | delay=1
    0: start 4.1; 1: start 6.3; 1.5: abandon 4.1, keep 6.3
no IPv6 here
    6.1 local, 4.2 ok@10, 6.3 local, 4.4 ok@0.1 | delay=1
    0: start 6.1, start 4.2; 1: start 6.3, start 4.4; 1.1: abandon 4.2, keep 4.4
no IPv4 here
    6.1 ok@10, 4.2 local, 6.3 ok@0.1, 4.4 local | delay=1
    0: start 6.1; 1: start 4.2, start 6.3; 1.1: abandon 6.1, keep 6.3
the IPv6 network is down
    6.1 nonet, 6.2 nonet, 4.1 ok@0.05
    0: start 6.1, start 4.1; 0.05: keep 4.1
no families at all
    6.1 local, 4.1 local
    0: start 6.1, start 4.1, give up: OSError EAFNOSUPPORT
one family only keeps the order
    6.3 silent, 6.1 silent, 6.2 ok@0.1
    0: start 6.3; 0.25: start 6.1; 0.5: start 6.2; 0.6: abandon 6.3, abandon 6.1, keep 6.2
the kernel gives up first
    4.1 timeout@127, 4.2 ok@300
    0: start 4.1; 0.25: start 4.2; 300.25: keep 4.2
Go: fallback wins
    6.1 silent, 4.1 ok@0.01 | delay=0.3, timeout=5
    0: start 6.1; 0.3: start 4.1; 0.31: abandon 6.1, keep 4.1
Go: primary fails at once, fallback at once
    6.1 refused, 4.1 ok@0.01 | delay=0.3
    0: start 6.1, start 4.1; 0.01: keep 4.1
Go: primary answers, fallback is closed
    6.1 ok@0.4, 4.1 ok@0.2 | delay=0.3
    0: start 6.1; 0.3: start 4.1; 0.4: abandon 4.1, keep 6.1
Go: both are silent
    6.1 silent, 4.1 silent | timeout=1
    0: start 6.1; 0.25: start 4.1; 1: abandon 6.1, abandon 4.1, give up: TimeoutError
Go: fallback fails, primary goes on
    6.1 ok@0.5, 4.1 refused@0.01 | delay=0.3
    0: start 6.1; 0.3: start 4.1; 0.5: keep 6.1
stagger shrinks to a fair share
    4.1-4 silent, 4.5 ok@0.1 | timeout=0.5
    0: start 4.1; 0.1: start 4.2; 0.2: start 4.3; 0.3: start 4.4; 0.4: start 4.5; 0.5: abandon 4.1-4, keep 4.5
stagger that fits is left alone
    4.1 silent, 4.2 silent, 4.3 ok@0.1 | timeout=0.75
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.6: abandon 4.1, abandon 4.2, keep 4.3
stagger never below 10 ms
    4.1-5 silent | timeout=0.03
    0: start 4.1; 0.01: start 4.2; 0.02: start 4.3; 0.03: abandon 4.1-3, give up: TimeoutError
a failure leaves more time to the others
    4.1 refused@0.04, 4.2 silent, 4.3 silent, 4.4 silent | timeout=0.4
    0: start 4.1; 0.04: start 4.2; 0.16: start 4.3; 0.28: start 4.4; 0.4: abandon 4.2-4, give up: TimeoutError
remembered first
    6.1 silent, 4.1 silent, 4.2 ok@0.1 | first=sockaddr("4.2")
    0: start 4.2; 0.1: keep 4.2
remembered first, then the other family
    6.1 silent, 6.2 silent, 4.1 silent, 4.2 silent, 4.3 ok@0.1 | first=sockaddr("4.2")
    0: start 4.2; 0.25: start 6.1; 0.5: start 4.1; 0.75: start 6.2; 1: start 4.3; 1.1: abandon 4.2, abandon 6.1,
        abandon 4.1, abandon 6.2, keep 4.3
remembered IPv6 first, then IPv4
    6.1 silent, 6.2 silent, 4.1 ok@0.1 | first=sockaddr("6.2")
    0: start 6.2; 0.25: start 4.1; 0.35: abandon 6.2, keep 4.1
remembered address is gone
    6.1 ok@0.1, 4.1 ok | first=sockaddr("4.9")
    0: start 6.1; 0.1: keep 6.1
remembered address is dead and costs one delay
    4.1 ok@0.1, 4.2 silent | first=sockaddr("4.2")
    0: start 4.2; 0.25: start 4.1; 0.35: abandon 4.2, keep 4.1
"""


@scripts(RACES)
def test_race(given, expected):
    assert played(given, expected) == expected


@pytest.mark.parametrize("start", [0.0, 1e6, -3.0])
def test_any_clock_will_do(start):
    world = World("6.1 silent, 4.1 ok@0.5", timeout=1, start=start).run()
    assert world.starts() == [(start, "6.1"), (start + 0.25, "4.1")]
    assert (world.kept, world.now) == ("4.1", start + 0.75)


def test_twenty_black_holes_before_a_good_address():
    world = World("4.1-20 silent, 4.21 ok@0.09", timeout=2).run()
    step = 2 / 21
    assert [time for time, _ in world.starts()] == pytest.approx([step * place for place in range(21)])
    assert [host for _, host in world.starts()] == [f"4.{number}" for number in range(1, 22)]
    abandoned = [each.attempt for _, each in world.stream if isinstance(each, Abandon)]
    assert abandoned == list(range(1, 21))
    assert world.kept == "4.21"
    assert world.now == pytest.approx(20 * step + 0.09)
