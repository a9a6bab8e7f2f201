"""localhost: whether its lookup may ask the network, and that no connect waits for it past its deadline."""

import asyncio
import socket
import threading

import pytest

import safeconnect
import safeconnect.asyncio
from safeconnect._sockets import hosts, resolve

from ..support import linux_only

HERE = "127.0.0.1 localhost\n"


@linux_only
@pytest.mark.parametrize(
    ("file", "sources", "is_here"),
    [
        (HERE, "hosts: files dns\n", True),
        ("::1 ip6-localhost  localhost # it\n", "passwd: sss\nhosts:files\n", True),
        (HERE, "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n", True),
        (HERE, "hosts: dns files\n", False),
        (HERE, "hosts: dns\n", False),
        (HERE, "# hosts: dns\n", True),
        (HERE, None, True),
        ("localhost 127.0.0.1\n", None, False),
        ("127.0.0.1 localhost.example\n", None, False),
        ("# 127.0.0.1 localhost\n", None, False),
        (None, None, False),
    ],
)
def test_where_localhost_is_looked_up(tmp_path, monkeypatch, file, sources, is_here):
    for name, text in (("_HOSTS", file), ("_SOURCES", sources)):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(hosts, name, str(path))
    assert hosts.has_localhost() is is_here


def test_a_file_is_read_once(monkeypatch):
    reads = []
    monkeypatch.setattr(resolve, "_localhost_is_here", False)
    monkeypatch.setattr(hosts, "has_localhost", lambda: not reads.append(1))
    assert [resolve.may_ask_the_network((host, 1)) for host in ("localhost", b"localhost")] == [False, False]
    assert len(reads) == 1


@pytest.fixture
def silent(monkeypatch):
    """Nobody answers the lookup of localhost, which is in no file."""
    over = threading.Event()

    def look_up(*_, **__):
        over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    monkeypatch.setattr(resolve, "_localhost_is_here", False)
    monkeypatch.setattr(hosts, "has_localhost", lambda: False)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    over.set()


@pytest.mark.usefixtures("silent")
class TestInNoFile:
    def test_a_blocking_connect_has_its_deadline(self):
        with pytest.raises(TimeoutError):
            safeconnect.create_connection(("localhost", 9), timeout=0.05)

    def test_an_event_loop_goes_on(self):
        async def connect():
            other = asyncio.create_task(asyncio.sleep(0))
            with pytest.raises(TimeoutError):
                await safeconnect.asyncio.create_connection(("localhost", 9), timeout=0.05)
            return other.done()

        assert asyncio.run(connect())
