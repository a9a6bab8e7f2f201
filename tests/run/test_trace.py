"""The lines that tell of connects: what is in them, and that nothing about them disturbs a connect."""

import asyncio
import gc
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import weakref
from contextlib import suppress

import pytest

import safeconnect.asyncio
from safeconnect import Backoff, Connector, Retry, create_connection
from safeconnect._run import traces
from safeconnect._run.traces import Traces

from .. import support
from ..support import linux_only
from .program import call, environment, python

HOST = "127.0.0.1"


@pytest.fixture
def to_file(trace):
    return Connector(timeout=5, trace=Traces(str(trace.path)))


class TestRecord:
    def test_of_a_connect(self, to_file, trace, address):
        with to_file.connect(address) as sock:
            own = f"{HOST}:{sock.getsockname()[1]}"
        (record,) = trace.records()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
        assert 0 < record.pop("seconds") < 5
        lookup, attempt = record.pop("race")
        assert lookup["what"] == "lookup"
        assert (attempt["what"], attempt["kind"]) == (f"{HOST}:{address[1]}", "won")
        peer = f"{HOST}:{address[1]}"
        assert record == {
            "pid": os.getpid(),
            "target": peer,
            "connected": True,
            "local": own,
            "peer": peer,
            "error": None,
        }

    def test_of_a_failure_with_each_round(self, trace):
        with support.held_port() as held:
            port = held.getsockname()[1]
            retry = Retry(attempts=2, backoff=Backoff(0, 1, 0, "none"))
            resolver = support.resolver((HOST, port))
            with pytest.raises(ConnectionRefusedError):
                create_connection(("name", port), 5, trace=Traces(str(trace.path)), retry=retry, resolver=resolver)
        (record,) = trace.records()
        assert (record["target"], record["connected"], record["peer"]) == (f"name:{port}", False, None)
        assert "Connection refused" in record["error"]
        assert [span["what"] for span in record["race"]] == ["lookup", f"{HOST}:{port}"] * 2

    def test_of_a_dead_first_address(self, trace, hole, address):
        resolver = support.resolver(hole, address)
        create_connection(("name", 1), 5, trace=Traces(str(trace.path)), resolver=resolver).close()
        (record,) = trace.records()
        assert record["peer"] == f"{HOST}:{address[1]}"
        assert [span["outcome"] for span in record["race"]][1] == "given up: another was faster"

    def test_of_a_name_that_is_none(self, trace):
        def resolver(*_):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        with pytest.raises(socket.gaierror):
            create_connection(("name", 1), 5, trace=Traces(str(trace.path)), resolver=resolver)
        (record,) = trace.records()
        assert "no such name" in record["error"]

    def test_of_a_resolver_that_is_broken(self, trace):
        with pytest.raises(ZeroDivisionError):
            create_connection(("name", 1), 5, trace=Traces(str(trace.path)), resolver=lambda *_: 1 / 0)
        assert [record["error"] for record in trace.records()] == ["interrupted or cancelled"]

    def test_of_a_task_that_is_cancelled(self, trace, hole):
        async def main():
            async with asyncio.timeout(0.05):
                await safeconnect.asyncio.create_connection(hole, trace=Traces(str(trace.path)))

        with pytest.raises(TimeoutError):
            asyncio.run(main())
        (record,) = trace.records()
        assert (record["connected"], record["error"]) == (False, "interrupted or cancelled")


