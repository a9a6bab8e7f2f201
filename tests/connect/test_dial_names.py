"""Looking names up: both families at once or apart, late, empty, failing, never answering."""

import socket

from .world import World, played, scripts

LOOKUPS = """
the answer comes late
    6.1 ok@0.1 | names="both@3=6.1"
    0: look up both; 3: start 6.1; 3.1: keep 6.1
no such name
    | names="both@3!EAI_NONAME"
    0: look up both; 3: give up: EAI_NONAME
an empty answer
    | names="both="
    0: look up both, give up: OSError
no answer
    | names="both=never", timeout=2
    0: look up both; 2: give up: TimeoutError
the answer comes at the deadline
    4.1 ok | names="both@2=4.1", timeout=2
    0: look up both; 2: give up: TimeoutError
the answer leaves little time
    4.1 ok@1.5 | names="both@1=4.1", timeout=2
    0: look up both; 1: start 4.1; 2: abandon 4.1, give up: TimeoutError
duplicates are dropped
    4.1 refused@0.1, 4.2 refused@0.1 | names="both=4.1+4.1+4.2+4.1"
    0: look up both, start 4.1; 0.1: start 4.2; 0.2: give up: ConnectionRefusedError
AAAA first starts at once
    6.1 ok@0.1, 4.1 ok@0.1 | names="AAAA@0.1=6.1 A@0.2=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.1: start 6.1; 0.2: keep 6.1
A first waits for AAAA
    6.1 ok@0.1, 4.1 ok@0.1 | names="AAAA@0.14=6.1 A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.14: start 6.1; 0.24: keep 6.1
A first waits in vain
    6.1 ok@0.1, 4.1 silent | names="AAAA@0.2=6.1 A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.15: start 4.1; 0.4: start 6.1; 0.5: abandon 4.1, keep 6.1
A first, AAAA fails in the wait
    4.1 ok@0.1 | names="AAAA@0.12!EAI_NONAME A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.12: start 4.1; 0.22: keep 4.1
A first, AAAA empty in the wait
    4.1 ok@0.1 | names="AAAA@0.12= A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.12: start 4.1; 0.22: keep 4.1
AAAA fails first, A at once
    4.1 ok@0.1 | names="AAAA@0.05!EAI_NONAME A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.1: start 4.1; 0.2: keep 4.1
A fails first
    6.1 ok@0.1 | names="AAAA@0.15=6.1 A@0.1!EAI_NONAME", resolution_delay=0.05
    0: look up AAAA, look up A; 0.15: start 6.1; 0.25: keep 6.1
AAAA hangs
    4.1 ok@0.1 | names="AAAA=never A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A; 0.15: start 4.1; 0.25: keep 4.1
A hangs
    6.1 ok@0.1 | names="AAAA@0.1=6.1 A=never", resolution_delay=0.05
    0: look up AAAA, look up A; 0.1: start 6.1; 0.2: keep 6.1
both hang apart
    | names="AAAA=never A=never", resolution_delay=0.05, timeout=1
    0: look up AAAA, look up A; 1: give up: TimeoutError
one fails, one hangs
    | names="AAAA@0.1!EAI_NONAME A=never", resolution_delay=0.05, timeout=1
    0: look up AAAA, look up A; 1: give up: TimeoutError
both fail apart, last one told
    | names="AAAA@0.2!EAI_AGAIN A@0.1!EAI_NONAME", resolution_delay=0.05
    0: look up AAAA, look up A; 0.2: give up: EAI_AGAIN
both empty apart
    | names="AAAA@0.2= A@0.1=", resolution_delay=0.05
    0: look up AAAA, look up A; 0.2: give up: OSError
no resolution delay
    6.1 ok@0.1, 4.1 silent | names="AAAA@0.2=6.1 A@0.1=4.1", resolution_delay=0
    0: look up AAAA, look up A; 0.1: start 4.1; 0.35: start 6.1; 0.45: abandon 4.1, keep 6.1
late A joins during the delay
    6.1 silent, 6.2 silent, 4.1 ok@0.1 | names="AAAA=6.1+6.2 A@0.1=4.1", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 0.25: start 4.1; 0.35: abandon 6.1, keep 4.1
late A joins after the delay
    6.1 silent, 4.1 ok@0.1 | names="AAAA=6.1 A@2=4.1", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 2: start 4.1; 2.1: abandon 6.1, keep 4.1
late A joins after all failed
    6.1 refused@0.1, 4.1 ok@0.1 | names="AAAA=6.1 A@2=4.1", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 2: start 4.1; 2.1: keep 4.1
late AAAA takes the next turn
    6.1 ok@0.1, 4.1 silent, 4.2 silent | names="AAAA@0.2=6.1 A=4.1+4.2", resolution_delay=0.05
    0: look up AAAA, look up A; 0.05: start 4.1; 0.3: start 6.1; 0.4: abandon 4.1, keep 6.1
late A after a failure starts at once
    6.1 refused@0.3, 6.2 silent, 4.1 ok@0.1 | names="AAAA=6.1+6.2 A@0.35=4.1", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 0.25: start 6.2; 0.35: start 4.1; 0.45: abandon 6.2, keep 4.1
late A fails and hurries nobody
    6.1 silent, 6.2 ok@0.1 | names="AAAA=6.1+6.2 A@0.1!EAI_AGAIN", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 0.25: start 6.2; 0.35: abandon 6.1, keep 6.2
late A waits out the delay of the latest attempt
    6.1 silent, 6.2 silent, 4.1 ok@0.1 | names="AAAA=6.1+6.2 A@0.35=4.1", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 0.25: start 6.2; 0.5: start 4.1; 0.6: abandon 6.1, abandon 6.2, keep 4.1
late A fails: race lost
    6.1 refused@0.1 | names="AAAA=6.1 A@2!EAI_AGAIN", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 2: give up: ConnectionRefusedError
late answer brings duplicate
    4.1 refused@0.3, 4.2 ok@0.1 | names="AAAA@0.1=4.1 A@0.2=4.1+4.2", resolution_delay=0.05
    0: look up AAAA, look up A; 0.1: start 4.1; 0.35: start 4.2; 0.45: keep 4.2
late hang with a refused
    6.1 refused@0.1 | names="AAAA=6.1 A=never", resolution_delay=0.05, timeout=1
    0: look up AAAA, look up A, start 6.1; 1: give up: TimeoutError
late A in a row shares
    6.1 silent, 4.1 ok@0.1 | names="AAAA=6.1 A@0.1=4.1", resolution_delay=0.05, timeout=10, delay=None
    0: look up AAAA, look up A, start 6.1; 5: abandon 6.1, start 4.1; 5.1: keep 4.1
later than share
    6.1 silent, 4.1 ok@0.1 | names="AAAA=6.1 A@7=4.1", resolution_delay=0.05, timeout=10, delay=None
    0: look up AAAA, look up A, start 6.1; 7: abandon 6.1, start 4.1; 7.1: keep 4.1
late A shrinks stagger
    6.1 silent, 4.1 silent, 4.2 silent, 4.3 ok@0.05 | names="AAAA=6.1 A@0.05=4.1+4.2+4.3", resolution_delay=0.05,
        timeout=0.4
    0: look up AAAA, look up A, start 6.1; 0.1: start 4.1; 0.2: start 4.2; 0.3: start 4.3; 0.35: abandon 6.1,
        abandon 4.1, abandon 4.2, keep 4.3
A waits but the deadline is earlier
    4.1 ok | names="AAAA=never A=4.1", resolution_delay=3, timeout=2
    0: look up AAAA, look up A; 2: give up: TimeoutError
the last lookup ends as the first attempt wins
    6.1 ok@0.3 | names="AAAA=6.1 A@0.3=", resolution_delay=0.05
    0: look up AAAA, look up A, start 6.1; 0.3: keep 6.1
remembered in late answers
    6.1 silent, 4.1 silent, 4.2 ok@0.1 | names="AAAA=6.1 A@0.1=4.1+4.2", resolution_delay=0.05, first=sockaddr("4.2")
    0: look up AAAA, look up A, start 6.1; 0.25: start 4.2; 0.35: abandon 6.1, keep 4.2
"""


