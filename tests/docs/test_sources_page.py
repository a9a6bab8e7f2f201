"""docs/sources.md shows what it claims: the code behind each row is run in a network of its own."""

import re

import pytest

from safeconnect import testing

from .. import namespace
from ..namespace import ROOT
from ..support import has_ipv6

PAGE = ROOT / "docs/sources.md"
TEXT = PAGE.read_text() if PAGE.exists() else ""
ROW = re.compile(r"^\| ([A-E]\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Which rows a block shows, and the range of source ports if it is not the usual one.
HEAD = re.compile(r"# ([A-E]\d+(?:, [A-E]\d+)*)(?:, with source ports (\d+) to (\d+))?\n")
NAMED = re.compile(r"`([^`]+)`")
WORD = re.compile(r"\w+")

# What a block may need that not every Linux has, and why it is not there.
NEEDS = {
    "AF_INET6": lambda: None if has_ipv6() else "this host has no IPv6 loopback address",
    "dead_peer": testing.namespaces_unavailable,
}

ROWS = {number: answer for number, _, answer in ROW.findall(TEXT)}
(BEGINNING,) = BLOCK.findall(TEXT) or [""]
BLOCKS = [block for page in sorted((ROOT / "docs/sources").glob("*.md")) for block in BLOCK.findall(page.read_text())]

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", BLOCKS, ids=[block.partition("\n")[0].strip("# ").replace(", ", "-") for block in BLOCKS]
)
def test_what_a_block_shows(block):
    head = HEAD.match(block)
    assert head, "it does not say which rows it shows"
    for word, reason in NEEDS.items():
        if word in block and reason():
            pytest.skip(reason())
    ports = f"{head[2]} {head[3]}" if head[2] else None
    assert namespace.run(f"{BEGINNING}\n{block}", ports=ports) == ""


@pytest.mark.parametrize("number", ROWS)
def test_a_row_is_shown_with_what_answers_it(number):
    blocks = [block for block in BLOCKS if number in numbers_of(block)]
    assert blocks, "nothing shows it"
    words = set(WORD.findall("\n".join(blocks)))
    assert {word for name in NAMED.findall(ROWS[number]) for word in WORD.findall(name)} - words == set()


def numbers_of(block):
    head = HEAD.match(block)
    return head[1].split(", ") if head else []


def test_every_row_has_a_number_of_its_own():
    numbers = [number for number, _, _ in ROW.findall(TEXT)]
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(numbers) == len(rows), "a line of a table is no row"
    for source in "ABCDE":
        own = [number for number in numbers if number[0] == source]
        assert own == [f"{source}{place}" for place in range(1, len(own) + 1)]
        assert own


def test_every_block_shows_a_row():
    assert all(numbers_of(block) for block in BLOCKS)
    assert {number for block in BLOCKS for number in numbers_of(block)} == set(ROWS)


def test_a_claim_that_is_wrong_is_noticed():
    with pytest.raises(AssertionError, match="it did not fail"):
        namespace.run(f"{BEGINNING}\nfails(int)")
