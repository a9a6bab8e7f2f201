"""Programs in hosts of their own: they run as they do outside, nothing is left of them; and the helpers for that."""

import contextlib
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from safeconnect.testing import _namespaces as namespaces
from safeconnect.testing import dead_peer, exposed_host, namespaces_unavailable
from tests import support

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def all_processes():
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def status(pid):
    """The fields of its stat after the name; none where there is no such process."""
    with contextlib.suppress(OSError):
        # A process may have any bytes for a name.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return ["gone", "0"]


def children():
    return {pid for pid in all_processes() if status(pid)[1] == str(os.getpid())}


def is_gone(pid):
    return status(pid)[0] in (
        "gone",
        "Z",
    )  # of one that was not a child of ours, only its parent can take the rest away


def namespaces_of(*pids):
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("user", "net")}
    return found


def tell(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip("\n")


@pytest.fixture(autouse=True)
def leaves_no_process():
    if sys.platform != "linux":
        pytest.skip("network namespaces exist on Linux only")
    before = children()
    yield
    assert children() == before


@pytest.fixture(scope="module")
def host_of_all():
    if namespaces_unavailable():
        pytest.skip(namespaces_unavailable())
    with exposed_host() as host:
        yield host


class TestPrograms:
    @pytest.fixture
    def host(self, host_of_all):
        """One for all of them: it stays as it is, but for its default TTL."""
        return host_of_all

    def test_are_what_is_started(self, host):
        process = host.popen(["sh", "-c", "echo $$; exec sleep 1000"], stdout=subprocess.PIPE)
        assert process.stdout.readline() == f"{process.pid}\n"
        assert status(process.pid)[1] == str(os.getpid())
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        assert "exec sleep 1000" in repr(process)
        process.stdout.close()

    @pytest.mark.parametrize(("script", "code"), [("true", 0), ("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM)])
    def test_exit_codes(self, script, code, host):
        assert host.run(["sh", "-c", script]).returncode == code

    def test_output_and_input(self, host):
        done = host.run(["sh", "-c", "cat; echo wrong >&2"], input="right: é\n")
        assert (done.stdout, done.stderr) == ("right: é\n", "wrong\n")
        assert done.args == ["sh", "-c", "cat; echo wrong >&2"]
        assert host.run(["cat"], input=b"\xff", text=False).stdout == b"\xff"

    def test_check(self, host):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            host.run(["sh", "-c", "echo no; exit 1"], check=True)
        assert (caught.value.cmd, caught.value.stdout) == (["sh", "-c", "echo no; exit 1"], "no\n")

    def test_timeout(self, host):
        before = children()
        with pytest.raises(subprocess.TimeoutExpired, match=r"'1000'.*timed out after 0.2 seconds") as caught:
            host.run(["sleep", "1000"], timeout=0.2)
        assert caught.value.cmd == ["sleep", "1000"]
        assert children() == before

    def test_surroundings_are_those_of_any_child(self, host, tmp_path):
        script = "pwd; umask; ulimit -a; ls /proc/self/fd; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; env"
        given = {
            "cwd": tmp_path,
            "env": {"PATH": os.environ["PATH"], "ODD": "a=b\udcff\n"},
            "umask": 0o27,
        }
        outside = subprocess.run(["sh", "-c", script], capture_output=True, check=True, **given)
        assert host.run(["sh", "-c", script], text=False, **given).stdout == outside.stdout

    def test_arguments_of_any_kind(self, host, tmp_path):
        words = ["printf", "%s|", "", "--", "a b", b"\xff\xfe", tmp_path]
        assert host.run(words, text=False).stdout == b"|--|a b|\xff\xfe|" + os.fsencode(tmp_path) + b"|"
        assert host.run("true").returncode == 0

    def test_descriptors_are_handed_down(self, host):
        reading, writing = os.pipe()
        os.write(writing, b"handed down")
        os.close(writing)
        assert host.run(["cat", f"/dev/fd/{reading}"], pass_fds=[reading]).stdout == "handed down"
        os.close(reading)

    def test_python_has_the_path_of_this_process(self, host, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "path", ["", *sys.path, tmp_path])
        monkeypatch.chdir(tmp_path)
        code = "import json, os, sys; print(json.dumps([sys.path, sys.executable, sys.argv, os.environ.get('MORE')]))"
        path, executable, argv, more = json.loads(host.run_python(code, "word", env={"MORE": "yes"}).stdout)
        assert path[0] == str(tmp_path)
        assert set(filter(None, sys.path[:-1])) <= set(path)
        assert (executable, argv, more) == (sys.executable, ["-c", "word"], "yes")

    def test_may_change_the_host_they_are_in(self, host):
        sysctl = "/proc/sys/net/ipv4/ip_default_ttl"
        before = Path(sysctl).read_text()
        done = host.run(
            ["sh", "-c", f"id -u; echo 33 > {sysctl}; cat {sysctl}; ls /sys/class/net >/dev/null"], check=True
        )
        assert done.stdout == "0\n33\n"
        assert Path(sysctl).read_text() == before != "33\n"

    @pytest.mark.parametrize(
        ("args", "kind", "words"),
        [
            (["no-such-program", "x"], FileNotFoundError, "No such file or directory: 'no-such-program'"),
            ("/no such/program é", FileNotFoundError, "No such file or directory: '/no such/program é'"),
            (["/"], PermissionError, "Permission denied: '/'"),
            (["/etc/passwd/x"], NotADirectoryError, "Not a directory: '/etc/passwd/x'"),
            ([], ValueError, "args must name a program"),
        ],
    )
    def test_cannot_be_run(self, args, kind, words, host):
        before = children()
        with pytest.raises(kind, match=words):
            host.run(args)
        assert children() == before

    def test_wrong_settings(self, host):
        for name in ("shell", "executable"):
            with pytest.raises(TypeError, match=f"{name} is not possible here"):
                host.popen("true", **{name: "sh"})
        with pytest.raises(FileNotFoundError, match="no such folder"):
            host.popen("true", cwd="/no such folder")


class TestEnd:
    def test_nothing_is_left(self, available):
        with contextlib.suppress(KeyError), dead_peer() as peer:
            own = namespaces_of(peer.pid)
            running = peer.popen("cat", **PIPES)
            assert namespaces_of(running.pid) == own
            assert not own & namespaces_of(os.getpid())
            running.stdin.write("never sent")
            stray = int(peer.run(["sh", "-c", "exec sleep 1000 >&- 2>&- & echo $!"]).stdout)
            peer.vanish()
            raise KeyError
        assert running.returncode == -signal.SIGKILL
        assert running.stdin.closed
        assert running.stdout.closed
        assert is_gone(stray)
        assert is_gone(peer.pid)
        assert not own & namespaces_of(*all_processes())
        assert not peer.vanished, "data that is not acknowledged would keep the namespace for 105 s"
        peer.close()
        with pytest.raises(RuntimeError, match=r"the host has ended: .* \(exit code 0\)"):
            peer.run("true")

    def test_when_this_process_is_killed(self, available):
        code = """
            import os, signal
            from safeconnect.testing import exposed_host
            host = exposed_host()
            print(host.pid, host.popen(["sleep", "1000"]).pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        command, environment = namespaces._source(code, ()), namespaces._with_path({})["env"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
        assert done.returncode == -signal.SIGKILL
        for pid in done.stdout.split():
            support.wait_until(lambda pid=pid: is_gone(int(pid)))

    @pytest.mark.parametrize("act", [lambda peer: peer.vanish(), lambda peer: peer.run("true")], ids=["vanish", "run"])
    def test_when_its_holder_is_killed(self, act, peer):
        """Just when it has been looked whether it is there."""
        program, check = peer.popen(["sleep", "1000"]), peer._check_running

        def checked_too_early():
            peer._check_running = check
            os.kill(peer.pid, signal.SIGKILL)
            os.waitid(os.P_PID, peer.pid, os.WEXITED | os.WNOWAIT)

        peer._check_running = checked_too_early
        with pytest.raises(RuntimeError, match=r"gone \(exit code -9\)"):
            act(peer)
        peer.close()
        assert program.returncode == -signal.SIGKILL


def started(name, *arguments, **kwargs):
    """A helper, as any Python program is started, so that it can be measured which of its lines run."""
    command = [sys.executable, "-m", "safeconnect.testing._namespace_script", name, *map(str, arguments)]
    return subprocess.Popen(command, text=True, **PIPES, **namespaces._with_path(kwargs))


class TestHelpers:
    def test_holder(self, available):
        refused = "queueing discipline blackhole"
        with started("hold") as holder:
            assert tell(holder, "vanish") == "1 vanish: not before enter"
            assert [tell(holder, line) for line in ("enter", "port 80", "vanish", "heal")] == ["0"] * 4
            assert tell(holder, "heal").endswith(refused)
            assert tell(holder, "port 70000") == "22 /proc/sys/net/ipv4/ip_local_port_range"
            reading, writing = os.pipe()
            program = started("enter", holder.pid, writing, "cat", pass_fds=[writing])
            os.close(writing)
            assert os.read(reading, 100) == b"", "it has begun"
            assert namespaces_of(program.pid) == namespaces_of(holder.pid)
            holder.communicate()
            with program:
                assert program.wait() == -signal.SIGKILL
        os.close(reading)

    def test_holder_where_it_is_forbidden(self, host):
        host.run_python("open('/proc/sys/user/max_user_namespaces', 'w').write('0')", check=True)
        settings = namespaces._with_path({"input": "enter\nvanish\n"})
        done = host.run([sys.executable, "-m", "safeconnect.testing._namespace_script", "hold"], **settings)
        assert done.stdout == "28 unshare\n1 vanish: not before enter\n"
        assert host.run("true").returncode == 0, "it has ended nobody"

    @pytest.mark.parametrize(("other", "reported"), [(False, b"22 setns"), (True, b"2 /no such program")])
    def test_enter(self, other, reported, host):
        reading, writing = os.pipe()
        with started("enter", host.pid if other else "self", writing, "/no such program", pass_fds=[writing]) as enter:
            os.close(writing)
            assert os.read(reading, 100) == reported
            os.close(reading)
        assert enter.returncode == 127

    def test_echo(self, available):
        code = """
            import socket
            with socket.create_connection(("127.0.0.1", 7000)) as sock:
                sock.sendall(b"back")
                sock.shutdown(socket.SHUT_WR)
                print(sock.makefile().read())
        """
        with started("hold") as holder, Path(os.devnull).open("w") as report:
            assert [tell(holder, line) for line in ("enter", "echo 127.0.0.1 7000")] == ["0"] * 2
            assert tell(holder, "echo 127.0.0.1 7000") == f"{errno.EADDRINUSE} echo"
            program = [sys.executable, "-c", textwrap.dedent(code)]
            with started("enter", holder.pid, report.fileno(), *program, pass_fds=[report.fileno()]) as client:
                assert client.communicate()[0] == "back\n"
            holder.communicate()
        assert holder.returncode == 0
        importlib.import_module("safeconnect.testing._namespace_script")  # does nothing by itself
