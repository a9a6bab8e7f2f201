"""A server that is killed and started again every 200 ms, under threads and tasks that all have a connection to it."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import safeconnect.asyncio
from safeconnect import PersistentConnection, Retry, reserve_port

from .. import support
from . import restarting
from .restarting import REQUEST

pytestmark = [support.linux_only, pytest.mark.slow]

# The longer, the better: with SAFECONNECT_SOAK=30 as long as it is meant to be.
SECONDS = float(os.environ.get("SAFECONNECT_SOAK", "3"))
THREADS, TASKS = 50, 500
TIMEOUT = 5.0


@pytest.fixture
def server(tmp_path):
    """The address of the server, and its log."""
    log = tmp_path / "log"
    with reserve_port() as reservation:
        port = reservation.port
        program = [sys.executable, restarting.__file__, str(port), str(log)]
        with subprocess.Popen(program, stdin=subprocess.PIPE) as process:
            yield ("127.0.0.1", port), log
            process.stdin.close()
            assert process.wait(10) == 0


class Tally:
    def __init__(self):
        self.counts = Counter()
        self.end = time.monotonic() + SECONDS

    def answered(self, sent, reply):
        self.counts["right" if reply == sent else "wrong"] += 1

    def failed(self, error):
        self.counts[type(error).__name__] += 1


def work(address, client, tally):
    with PersistentConnection(address, retry=Retry()) as connection:
        while time.monotonic() < tally.end:
            try:
                with connection.exchange(TIMEOUT) as exchange:
                    sent = REQUEST.pack(client, exchange.id)
                    exchange.sendall(sent)
                    tally.answered(sent, exchange.recv_exactly(REQUEST.size))
            except OSError as error:
                tally.failed(error)


async def work_async(address, client, tally):
    async with safeconnect.asyncio.PersistentConnection(address, retry=Retry()) as connection:
        while time.monotonic() < tally.end:
            try:
                async with connection.exchange(TIMEOUT) as exchange:
                    sent = REQUEST.pack(client, exchange.id)
                    await exchange.sendall(sent)
                    tally.answered(sent, await exchange.recv_exactly(REQUEST.size))
            except OSError as error:
                tally.failed(error)


async def all_tasks(address, tally):
    await asyncio.gather(*(work_async(address, THREADS + client, tally) for client in range(TASKS)))


def test_nothing_is_crossed_nor_sent_twice(server):
    address, log = server
    tally = Tally()
    with support.meanwhile(lambda: asyncio.run(all_tasks(address, tally))):
        support.in_threads(lambda client: work(address, client, tally), range(THREADS))
    print(dict(tally.counts))
    assert tally.counts["right"] > 0
    assert tally.counts["wrong"] == 0
    assert tally.counts["ConnectionResetError"] + tally.counts["PeerClosedError"] > 0

    lines = [line.split() for line in Path(log).read_text().splitlines()]
    requests = Counter((client, number) for _, kind, client, number in (each for each in lines if len(each) == 4))
    assert max(requests.values()) == 1, "a request was sent twice"
    check_spread([(int(line[0]), int(line[2])) for line in lines if line[1] == "connection"])


def check_spread(connections):
    """They come back one by one: the middle half of them not within a few milliseconds."""
    by_generation = {}
    for generation, milliseconds in connections:
        by_generation.setdefault(generation, []).append(milliseconds)
    spreads = []
    for times in by_generation.values():
        if len(times) > 50:
            first, _, third = statistics.quantiles(times, n=4)
            spreads.append(third - first)
    print("the middle half of the reconnects, in ms:", spreads)
    assert statistics.median(spreads) > 20