@scripts(LOOKUPS)
def test_lookup(given, expected):
    assert played(given, expected) == expected


def test_a_lookup_cut_off_is_told():
    error = World(names="both=never", timeout=2.5, start=100.0).run().error
    assert (type(error), error.args, error.__notes__) == (
        TimeoutError,
        ("timed out",),
        ["while looking up the name"],
    )
    error = World("4.1 ok", "both@2=4.1", timeout=2).run().error
    assert error.__notes__ == ["no time was left to try the name", "not tried: 192.0.2.1:80"]
    error = World("4.1 silent", timeout=2).run().error
    assert error.__notes__ == ["192.0.2.1:80: failed after 2 s"]


def test_a_lookup_that_failed_is_raised_as_it_came():
    error = World(names="both!EAI_NONAME").run().error
    assert type(error) is socket.gaierror
    assert error.errno == socket.EAI_NONAME
    assert not hasattr(error, "__notes__")


def test_an_empty_answer_has_the_standard_librarys_words():
    assert str(World(names="both=").run().error) == "getaddrinfo returns an empty list"


def test_a_failed_lookup_never_hides_what_an_address_said():
    world = World("6.1 refused@0.1", "AAAA=6.1 A@0.5!EAI_AGAIN", resolution_delay=0.05).run()
    assert type(world.error) is ConnectionRefusedError
    assert world.now == 0.5


def test_late_families_share_the_64_places():
    six = [f"6.{number}" for number in range(1, 71)]
    four = [f"4.{number}" for number in range(1, 71)]
    hosts = ", ".join(f"{host} refused@0.02" for host in six + four)
    names = f"AAAA={'+'.join(six)} A@0.07={'+'.join(four)}"
    tried = [host for _, host in World(hosts, names, resolution_delay=0.05).run().starts()]
    assert len(tried) == 64
    assert tried[:8] == ["6.1", "6.2", "6.3", "6.4", "4.1", "6.5", "4.2", "6.6"]
    assert len([host for host in tried if host[0] == "4"]) == 30
