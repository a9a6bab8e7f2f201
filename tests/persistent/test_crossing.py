"""A late reply never reaches the next request: thousands of exchanges with delays around their timeout.

SAFECONNECT_EXCHANGES sets how many there are for each driver, 10000 say.
"""

import os
import random
import socket

import pytest

from .. import support
from ..replying import number_of, read_exactly, request
from .kit import AT_ONCE, each_driver

pytestmark = [support.linux_only, pytest.mark.slow]

CONNECTIONS = 10
EACH = int(os.environ.get("SAFECONNECT_EXCHANGES", "2500")) // CONNECTIONS
TIMEOUT = 0.008


def timeout_of(number):
    """Every tenth exchange has time enough, however busy the machine is: so some are answered."""
    return TIMEOUT if number % 10 else 30


class Tally:
    """What has become of the exchanges of one connection."""

    def __init__(self, seed):
        self.right = self.late = self.wrong = 0
        self.random = random.Random(seed)

    def question(self, number):
        late = self.random.randint(0, round(2000 * TIMEOUT)) if number % 10 else 0
        return request(number, milliseconds=late)

    def answered(self, number, reply):
        if reply == number:
            self.right += 1
        else:
            self.wrong += 1


def in_threads(work):
    tallies = [Tally(seed) for seed in range(CONNECTIONS)]
    support.in_threads(work, tallies)
    return tallies


@each_driver
def test_no_reply_crosses(run, server):
    async def scenario(connect, tally):
        async with connect(server.address, retry=AT_ONCE) as connection:
            for number in range(1, EACH + 1):
                try:
                    async with connection.exchange(timeout_of(number)) as exchange:
                        await exchange.sendall(tally.question(exchange.id))
                        tally.answered(exchange.id, number_of(await exchange.recv_exactly(8)))
                except TimeoutError:
                    tally.late += 1

    tallies = in_threads(lambda tally: run(lambda connect: scenario(connect, tally)))
    right, late, wrong = (sum(getattr(tally, kind) for tally in tallies) for kind in ("right", "late", "wrong"))
    assert right + late + wrong == CONNECTIONS * EACH
    assert right > 0
    assert late > 0
    assert wrong == 0


def test_a_naive_client_crosses_them(server):
    """The same with a socket that is used again after a timeout: this test can tell."""

    def work(tally):
        with socket.create_connection(server.address, TIMEOUT) as sock:
            for number in range(EACH):
                try:
                    sock.sendall(tally.question(number))
                    tally.answered(number, number_of(read_exactly(sock, 8)))
                except TimeoutError:
                    tally.late += 1

    tallies = in_threads(work)
    assert sum(tally.wrong for tally in tallies) > CONNECTIONS * EACH // 10
