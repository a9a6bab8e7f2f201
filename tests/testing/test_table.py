"""The table of faults and clients in the documentation is what clients really do."""

import re

import pytest

from ..namespace import ROOT
from .table import CLIENTS, FAULTS, TIMEOUT, outcome

LATE = re.compile("Time|TooSlow")  # what tells of a timeout; whatever else happens has time enough on any machine
ENOUGH = 20
PAGE = ROOT / "docs/testing.md"


def table():
    """What the page says: ``{(fault, client): what}``, without the times."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    found = {}
    for fault, cells in rows:
        words = [re.sub(r", \d+ ms$", "", cell).strip("`") for cell in cells.split(" | ")]
        if len(words) == len(CLIENTS):
            found.update({(fault, client): word for client, word in zip(CLIENTS, words, strict=True)})
    return found


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")
@pytest.mark.parametrize("fault", FAULTS)
def test_the_page_says_what_happens(fault):
    expected = {client: table()[fault, client] for client in CLIENTS}
    timeouts = {client: TIMEOUT if LATE.search(expected[client]) else ENOUGH for client in CLIENTS}
    assert {client: outcome(fault, client, timeouts[client])[0] for client in CLIENTS} == expected
