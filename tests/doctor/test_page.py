"""docs/doctor.md says of each finding what its rule says: `python -m tests.doctor.test_page` writes the table anew."""

import dataclasses

import pytest

from safeconnect.doctor import RULES, Snapshot, facts

from ..namespace import ROOT

PAGE = ROOT / "docs/doctor.md"
BEGIN, END = "<!-- findings: made by tests/doctor/test_page.py -->\n", "<!-- end of findings -->\n"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


def table():
    rows = [
        f"| `{rule.code}` | {', '.join(rule.severities)} | **{rule.title}.** {rule.meaning} |"
        for rule in sorted(RULES, key=lambda rule: rule.code)
    ]
    return "\n".join(["| code | severity | what it means, and what to do |", "|---|---|---|", *rows, ""])


def test_the_table_is_the_rules_own():
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == table()


@pytest.mark.parametrize(
    "kind", [facts.Host, facts.SourcePorts, facts.Timers, facts.Listening, facts.Names, facts.Table, facts.Target]
)
def test_every_fact_is_named(kind):
    text = PAGE.read_text().partition(BEGIN)[0]
    names = [*(field.name for field in dataclasses.fields(kind)), *getattr(kind, "DERIVED", ())]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_part_of_a_snapshot_is_named():
    text = PAGE.read_text()
    assert [field.name for field in dataclasses.fields(Snapshot) if f"`{field.name}" not in text] == []


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
