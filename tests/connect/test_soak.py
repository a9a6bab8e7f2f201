"""Many connects in one process: neither memory nor descriptors grow."""

import os
import subprocess
import sys

import pytest

from ..cli.terminal import UNMEASURED
from ..support import linux_only

pytestmark = [linux_only, pytest.mark.slow, pytest.mark.timeout(600)]

CODE = """
import asyncio, gc, os, resource, socket, sys
import safeconnect
from safeconnect.asyncio import create_connection

LINGER_0 = b"\\1\\0\\0\\0\\0\\0\\0\\0"

def measured():
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return sys.getallocatedblocks(), pages * resource.getpagesize(), len(os.listdir("/proc/self/fd"))

def dropped(sock):
    served, _ = server.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    sock.close()
    served.close()

def blocking(count):
    for _ in range(count):
        dropped(safeconnect.create_connection(address, 30))

def refused(count):
    for _ in range(count):
        try:
            safeconnect.create_connection(closed, 30)
        except ConnectionRefusedError:
            continue
        raise AssertionError("somebody listens")

def named(count):
    for _ in range(count):
        dropped(safeconnect.create_connection(("two.test", address[1]), 30, resolver=two))

def two(*_):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", end) for end in (closed, address)]

async def in_tasks(count):
    for _ in range(count):
        dropped(await create_connection(address, 30))

def on_asyncio(count):
    asyncio.run(in_tasks(count))

with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
    bound.bind(("127.0.0.1", 0))
    address, closed = server.getsockname(), bound.getsockname()
    connect, count = globals()[sys.argv[1]], int(sys.argv[2])
    connect(count // 10)
    before = measured()
    connect(count)
    print(*(now - was for now, was in zip(measured(), before)))
"""


@pytest.mark.parametrize(
    ("connect", "count"), [("blocking", 300_000), ("refused", 50_000), ("named", 20_000), ("on_asyncio", 100_000)]
)
def test_nothing_grows(connect, count):
    done = subprocess.run(
        [sys.executable, "-c", CODE, connect, str(count)],
        env=os.environ | UNMEASURED,  # it would take minutes
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    blocks, memory, descriptors = map(int, done.stdout.split())
    # An object kept by every hundredth connect would be more than that.
    assert blocks < count / 100
    assert memory < 1_000_000 + count
    assert descriptors == 0
