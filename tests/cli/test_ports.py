"""``safeconnect ports -- CMD``: ports that nobody else is given, and a command that is as good as run by itself."""

import http.client
import json
import re
import socket
import sys
from contextlib import ExitStack

import pytest

from safeconnect import ephemeral_ports
from safeconnect.cli import _ports

from .. import namespace
from ..support import has_ipv6, linux_only, needs_ipv6
from .terminal import PROGRAM, WITHOUT_EXTRAS, run, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells and signals")

PYTHON = (sys.executable, "-c")
# What becomes of the port at each address: of a connect, a plain server, and two kinds that say that they share it.
PROBE = """
import errno, os, socket, sys
port = int(os.environ["PORT"])
for host in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    seen = []
    with socket.socket(family) as sock:
        seen.append("refused" if sock.connect_ex((host, port)) == errno.ECONNREFUSED else "connected")
    with socket.socket(family) as plain:
        try:
            plain.bind((host, port))
        except OSError as error:
            seen.append("taken" if error.errno == errno.EADDRINUSE else str(error))
    for option, name in (socket.SO_REUSEADDR, "reused"), (socket.SO_REUSEPORT, "shared"):
        with socket.socket(family) as server:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
            server.bind((host, port))
            server.listen()
            with socket.create_connection((host, port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *bytes(7)]))  # no TIME_WAIT in the way
                seen.append(name)
    print(host, ", ".join(seen))
"""


def ports_in(text):
    return [int(line.partition("=")[2]) for line in text.splitlines() if re.match(r"PORT\d+=", line)]


class TestExitStatus:
    @pytest.mark.parametrize(
        ("script", "status", "program"),
        [
            ("exit 0", 0, PROGRAM),
            ("exit 3", 3, PROGRAM),
            ("exit 3", 3, WITHOUT_EXTRAS),
            ("kill -KILL $$", -9, PROGRAM),
            ("kill -TERM $$", -15, PROGRAM),
        ],
    )
    def test_that_of_the_command(self, script, status, program):
        done = run("ports", "--", "sh", "-c", f"echo said; {script}", program=program)
        assert (done.returncode, done.stdout, done.stderr) == (status, "said\n", "")

    def test_a_command_that_is_missing(self):
        done = run("ports", "--", "nonexistent-command")
        assert done.returncode == 127
        assert done.stderr == "safeconnect: the command 'nonexistent-command' was not found\n"

    def test_a_command_that_may_not_be_run(self, tmp_path):
        file = tmp_path / "file"
        file.write_text("")
        done = run("ports", "--", str(file))
        assert done.returncode == 126
        assert done.stderr == f"safeconnect: the command '{file}' cannot be run: Permission denied\n"


class TestEnvironment:
    def test_one_port(self):
        done = run("ports", "--", "env")
        assert re.search(r"^PORT=[1-9]\d*$", done.stdout, re.MULTILINE)
        assert ports_in(done.stdout) == []

    def test_several_ports_of_a_name(self):
        done = run("ports", "-n", "3", "--env", "APP_PORT", "--", "env", APP_PORT="before", LEFT="alone")
        found = dict(re.findall(r"^(APP_PORT\d?|PORT|LEFT)=(.*)$", done.stdout, re.MULTILINE))
        assert sorted(found) == ["APP_PORT", "APP_PORT1", "APP_PORT2", "APP_PORT3", "LEFT"]
        assert found["APP_PORT"] == found["APP_PORT1"]
        assert found["LEFT"] == "alone"
        assert len({found["APP_PORT1"], found["APP_PORT2"], found["APP_PORT3"]}) == 3

    @pytest.mark.parametrize(("option", "is_held"), [([], sys.platform == "linux"), (["--release"], False)])
    def test_as_json_before_the_command_writes(self, option, is_held):
        done = run("ports", "-n", "2", "--json", *option, "--", "sh", "-c", "echo said $PORT2")
        told, end = json.JSONDecoder().raw_decode(done.stdout)
        assert list(told) == ["ports", "environment", "held"]
        first, second = map(str, told["ports"])
        assert told["environment"] == {"PORT": first, "PORT1": first, "PORT2": second}
        assert told["held"] is is_held
        assert done.stdout[end:] == f"\nsaid {second}\n"


