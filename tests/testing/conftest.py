"""Hosts of their own, where there can be any."""

import pytest

from safeconnect.testing import dead_peer, exposed_host, namespaces_unavailable


@pytest.fixture
def available():
    reason = namespaces_unavailable()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def host(available):
    with exposed_host() as host:
        yield host


@pytest.fixture
def peer(available):
    with dead_peer() as peer:
        yield peer
