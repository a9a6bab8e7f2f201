"""Whatever the snapshot: the rules judge it and never raise, and JSON keeps it."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet
from safeconnect.doctor import RULES, Report, Snapshot, diagnose, facts
from safeconnect.doctor.findings import SEVERITIES

pytestmark = pytest.mark.slow

TEXT = st.text(max_size=8)
SAID = st.text(min_size=1, max_size=8)
COUNT = st.none() | st.integers(0, 2**31)
SECONDS = st.floats(0, 1e6, allow_nan=False)
SWITCH = st.none() | st.booleans()
ADDRESS = st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.1", "fe80::1%2", "2001:db8::1"])
PORT = st.integers(1, 65535)
RANGE = st.tuples(PORT, PORT).map(sorted)


def tuples(each, most=4):
    return st.lists(each, max_size=most).map(tuple)


@st.composite
def source_ports(draw):
    first, last = draw(st.just((None, None)) | RANGE)
    reserved = draw(tuples(RANGE.map(lambda ends: PortRange(*ends))))
    return facts.SourcePorts(
        first,
        last,
        draw(st.none() | st.just(str(PortSet(reserved)))),
        draw(st.none() | st.integers(0, 65535)),
        draw(st.sampled_from([None, "even", "odd"])),
        draw(SWITCH),
    )


owner = st.builds(facts.Owner, st.integers(1, 2**22), st.none() | TEXT)
listener = st.builds(facts.Listener, ADDRESS, PORT, COUNT, COUNT, tuples(owner))
lookup = st.builds(
    facts.Lookup,
    TEXT,
    st.sampled_from(["IPv4", "IPv6", "both"]),
    SECONDS,
    tuples(ADDRESS),
    st.sampled_from([None, "unknown", "no-address", "no-answer", "timed-out", "failed"]),
    st.none() | TEXT,
)
outcome = st.sampled_from(["connected", "refused", "met-itself", "silent", "unreachable", "no-source-port", "failed"])
attempt = st.builds(facts.Attempt, ADDRESS, PORT, SECONDS, outcome, st.booleans(), st.none() | TEXT)
exposed = st.builds(
    facts.Exposed, st.sampled_from(["exposed", "other-parity", "reserved"]), st.booleans(), SAID, tuples(SAID)
)
holder = st.builds(facts.Holder, st.none() | owner, st.integers(1, 999))
# More may be taken than is available: both are read while they change.
use = st.builds(
    facts.SourceUse,
    ADDRESS,
    st.tuples(ADDRESS, PORT),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
closed_first = st.builds(facts.ClosedFirst, listener, st.integers(1, 2**31))
table = st.builds(
    facts.Table,
    st.dictionaries(st.sampled_from(["CLOSE_WAIT", "LISTEN"]), st.integers(0, 999)),
    tuples(holder),
    tuples(use),
    tuples(closed_first),
)
end = st.tuples(st.sampled_from(["127.0.0.1", "::1"]), st.integers(80, 81))
holding = st.builds(
    facts.Holding,
    end,
    st.sampled_from(["ESTABLISHED", "TIME_WAIT", "FIN_WAIT_2"]),
    st.none() | end,
    tuples(owner),
    st.integers(1, 99),
)
# As the kernel's files: retries at most 255 (ip-sysctl.rst), times in seconds.
timers = st.builds(
    facts.Timers,
    COUNT,
    COUNT,
    COUNT,
    COUNT,
    st.none() | st.integers(0, 255),
    st.none() | st.floats(1, 120),
    st.none() | st.integers(0, 127),
    st.none() | st.integers(0, 127),
    COUNT,
    COUNT,
    st.none() | st.integers(0, 2),
)
snapshot = st.builds(
    Snapshot,
    st.builds(
        facts.Host,
        st.sampled_from(["linux", "darwin", "win32", "freebsd14"]),
        TEXT,
        SWITCH,
        st.none() | TEXT,
        COUNT,
        COUNT,
        COUNT,
        COUNT,
    ),
    source_ports(),
    timers,
    st.builds(facts.Listening, COUNT, COUNT, SWITCH, COUNT, COUNT, COUNT, st.none() | tuples(listener), COUNT),
    st.builds(facts.Names, SWITCH, st.none() | lookup, tuples(lookup)),
    st.none() | table,
    st.none() | TEXT,
    st.none()
    | st.builds(
        facts.Target,
        TEXT,
        PORT,
        SECONDS,
        lookup,
        tuples(attempt),
        st.integers(0, 99),
        st.none() | tuples(listener),
        st.none() | exposed,
        st.none() | tuples(holding),
    ),
)


@given(snapshot)
def test_any_snapshot_can_be_judged(any_snapshot):
    found = diagnose(any_snapshot)
    by_code = {rule.code: rule for rule in RULES}
    for finding in found:
        assert finding.severity in by_code[finding.code].severities
        assert finding.detail
        assert finding.title == by_code[finding.code].title
        assert all(finding.advice)
    report = Report(any_snapshot, found)
    assert report.worst == (found[0].severity if found else "ok")
    assert all(SEVERITIES.index(report.worst) <= SEVERITIES.index(finding.severity) for finding in found)


@given(snapshot)
def test_json_keeps_it(any_snapshot):
    report = Report(any_snapshot, diagnose(any_snapshot)).as_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    fields = {field.name for field in dataclasses.fields(Snapshot)}
    assert set(report["snapshot"]) == fields
    assert report["snapshot"]["timers"]["retries2"] == any_snapshot.timers.retries2
    assert len(report["findings"]) == len(diagnose(any_snapshot))


@given(snapshot)
def test_judging_twice_says_the_same(any_snapshot):
    assert diagnose(any_snapshot) == diagnose(any_snapshot)
