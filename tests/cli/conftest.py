"""A server that is up and one that is down, as they are written on a command line."""

import pytest

from safeconnect import testing

from .terminal import written


@pytest.fixture
def up():
    with testing.echo() as server:
        yield written(server.address)


@pytest.fixture
def down():
    with testing.refused() as closed:
        yield written(closed.address)
