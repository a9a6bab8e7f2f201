"""Both ends of a connection, and what it takes for TLS."""

import contextlib
import socket
import ssl

import pytest
import trustme


@pytest.fixture
def pair(server):
    """Both ends of a connection."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(socket.create_connection(server.getsockname()))
        other = stack.enter_context(server.accept()[0])
        other.settimeout(5)
        yield one, other


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def contexts(authority):
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    return client, server
