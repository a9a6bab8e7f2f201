"""Many processes reserve ports at the same time."""

import asyncio
import http.server
import json
import socket
import subprocess
import sys

import pytest

from safeconnect._local.binding import reserve_port

from .. import namespace
from ..support import linux_only

PROCESSES, EACH = 8, 200


@pytest.mark.slow
@linux_only
def test_no_port_is_given_twice_and_every_server_starts():
    children = [
        subprocess.Popen(
            [sys.executable, "-c", "from tests.local.test_many_at_once import reserve_many; reserve_many()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=namespace.ROOT,
            env=namespace.surroundings(),
        )
        for _ in range(PROCESSES)
    ]
    for line in ("reserve", "serve"):
        for child in children:
            child.stdin.write(f"{line}\n")
            child.stdin.flush()
        answers = [json.loads(child.stdout.readline()) for child in children]
        if line == "reserve":
            ports = [port for answer in answers for port in answer]
            assert len(ports) == len(set(ports)) == PROCESSES * (EACH + 50)
        else:
            assert answers == [EACH] * PROCESSES
    for child in children:
        with child:
            child.stdin.close()
        assert child.returncode == 0


def reserve_many():
    """A child of the test above: reserve, tell, and start a server on each port when told to."""
    input()
    held = [reserve_port() for _ in range(EACH)]
    others = [socket.create_server(("127.0.0.1", 0)) for _ in range(50)]  # who ask for any port, with SO_REUSEADDR
    print(json.dumps([each.port for each in held] + [each.getsockname()[1] for each in others]), flush=True)
    input()
    started = 0
    for number, each in enumerate(held):
        (_plainly, _http, _asyncio)[number % 3](each.address)
        each.release()
        started += 1
    print(started, flush=True)
    for other in others:
        other.close()


def _plainly(address):
    socket.create_server(address).close()


def _http(address):
    http.server.HTTPServer(address, http.server.BaseHTTPRequestHandler).server_close()


def _asyncio(address):
    async def main():
        server = await asyncio.start_server(lambda *_: None, *address)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