def test_lines_for_people(address, hole):
    code = f"""
        import socket
        socket.create_connection({address!r}, 5).close()
        real = socket.getaddrinfo
        socket.getaddrinfo = lambda *a, **k: [(2, 1, 6, "", {hole!r}), (2, 1, 6, "", {address!r})]
        socket.create_connection(("name\\n", 1), 5).close()
    """
    done = call(sys.executable, "-c", "\n".join(map(str.strip, code.splitlines())), env=environment("trace"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    first, second = done.stderr.splitlines()
    peer = re.escape(f"{HOST}:{address[1]}")
    time = r"[\d.]+ m?s"
    assert re.fullmatch(rf"safeconnect\[\d+\]: {peer} connected after {time}, {HOST}:\d+ to {peer}", first)
    assert re.fullmatch(
        rf"safeconnect\[\d+\]: name\\x0a:1 connected after {time}, {HOST}:\d+ to {peer} \(lookup 2 addresses, {time}; "
        rf"{HOST}:{hole[1]} given up: another was faster, {time}; {peer} connected from {HOST}:\d+, {time}\)",
        second,
    )


class TestNoTraceDisturbsAConnect:
    def connects(self, file, address, capfd):
        create_connection(address, 5, trace=(traces_of := Traces(file))).close()
        create_connection(address, 5, trace=traces_of).close()
        return capfd.readouterr().err

    def test_a_file_that_cannot_be_written_is_told_once(self, tmp_path, address, capfd):
        told = self.connects(str(tmp_path / "none" / "file"), address, capfd)
        assert re.fullmatch(r"safeconnect: the trace cannot be written: \[Errno 2\] .*\n", told)

    @linux_only
    def test_a_full_disk(self, address, capfd):
        assert "No space left" in self.connects("/dev/full", address, capfd)

    @linux_only
    def test_a_pipe_that_nobody_reads(self, tmp_path, address, capfd):
        os.mkfifo(tmp_path / "pipe")
        assert "cannot be written" in self.connects(str(tmp_path / "pipe"), address, capfd)

    @linux_only
    def test_a_pipe_that_is_full(self, tmp_path, address, capfd):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            with suppress(BlockingIOError):
                while True:
                    os.write(writer, bytes(65536))
            assert self.connects(str(path), address, capfd).count("the trace cannot be written") == 1
        finally:
            os.close(reader)
            os.close(writer)

    def test_no_stderr(self, address, monkeypatch, capfd):
        monkeypatch.setattr(sys, "__stderr__", None)
        assert self.connects(None, address, capfd) == ""

    def test_a_fault_in_it(self, trace, address, monkeypatch, capfd):
        monkeypatch.setattr(traces, "spans", lambda *_: 1 / 0)
        assert self.connects(str(trace.path), address, capfd) == ""
        assert trace.records() == []

    def test_an_error_keeps_nothing_alive(self, to_file):
        class Witness:
            pass

        def fail():
            witness = Witness()
            seen.append(weakref.ref(witness))
            with support.held_port() as held:
                to_file.connect(held.getsockname())

        seen = []
        gc.disable()
        try:
            fail()
        except ConnectionRefusedError:
            assert seen[0]() is not None
        finally:
            gc.enable()
        assert seen[0]() is None


def test_connects_of_threads_are_told_apart(to_file, trace):
    with support.listening() as one, support.listening() as other:
        addresses = [one.getsockname(), other.getsockname()] * 20
        gate = threading.Barrier(len(addresses))

        def connect(address):
            gate.wait(30)
            to_file.connect(address).close()

        support.in_threads(connect, addresses)
    records = trace.records()
    assert len(records) == 40
    assert all([span["kind"] for span in record["race"]] == ["looked up", "won"] for record in records)
    assert all(record["target"] == record["peer"] for record in records)


@pytest.mark.slow
def test_processes_share_a_file(trace, port):
    code = f"import socket\nfor _ in range(100): socket.create_connection(('{HOST}', {port}), 5).close()"
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment(trace.setting)) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    records = [json.loads(line) for line in trace.path.read_text().splitlines()]
    assert len(records) == 400
    assert {record["pid"] for record in records} == {process.pid for process in started}


def test_a_program_that_closes_descriptors_gets_no_line_into_its_connection(trace, address):
    code = f"""
        import os, socket
        socket.create_connection({address!r}, 5).close()
        os.closerange(3, 100)
        with socket.create_connection({address!r}, 5) as sock:
            socket.create_connection({address!r}, 5).close()
    """
    python(code, env=environment(trace.setting))
    assert len(trace.records()) == 3


@linux_only
def test_a_program_that_closes_stderr_gets_no_line_into_its_connection():
    code = """
        import os, socket
        server = socket.create_server(("127.0.0.1", 0))
        before = os.dup(2)
        os.close(2)
        first = socket.create_connection(server.getsockname(), 5)
        assert first.fileno() == 2
        socket.create_connection(server.getsockname(), 5).close()
        accepted, _ = server.accept()
        accepted.setblocking(False)
        try:
            print(accepted.recv(1000))
        except BlockingIOError:
            print("nothing")
        os.dup2(before, first.detach())
        socket.create_connection(server.getsockname(), 5).close()
    """
    done = call(sys.executable, "-c", textwrap.dedent(code), env=environment("trace"))
    assert (done.returncode, done.stdout) == (0, "nothing\n"), done.stderr
    assert done.stderr.count(" connected after ") == 1
