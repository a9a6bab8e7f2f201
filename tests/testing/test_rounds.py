"""Every fault, round after round: SAFECONNECT_ROUNDS=500 for as many as it is meant to bear."""

import os
import statistics
import threading
import time

import pytest

from safeconnect import testing

from .. import support
from .test_faults import EVERY, connect

ROUNDS = int(os.environ.get("SAFECONNECT_ROUNDS", "10"))


def use(fault):
    """Do as a client does, whatever comes of it."""
    try:
        with connect(fault, 0.005) as sock:
            sock.sendall(b"ping")
            sock.recv(10)
    except OSError:
        return


@pytest.mark.parametrize(
    "make", [*EVERY, lambda: testing.flaky(["reset", "refuse", "serve"])], ids=lambda make: make.__name__
)
def test_round_after_round(make):
    threads = threading.active_count()
    ends = []
    for _ in range(ROUNDS):
        with make() as fault:
            use(fault)
            began = time.monotonic()
        ends.append(time.monotonic() - began)
        assert threading.active_count() <= threads
    print(f"{make.__name__}: the end takes {statistics.median(ends) * 1e3:.1f} ms, {max(ends) * 1e3:.1f} at most")
    assert statistics.median(ends) < support.SOON
