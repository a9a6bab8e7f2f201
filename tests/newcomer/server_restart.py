"""Keep one connection for many requests, also when the server is restarted in between."""

import contextlib
import subprocess
import sys

from safeconnect import PersistentConnection, reserve_port, wait_for_port

SERVER = """
import os, sys
from safeconnect import testing

def answer(peer):
    while peer.recv():
        peer.sendall(b"%8d" % os.getpid())

with testing.serve(answer, port=int(sys.argv[1])):
    input()
"""


@contextlib.contextmanager
def running(address):
    with subprocess.Popen([sys.executable, "-c", SERVER, str(address[1])], stdin=subprocess.PIPE) as server:
        wait_for_port(address, timeout=30)
        yield server.pid
        server.terminate()


def ask(exchange):
    exchange.sendall(b"who are you?\n")
    return int(exchange.recv_exactly(8))


with reserve_port() as reserved:
    connection = PersistentConnection(reserved.address)
    for _ in range(2):
        with running(reserved.address) as pid:
            assert connection.run(ask, timeout=10) == pid
            assert connection.run(ask, timeout=10) == pid
    connection.close()
