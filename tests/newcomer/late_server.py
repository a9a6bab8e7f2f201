"""Replace `socket.create_connection` in a small client, and let it wait for a server that comes up later."""

import threading

from safeconnect import Retry, create_connection, testing


def fetch(address):
    with create_connection(address, timeout=30, retry=Retry(attempts=None)) as sock:
        sock.sendall(b"ping")
        return sock.recv(100)


with testing.late_listener() as server:  # refuses until it is started
    starting = threading.Timer(1, server.start)
    starting.start()
    try:
        assert fetch(server.address) == b"ping"
    finally:
        starting.join()
