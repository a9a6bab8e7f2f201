"""Names in the file of hosts: localhost, whose lookup may ask the network, and others, which need no second lookup."""

import _socket
import asyncio
import os
import socket
import threading

import pytest

import safeconnect
import safeconnect.asyncio
from safeconnect._sockets import hosts, resolve

from ..support import linux_only, wait_until

HERE = "127.0.0.1 localhost\n"
FILE, SOURCES = "192.0.2.1 db.test\n", "hosts: files dns\n"
FOUND = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))
FOUND_6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of the test's own, which are trusted at once."""
    paths = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    monkeypatch.setattr(hosts, "_HOSTS", str(paths[0]))
    monkeypatch.setattr(hosts, "_SOURCES", str(paths[1]))
    monkeypatch.setattr(hosts, "_SETTLED_SECONDS", -60.0)
    monkeypatch.setattr(hosts, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(hosts._kept, "content", hosts._Content({}, (), 0.0))
    paths[0].write_text(FILE)
    paths[1].write_text(SOURCES)
    return paths


def is_kept(found=FOUND):
    hosts.learn("db.test", [found])
    return hosts.find("db.test", 80) == (found,)


class TestAnswersThatAreKept:
    @pytest.mark.parametrize(
        ("file", "sources", "found", "kept"),
        [
            (FILE, SOURCES, FOUND, True),
            (
                "::1 a\n\t192.0.2.1\ta.test  db.test # it",
                "a: b\nhosts:files[NOTFOUND=return] dns\n",
                FOUND,
                True,
            ),
            ("2001:DB8:0::1 db.test\n", SOURCES, FOUND_6, True),
            (FILE, "hosts: dns files\n", FOUND, False),
            (FILE, "hosts: resolve [!UNAVAIL=return] files\n", FOUND, False),
            (FILE, "hosts: files [SUCCESS=continue] dns\n", FOUND, False),
            (FILE, "hosts: files [!UNAVAIL=continue] dns\n", FOUND, False),
            (FILE, "hosts: files2 dns\n", FOUND, False),
            (FILE, "hosts: files dns\nhosts: dns\n", FOUND, False),
            (FILE, "# hosts: files\n", FOUND, False),
            ("192.0.2.2 db.test\n", SOURCES, FOUND, False),
            (FILE + "192.0.2.2 db.test\n", SOURCES, FOUND, False),
            ("nonsense db.test\n", SOURCES, FOUND, False),
            ("# 192.0.2.1 db.test\n", SOURCES, FOUND, False),
        ],
    )
    def test_of_which_names(self, files, file, sources, found, kept):
        files[0].write_text(file)
        files[1].write_text(sources)
        assert is_kept(found) is kept

    @pytest.mark.parametrize("answer", [[], [FOUND, FOUND_6]], ids=["none", "two"])
    @pytest.mark.usefixtures("files")
    def test_no_other_answer_than_one_address(self, answer):
        hosts.learn("db.test", answer)
        assert hosts.find("db.test", 80) == ()

    @pytest.mark.usefixtures("files")
    def test_the_other_family_is_not_in_the_file(self):
        assert is_kept()
        assert hosts.find("db.test", 80, socket.AF_INET) == (FOUND,)
        assert hosts.find("db.test", 80, socket.AF_INET6) == ()

    @pytest.mark.parametrize("number", [0, 1], ids=["hosts", "sources"])
    @pytest.mark.parametrize("change", ["written", "replaced", "removed"])
    def test_until_a_file_changes(self, files, number, change):
        assert is_kept()
        path = files[number]
        if change == "written":
            before = path.stat().st_ctime_ns
            wait_until(lambda: path.write_text("#\n") and path.stat().st_ctime_ns != before)
        elif change == "replaced":
            other = path.with_suffix(".new")
            other.write_text(path.read_text())
            other.replace(path)
        else:
            path.unlink()
        assert hosts.find("db.test", 80) == ()
        assert is_kept() is (change == "replaced")

    def test_not_of_a_file_that_may_change_unseen(self, monkeypatch, files):
        monkeypatch.setattr(hosts, "_SETTLED_SECONDS", 60.0)
        assert not is_kept()
        monkeypatch.setattr(hosts, "_SETTLED_SECONDS", -60.0)
        assert is_kept(), "it is read again"

    @linux_only
    @pytest.mark.parametrize("kind", ["long", "a pipe"])
    def test_not_of_a_file_that_takes_long_to_read(self, files, kind):
        files[0].unlink()
        if kind == "long":
            files[0].write_text(FILE + "#" * hosts._MOST_BYTES)
        else:
            os.mkfifo(files[0])  # opening it would wait
        assert not is_kept()

    def test_a_name_that_is_in_no_file_is_not_looked_for_at_each_connect(self, files, monkeypatch):
        monkeypatch.setattr(hosts, "_AGAIN_SECONDS", 1e9)
        hosts.learn("other.test", [FOUND])
        files[0].write_text("192.0.2.1 other.test\n")
        hosts.learn("other.test", [FOUND])
        assert hosts.find("other.test", 80) == ()
        monkeypatch.setattr(hosts, "_AGAIN_SECONDS", 0.0)
        hosts.learn("other.test", [FOUND])
        assert len(hosts.find("other.test", 80)) == 1


class TestConnects:
    @pytest.fixture
    def asked(self, files, monkeypatch, address):
        """What the C library is asked; it answers with the server's address, as the file does."""
        asked = []

        def look_up(*arguments):
            asked.append(arguments)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        files[0].write_text("127.0.0.1 db.test db2.test\n")
        monkeypatch.setattr(_socket, "getaddrinfo", look_up)
        return asked

    def test_one_lookup_until_the_file_changes(self, asked, address, files):
        for count in (1, 2):
            for _ in range(3):
                with safeconnect.create_connection(("db.test", address[1]), 5) as sock:
                    assert sock.getpeername() == address
                    assert sock.gettimeout() == 5
            assert len(asked) == count
            files[0].unlink()
            files[0].write_text("127.0.0.1 db.test\n")

    @pytest.mark.parametrize("host", [b"db.test", "DB.test"])
    def test_other_names_are_always_looked_up(self, asked, address, host):
        for _ in range(2):
            safeconnect.create_connection((host, address[1]), 5).close()
        assert len(asked) == 2

    def test_the_name_of_a_service_is_always_looked_up(self, asked):
        for _ in range(2):
            safeconnect.create_connection(("db.test", "http"), 5).close()
        assert len(asked) == 2

    @pytest.mark.parametrize("how", ["a resolver", "a getaddrinfo of another tool"])
    def test_whoever_else_looks_up_is_always_asked(self, asked, address, monkeypatch, how):
        safeconnect.create_connection(("db.test", address[1]), 5).close()
        calls = []

        def resolver(*arguments):
            calls.append(arguments)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        settings = {"resolver": resolver} if how == "a resolver" else {}
        if not settings:
            monkeypatch.setattr(socket, "getaddrinfo", resolver)
        for _ in range(2):
            safeconnect.create_connection(("db.test", address[1]), 5, **settings).close()
        assert (len(asked), len(calls)) == (1, 2)

    def test_of_localhost_both_families_are_asked_for_in_line(self, asked, address, monkeypatch):
        """DNS would be asked for the family that the file does not have, and no deadline would end that."""
        monkeypatch.setattr(resolve, "_here", {"localhost"})
        for settings in ({}, {"retry": safeconnect.Retry(1)}):
            target = ("localhost", address[1])
            safeconnect.create_connection(target, 5, family=socket.AF_INET, **settings).close()
        assert [arguments[2] for arguments in asked] == [0, 0]


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
    monkeypatch.setattr(resolve, "_here", set())
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

    monkeypatch.setattr(resolve, "_here", set())
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
