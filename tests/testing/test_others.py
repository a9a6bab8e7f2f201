"""What other people's probes say of a port where nobody listens and every connect meets itself: that it is up.

``nc -z`` and wait-for-it's probe are in test_namespaces.py, for they are programs of their own.
"""

import asyncio

import pytest

import safeconnect
from safeconnect import SelfConnectError, testing, wait_for_port

from .. import support


@pytest.fixture
def fault():
    with testing.self_connecting() as made:
        yield made
        assert made.meetings


def test_portend(fault):
    portend = pytest.importorskip("portend", reason="portend is not installed")
    portend.occupied(*fault.address, timeout=0)  # it raises Timeout where a port is free


def test_port_for(fault):
    port_for = pytest.importorskip("port_for", reason="port-for is not installed")
    assert port_for.port_is_used(fault.port)


def test_asyncio_open_connection(fault):
    async def main():
        reader, writer = await asyncio.open_connection(*fault.address)
        writer.write(b"ping")
        assert await reader.read(10) == b"ping"
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())


def test_ours(fault):
    support.ran_into(SelfConnectError, safeconnect.create_connection, fault.address, 5)
    error = support.ran_into(TimeoutError, wait_for_port, fault.address, 2)
    assert "met itself" in "\n".join([str(error), *getattr(error, "__notes__", [])])
