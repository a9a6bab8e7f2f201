"""``safeconnect wait`` for servers that say themselves that they are up: real ones, and scripted ones with faults."""

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from safeconnect import cli, testing
from safeconnect.cli import _exchanges

from ..integrations import kit
from ..support import linux_only, wait_until
from .servers import ONE_TRY, RESPONSE, answering, url
from .terminal import call, start, written

pytestmark = linux_only


class TestUnix:
    @pytest.fixture
    def path(self, tmp_path):
        return str(tmp_path / "socket")

    @pytest.fixture
    def listening(self, path):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            yield path

    def test_up(self, listening):
        for target in (f"unix:{listening}", f"unix://{listening}"):
            done = call("wait", target, *ONE_TRY)
            assert done.returncode == 0
            assert f"\nunix:{listening} is up after " in done.stderr

    def test_no_such_file(self, path):
        done = call("wait", f"unix:{path}", "--timeout", "0")
        assert done.returncode == 124
        assert f"unix:{path} was not up at the only try: refused once; " in done.stderr
        assert "[Errno 2] No such file or directory" in done.stderr

    def test_it_comes_up_later(self, path):
        with start("wait", f"unix:{path}", "-v", "--json") as waiting, socket.socket(socket.AF_UNIX) as listener:
            assert any("No such file" in line for line in waiting.stderr)
            listener.bind(path)
            listener.listen()
            printed, _ = waiting.communicate()
        assert waiting.returncode == 0
        assert '"host": null,' in printed

    def test_gone(self, listening):
        done = call("wait", f"unix:{listening}", "--gone", "--timeout", "0")
        assert done.returncode == 124
        assert "connected once" in done.stderr
        Path(listening).unlink()
        assert call("wait", f"unix:{listening}", "--gone").returncode == 0

    def test_nobody_listens_any_more(self, path):
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path)
            assert call("wait", f"unix:{path}", "--timeout", "0").returncode == 124
            assert call("wait", f"unix:{path}", "--gone").returncode == 0

    def test_its_queue_is_full(self, path):
        with contextlib.ExitStack() as sockets:
            listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(path)
            listener.listen(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting = sockets.enter_context(socket.socket(socket.AF_UNIX))
                    waiting.settimeout(0)
                    waiting.connect(path)
            done = call("wait", f"unix:{path}", "--timeout", "0")
        assert done.returncode == 124
        assert "EAGAIN once" in done.stderr

    def test_what_is_not_permitted_yet_is_waited_for(self, path, monkeypatch):
        monkeypatch.setattr(_exchanges.socket.socket, "connect", self._refuse_once(socket.socket.connect))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            done = call("wait", f"unix:{path}", "-v")
        assert done.returncode == 0
        assert f"unix:{path}: [Errno 13] Permission denied\n" in done.stderr

    @staticmethod
    def _refuse_once(connect):
        refusals = [PermissionError(errno.EACCES, "Permission denied")]

        def refuse_once(sock, address):
            if sock.family == socket.AF_UNIX and refusals:
                raise refusals.pop()
            return connect(sock, address)

        return refuse_once

    def test_what_it_sends_first(self, listening):
        done = call("wait", f"unix:{listening}", "--expect", "x", "--timeout", "0", "--attempt-timeout", "0.1")
        assert done.returncode == 124
        assert "connected, then timed out once" in done.stderr


class TestSendAndExpect:
    def test_the_answer(self):
        with testing.echo() as server:
            address = written(server.address)
            assert call("wait", address, *ONE_TRY, "--send", r"a\x00\r\n", "--expect", r"a\x00\r").returncode == 0
            done = call("wait", f"tcp://{address}", *ONE_TRY, "--send", "pong", "--expect", "ping")
        assert done.returncode == 124
        assert "not ready once" in done.stderr
        assert "it sent b'pong' in the place of b'ping'" in done.stderr

    def test_silence(self):
        with testing.silent() as server:
            times = ("--timeout", "0", "--attempt-timeout", "0.2")
            done = call("wait", written(server.address), *times, "--send", "a", "--expect", "b")
        assert done.returncode == 124
        assert "connected, then timed out once" in done.stderr


class TestRedis:
    @pytest.mark.parametrize("password", ["", "secret"])
    def test_a_real_one(self, password):
        port = kit.free_port()
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", password]
        with kit.daemon("redis-server", *settings, port=port):
            assert call("wait", f"redis://127.0.0.1:{port}/0", *ONE_TRY).returncode == 0

    def test_one_that_loads_its_data(self):
        answers = [b"-LOADING Redis is loading the dataset in memory\r\n"] * 2 + [b"+PONG\r\n"]
        with testing.serve(lambda peer: (peer.recv(), peer.sendall(answers.pop(0)))) as server:
            done = call("wait", url(server, "redis", ""), "-v")
        assert done.returncode == 0
        assert ": LOADING Redis is loading the dataset in memory\n" in done.stderr

    def test_a_proxy_that_accepts_for_a_server_that_is_not_there(self):
        with testing.serve(lambda peer: (peer.recv(), None)) as proxy:
            assert call("wait", written(proxy.address)).returncode == 0
            done = call("wait", url(proxy, "redis", ""), *ONE_TRY)
        assert done.returncode == 124
        assert done.stderr.endswith("it closed the connection and sent nothing\n")


class TestMysql:
    def test_a_real_one(self, tmp_path):
        with kit.mariadb(tmp_path) as port:
            for scheme in ("mysql", "mariadb"):
                assert call("wait", f"{scheme}://app:pw@127.0.0.1:{port}/app", *ONE_TRY).returncode == 0

    def test_too_many_connections(self):
        text = b"\xff\x10\x04Too many connections"
        with testing.serve(lambda peer: peer.sendall(len(text).to_bytes(3, "little") + b"\0" + text)) as server:
            done = call("wait", url(server, "mysql", ""), *ONE_TRY)
        assert done.returncode == 124
        assert done.stderr.endswith(": Too many connections (error 1040)\n")


def _postgres_user():
    """Whom the server may run as: it refuses root."""
    if os.geteuid():
        return None
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return pytest.skip("PostgreSQL does not run as root, and there is no user postgres")


@pytest.fixture(scope="module")
def postgres():
    """A server in a folder that its user can reach; gives the process and its port."""
    for program in ("initdb", "postgres"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    user, port = _postgres_user(), kit.free_port()
    home = f"/tmp/safeconnect-postgres-{os.getpid()}-{port}"  # short: its socket is in it
    Path(home).mkdir(0o700)
    try:
        if user:
            shutil.chown(home, user)
        settings = {"user": user, "cwd": home, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        auth = ["--auth-host=scram-sha-256", "--auth-local=trust"]
        subprocess.run(["initdb", "-D", f"{home}/data", "-N", *auth], check=True, timeout=120, **settings)
        own = ["-c", "listen_addresses=127.0.0.1", "-p", str(port), "-k", home, "-c", "fsync=off"]
        with subprocess.Popen(["postgres", "-D", f"{home}/data", *own], **settings) as process:
            try:
                yield process, port
            finally:
                process.terminate()
                process.communicate(timeout=60)
    finally:
        shutil.rmtree(home)


class TestPostgresql:
    def test_a_real_one_from_its_start(self, postgres):
        _, port = postgres
        assert call("wait", f"postgresql://127.0.0.1:{port}", "--timeout", "60").returncode == 0
        assert call("wait", f"postgres://app:pw@127.0.0.1:{port}/app", *ONE_TRY).returncode == 0

    def test_a_real_one_that_hangs(self, postgres):
        process, port = postgres
        assert call("wait", f"127.0.0.1:{port}", "--timeout", "60").returncode == 0
        process.send_signal(19)  # SIGSTOP: the kernel goes on accepting
        try:
            times = ("--timeout", "0", "--attempt-timeout", "0.3")
            assert call("wait", f"127.0.0.1:{port}", *times).returncode == 0
            done = call("wait", f"postgresql://127.0.0.1:{port}", *times)
        finally:
            process.send_signal(18)
        assert done.returncode == 124
        assert "connected, then timed out once" in done.stderr

    def test_one_that_starts_up(self):
        text = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        answers = [b"E" + (len(text) + 4).to_bytes(4, "big") + text, b"R\0\0\0\x08\0\0\0\x03"]
        with testing.serve(lambda peer: (peer.recv(), peer.sendall(answers.pop(0)))) as server:
            done = call("wait", url(server, "postgresql", ""), "-v")
        assert done.returncode == 0
        assert ": the database system is starting up (SQLSTATE 57P03)\n" in done.stderr


def test_several_protocols_with_a_command(capfd):
    with answering(RESPONSE % b"200 OK") as web, answering(b"+PONG\r\n", ends=b"PING\r\n") as cache:
        targets = [url(web), url(cache, "redis", "")]
        done = start("wait", *targets, "-q", "--json", "--", sys.executable, "-c", "print('ran')")
        with done:
            printed, told = done.communicate()
    assert (done.returncode, told) == (0, "")
    assert printed.endswith("}\nran\n")
    assert f'"target": "{targets[0]}",' in printed


def test_interrupted_in_the_middle_of_an_exchange():
    with testing.silent() as server, start("wait", url(server), "--attempt-timeout", "60", "--forever") as waiting:
        assert "waiting for" in waiting.stderr.readline()
        wait_until(lambda: server.connections)
        waiting.send_signal(2)
        _, told = waiting.communicate()
    assert (waiting.returncode, told) == (130, "interrupted\n")
    assert cli.INTERRUPTED == 130
