"""The rules as data: what each finds, what it passes over, and how findings are put."""

import re

import pytest

from safeconnect.doctor import RULES, Finding, diagnose
from safeconnect.doctor.facts import Table
from safeconnect.doctor.findings import SEVERITIES

from .cases import EXPOSED, FOUND, NOTHING, PASSED_OVER
from .snapshots import HEALTHY, attempt, busy, change, target


@pytest.mark.parametrize(("code", "severity", "words", "snapshot"), FOUND, ids=[row[0] for row in FOUND])
def test_found(code, severity, words, snapshot):
    (finding,) = [finding for finding in diagnose(snapshot) if finding.code == code]
    assert finding.severity == severity
    said = "\n".join([finding.detail, *finding.advice])
    assert [text for text in words if text not in said] == [], said


@pytest.mark.parametrize(("code", "snapshot"), PASSED_OVER, ids=[row[0] for row in PASSED_OVER])
def test_passed_over(code, snapshot):
    assert code not in [finding.code for finding in diagnose(snapshot)]


def test_nothing_is_wrong_with_a_healthy_machine():
    assert diagnose(HEALTHY) == ()


def test_what_is_not_told_is_not_judged():
    assert diagnose(NOTHING) == ()


def test_every_rule_is_in_both_tables_with_all_its_severities():
    severities = {rule.code: set() for rule in RULES}
    for code, severity, _, _ in FOUND:
        severities[code].add(severity)
    assert severities == {rule.code: set(rule.severities) for rule in RULES}
    assert {code for code, _ in PASSED_OVER} == set(severities)


def test_rules_are_told_apart():
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", code)] == []
    assert len({rule.title for rule in RULES}) == len(RULES)
    assert all(rule.meaning.endswith(".") for rule in RULES)


def test_the_worst_comes_first_and_then_the_rules_order():
    both = change(
        target=target(attempt("refused"), exposed=EXPOSED).target,
        timers={"tw_reuse": 0},
        source_ports={"usable": 5, "per_socket_range": False},
        listening={"overflows": 1},
    )
    found = diagnose(both)
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=SEVERITIES.index
    )
    assert [finding.code for finding in found] == [
        "target-refused",
        "range-tiny",
        "target-exposed",
        "listen-overflows",
        "tw-reuse-off",
        "no-per-socket-range",
    ]


def test_several_destinations_are_several_findings():
    uses = busy(28232).table.destinations + busy(28100, peer="192.0.2.7").table.destinations
    codes = [finding.code for finding in diagnose(change(table=Table({}, (), uses)))]
    assert codes == ["source-ports-exhausted"] * 2


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("linux", "sysctl -w net.ipv4.ip_local_port_range"),
        ("darwin", "sysctl -w net.inet.ip.portrange.first=49152"),
        ("win32", "netsh int ipv4 set dynamicport tcp start=49152"),
        ("sunos5", ""),
    ],
)
def test_advice_is_the_platforms(platform, words):
    (finding,) = diagnose(
        change(
            host={"platform": platform},
            source_ports={"first": 50000, "last": 50003, "usable": 4, "preferred_parity": None},
        )
    )
    assert finding.code == "range-tiny"
    assert words in "".join(finding.advice)
    assert bool(finding.advice) is bool(words)


def test_a_finding_as_json_has_it():
    finding = Finding("info", "some-code", "Title", "detail", ("one", "two"))
    assert finding.as_dict() == {
        "severity": "info",
        "code": "some-code",
        "title": "Title",
        "detail": "detail",
        "advice": ["one", "two"],
    }
