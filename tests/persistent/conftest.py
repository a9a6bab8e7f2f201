"""A server, and a blocking connection to it."""

import pytest

from safeconnect import PersistentConnection

from ..replying import ReplyingServer
from .kit import AT_ONCE


@pytest.fixture
def server():
    with ReplyingServer() as replying_server:
        yield replying_server


@pytest.fixture
def connection(server):
    with PersistentConnection(server.address, retry=AT_ONCE) as persistent:
        yield persistent
