"""The table in docs/clients.md shows what results.json has."""

import pytest

from . import results
from .catalog import CLIENTS, GROUPS
from .client import PYTHON

pytestmark = pytest.mark.skipif(not results.PAGE.exists(), reason="the documentation is not beside these tests")


def test_it_is_up_to_date():
    (shown,) = results.TABLE.findall(results.PAGE.read_text())
    assert shown == results.rendered(results.committed()), "run python -m tests.clients.results"


def test_another_result_is_noticed():
    changed = results.committed()
    changed["requests"] |= {"install": False}
    (shown,) = results.TABLE.findall(results.PAGE.read_text())
    assert shown != results.rendered(changed)


def test_there_is_a_result_for_each_client_and_no_other():
    found = results.committed()
    assert list(found) == list(CLIENTS)
    assert {name: each["package"] for name, each in found.items()} == {
        name: client.package for name, client in CLIENTS.items()
    }
    assert len(CLIENTS) == sum(map(len, GROUPS.values())), "two clients of one name"


def test_there_are_many():
    assert len({client.package for client in CLIENTS.values()} - {PYTHON}) >= 40


def test_each_way_that_is_tested_is_told():
    for client in CLIENTS.values():
        ways = [way for way in (client.integration, client.socket, client.options) if way]
        assert not ways or client.instead, client.name


def test_what_can_be_used_instead_can_be_reached():
    found = results.committed()
    for client in CLIENTS.values():
        _, use, others = client.instead.partition("use ")
        for other in others.split(" or ") if use else ():
            assert found[other]["install"] or found[other].get("options"), other


def test_its_lines_are_short():
    for line in results.rendered(results.committed()).splitlines():
        assert len(line) <= 120, line
