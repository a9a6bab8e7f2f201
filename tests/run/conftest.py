"""A server that closes every connection, and a trace."""

import socket
import threading

import pytest

from .program import Trace


@pytest.fixture(scope="module")
def port():
    """Whoever connects there is accepted, and the connection closed."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        is_over = threading.Event()

        def serve():
            while not is_over.is_set():
                server.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        is_over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


@pytest.fixture
def trace(tmp_path):
    return Trace(tmp_path / "the trace.jsonl")