@linux_only
class TestHeld:
    def test_nobody_gets_it_but_a_server_that_reuses(self):
        hosts = ["127.0.0.1", "127.0.0.9", "0.0.0.0", *(["::1", "::"] if has_ipv6() else [])]
        done = run("ports", "--", *PYTHON, PROBE, *hosts)
        assert done.stdout.splitlines() == [f"{host} refused, taken, reused, shared" for host in hosts]

    def test_all_ports_of_a_small_range_and_no_more(self):
        code = """
            import subprocess, sys
            def reserve(number, *command):
                return subprocess.run([sys.executable, "-m", "safeconnect", "ports", "-n", str(number), "--", *command],
                                      capture_output=True, text=True)
            done = reserve(4, "env")
            print(*sorted(line[6:] for line in done.stdout.splitlines() if line[:4] == "PORT" and line[4] != "="))
            done = reserve(5, "echo", "was run")
            print(done.returncode, done.stdout, done.stderr)
            print(reserve(4, "true").returncode)
        """
        found = namespace.run(code, ports="40000 40003").splitlines()
        assert found[0] == "40000 40001 40002 40003"
        assert re.match(
            r"1  safeconnect: 5 ports could not be reserved at 0.0.0.0(, ::)?: no port is free at", found[1]
        )
        assert found[-1] == "0", "they were given back"

    @pytest.mark.parametrize("options", [[], ["--release"]], ids=["held", "released"])
    def test_parallel_runs_have_ports_of_their_own(self, options):
        runs, number = 5, 20
        script = "env; echo done; exec sleep 600"
        parallel = [start("ports", "-n", str(number), *options, "--", "sh", "-c", script) for _ in range(runs)]
        texts = ["".join(iter(process.stdout.readline, "done\n")) for process in parallel]
        for process in parallel:
            process.terminate()
        for process in parallel:
            process.communicate(timeout=60)
        ports = [port for text in texts for port in ports_in(text)]
        assert len(set(ports)) == len(ports) == runs * number
        assert [process.returncode for process in parallel] == [-15] * runs
        assert {port in ephemeral_ports() for port in ports} == {not options}

    def test_a_real_server_answers_and_the_port_is_free_afterwards(self):
        command = f"exec {sys.executable} -u -m http.server $PORT --bind 127.0.0.1"
        with start("ports", "--", "sh", "-c", command) as process:
            port = int(re.search(r" port (\d+)", process.stdout.readline())[1])
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            client.request("HEAD", "/")
            assert client.getresponse().status == 200
            client.close()
            with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
                other.bind(("127.0.0.9", port))  # the server is elsewhere, and the reservation still there
            process.terminate()
        assert process.returncode == -15
        with socket.socket() as other:
            other.bind(("127.0.0.9", port))


class TestRelease:
    @linux_only
    def test_a_server_that_does_not_reuse_addresses(self):
        server = (
            "import os, socket; server = socket.socket(); server.bind(('127.0.0.1', int(os.environ['PORT']))); "
            "server.listen(); print('listens', os.environ['PORT'])"
        )
        held = run("ports", "--", *PYTHON, server)
        assert held.returncode == 1
        assert "Address already in use" in held.stderr
        released = run("ports", "--release", "--", *PYTHON, server)
        assert released.stdout.startswith("listens"), released.stderr
        assert int(released.stdout.split()[1]) not in ephemeral_ports()

    def test_two_runs_share_the_few_ports_that_are_left(self):
        code = """
            import subprocess, sys
            program = [sys.executable, "-m", "safeconnect", "ports", "--release", "-n"]
            def lend(number, *command):
                return subprocess.Popen([*program, str(number), "--", *command], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            first = lend(3, "sh", "-c", "echo ready; exec sleep 600")
            first.stdout.readline()
            print(lend(3, "echo", "was run").communicate())
            print(lend(2, "echo", "was run").communicate())
            first.terminate()
            first.communicate()
            print(lend(5, "echo", "was run").communicate())
        """
        refused, rest, all_of_them = namespace.run(code, ports="1024 65530").splitlines()
        assert "3 ports could not be reserved" in refused
        assert "fewer ports are free that the kernel gives to nobody: 2" in refused
        assert rest == all_of_them == r"('was run\n', None)"

    def test_elsewhere_than_on_linux_they_are_released(self):
        pretend = "import ctypes, socket, subprocess, sys; sys.platform = 'darwin'; "
        program = (*PYTHON, f"{pretend}from safeconnect.cli import main; sys.exit(main())")
        done = run("ports", "--json", "--", "sh", "-c", "exit 4", program=program)
        assert json.loads(done.stdout)["held"] is False
        assert done.returncode == 4


class TestHosts:
    def test_a_host_without_ipv6(self):
        code = """
            import subprocess, sys
            from pathlib import Path
            Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
            print(subprocess.run([sys.executable, "-m", "safeconnect", "ports", "--", "true"]).returncode)
        """
        assert namespace.run(code).strip() == "0"

    @linux_only
    def test_a_name_that_may_not_be_taken_is_an_error(self, monkeypatch):
        def refuse(*_):
            raise PermissionError(1, "not permitted")

        monkeypatch.setattr(socket.socket, "bind", refuse)
        with ExitStack() as held, pytest.raises(PermissionError):
            _ports._named(held, 61000)

    @needs_ipv6
    def test_one_address(self):
        code = "import os, socket; socket.create_server(('127.0.0.1', int(os.environ['PORT'])), reuse_port=False)"
        assert run("ports", "--host", "::1", "--", *PYTHON, code).returncode == 0

    def test_an_address_that_is_not_here(self):
        done = run("ports", "--host", "192.0.2.1", "--", "echo", "was run")
        assert (done.returncode, done.stdout) == (1, "")
        assert "a port could not be reserved at 192.0.2.1: Cannot assign requested address" in done.stderr

    def test_too_few_descriptors(self):
        script = 'ulimit -n 40; exec "$@"'
        done = run("ports", "-n", "100", "--", "echo", "was run", program=("sh", "-c", script, "sh", *PROGRAM))
        assert (done.returncode, done.stdout) == (1, "")
        assert "100 ports could not be reserved" in done.stderr
        assert "Too many open files" in done.stderr
        assert "`ulimit -n`" in done.stderr
