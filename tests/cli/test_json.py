"""Every number in the JSON says what it is: its key names the unit, unless it counts things or is a port or an id."""

import argparse
import dataclasses
import json
import re

import pytest

from safeconnect import testing
from safeconnect._host.tcp_rows import Holding, Owner, SourceUse
from safeconnect._inspect.tcp_info import TcpInfo
from safeconnect.cli import _connect, _parser
from safeconnect.doctor import facts

from ..namespace import ROOT
from ..support import linux_only
from .terminal import call, run

PAGES = [page for name in ("command-line", "doctor") if (page := ROOT / f"docs/{name}.md").exists()]
UNIT = re.compile(r"(?:^|_)(?:seconds|bytes)(?:$|_)")
PORTS = {"port", "ports", "first", "last"}
IDS = {"pid", "exit_status"}
# By whose name a program knows what is counted.
COUNTS = {
    *("tries", "connected", "failures"),
    *("retransmits", "total_retransmits", "unacknowledged"),
    *("sockets", "source_ports", "taken", "available", "in_time_wait", "queue", "waiting", "backlog", "states"),
    *("descriptors", "descriptors_at_most", "descriptors_free", "tracked_connections", "tracked_connections_at_most"),
    *("usable", "untried", "overflows", "drops", "somaxconn", "max_syn_backlog", "max_tw_buckets"),
    *("keepalive_probes", "retries1", "retries2", "syn_retries", "syn_linear_timeouts", "synack_retries"),
}
SETTINGS = {"syncookies", "tw_reuse"}  # 0, 1 or 2, which the kernel's documentation explains
RATIOS = {"share"}  # from 0 to 1
KNOWN = PORTS | IDS | COUNTS | SETTINGS | RATIOS
ENDS = {"local", "peer"}  # as the socket module has them, [host, port]
COUNTED = {"failures", "states"}  # their keys are what is counted


def numbers(value, key=""):
    """The key of each number; that of a list is its items', too."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from numbers(each, key if key in COUNTED else name)
    elif isinstance(value, list):
        is_end = key in ENDS and len(value) == 2
        for each in value:
            yield from numbers(each, "port" if is_end else key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key


def unexplained(value):
    return {key for key in numbers(value) if key not in KNOWN and not UNIT.search(key)}


def outputs():
    """What each command prints, by its name."""
    with testing.echo() as server, testing.refused() as closed:
        up, down = (f"127.0.0.1:{each.address[1]}" for each in (server, closed))
        for command in (
            ["connect", up],
            ["connect", down],
            ["connect", up, "--repeat", "2"],
            ["connect", down, "--repeat", "2"],
            ["wait", up, down, "--timeout", "0", "-q"],
            ["wait", down, "--gone", "-q"],
            ["ports"],
            ["ports", up.rpartition(":")[2]],
            ["doctor", up],
            ["doctor", down],
        ):
            yield command[0], json.loads(call(*command, "--json").stdout)
    yield "ports", json.loads(run("ports", "-n", "2", "--json", "--", "true").stdout)


@linux_only
def test_numbers_name_their_unit():
    seen = set()
    for command, told in outputs():
        assert list(numbers(told)), "there are some"
        assert unexplained(told) == set(), command
        seen.add(command)
    (commands,) = [a for a in _parser._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert seen == {name for name, each in commands.choices.items() if "--json" in each.format_help()}, "all are here"


def keys(value):
    """All keys but what errors say and what a name stands for."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from keys(each) if name not in {*COUNTED, "tcp_info", "environment", "snapshot", "findings"} else ()
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


@linux_only
@pytest.mark.skipif(not PAGES, reason="the documentation is not beside these tests")
def test_the_documentation_has_the_keys():
    pages = "".join(page.read_text() for page in PAGES)
    for command, told in outputs():
        known = {key for key in keys(told) if f"`{key}`" not in pages}
        assert known == set(), command


FACTS = [
    *(each for each in vars(facts).values() if dataclasses.is_dataclass(each) and each.__module__.startswith("safe")),
    *(Holding, Owner, SourceUse),
]


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_facts_name_their_unit_also_where_this_machine_has_none(kind):
    named = [each.name for each in dataclasses.fields(kind) if re.search(r"\b(?:int|float)\b", str(each.type))]
    told = dict.fromkeys([*named, *getattr(kind, "DERIVED", ())], 1)
    assert unexplained(told) == set()


def test_the_state_of_a_connection_names_its_units():
    told = _connect._info_as_dict(TcpInfo("ESTABLISHED", *range(1, 13)))
    assert len(list(numbers(told))) == 12
    assert unexplained(told) == set()
    assert (told["rtt_seconds"], told["unsent_bytes"]) == (1, 12)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"rtt": 0.1}, {"rtt"}),
        ({"race": [{"began": 1}]}, {"began"}),
        ({"local": [1, 2, 3]}, {"local"}),
        ({"failures": {"refused": 3}, "local": ["::1", 80], "held": True, "wait_seconds": 1}, set()),
    ],
)
def test_a_number_without_a_unit_is_seen(told, wrong):
    assert unexplained(told) == wrong
