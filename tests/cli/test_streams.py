"""Standard streams that are closed, full, or cannot write what there is to say; commands run in a process's place."""

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from safeconnect import cli
from safeconnect.cli import _doctor

from ..support import linux_only
from .terminal import environment, run, written

pytestmark = linux_only


def in_a_shell(text, **changes):
    """Run the program with redirections as the shell has them; ``$S`` is the program."""
    return run(program=("sh", "-c", text.replace("$S", '"$0" -m safeconnect'), sys.executable), **changes)


class TestClosedAndFull:
    @pytest.mark.parametrize(
        ("command", "closed", "status"),
        [
            ("wait {up}", "2>&-", 0),
            ("connect {up}", ">&-", 0),
            ("connect {up}", "<&-", 0),
            *(
                (command, "<&- >&- 2>&-", status)
                for command, status in [
                    ("wait {up}", 0),
                    ("wait 127.0.0.1:1 --timeout 0", 124),
                    ("ports -- sh -c 'exit 7'", 7),
                    ("connect {up}", 0),
                ]
            ),
        ],
    )
    def test_closed_streams_change_no_status(self, command, closed, status, up):
        assert in_a_shell(f"$S {command.format(up=up)} {closed}").returncode == status

    def test_no_port_takes_the_place_of_a_closed_stream(self):
        assert "socket" not in in_a_shell("$S ports -- readlink /proc/self/fd/0 <&-").stdout

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_messages_that_cannot_be_written_are_dropped(self, unbuffered):
        done = in_a_shell("$S wait 127.0.0.1:1 --timeout 0.1 -v --json 2>/dev/full", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 124
        assert json.loads(done.stdout)["targets"][0]["state"] == "timed out"

    @pytest.mark.parametrize(
        "command", ["doctor", "ports", "connect 127.0.0.1:1", "wait 127.0.0.1:1 --timeout 0 --json"]
    )
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_data_that_cannot_be_written_is_an_error(self, command, unbuffered):
        done = in_a_shell(f"$S {command} >/dev/full", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 1
        assert "safeconnect: the output could not be written: [Errno 28] No space left on device" in done.stderr
        assert "Traceback" not in done.stderr

    def test_nor_do_they_keep_a_command_from_running(self):
        done = in_a_shell("$S ports -- echo ran 2>/dev/full")
        assert (done.returncode, done.stdout) == (0, "ran\n")

    @pytest.mark.parametrize("option", ["--man", "--print-completion bash"])
    def test_a_page_or_script_that_cannot_be_written_is_an_error(self, option):
        pytest.importorskip("shtab", reason="shtab makes the script")
        done = in_a_shell(f"$S {option} >/dev/full")
        assert done.returncode == 1
        assert done.stderr == "safeconnect: the output could not be written: [Errno 28] No space left on device\n"

    def test_an_interrupt_that_cannot_be_told_is_one(self, monkeypatch):
        def interrupt(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(_doctor, "run", interrupt)

        def refuse(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full = io.StringIO()
        full.write = refuse
        monkeypatch.setattr(sys, "stderr", full)
        assert cli.main(["doctor"]) == cli.INTERRUPTED

    def test_completion_that_nobody_reads(self):
        pytest.importorskip("shtab", reason="shtab makes it")
        assert in_a_shell("$S --print-completion bash | true").stderr == ""


class TestWhatStreamsCannotWrite:
    def test_bars_in_another_encoding(self, up):
        printed = run("connect", up, PYTHONIOENCODING="cp1252").stdout
        assert "=|" in printed
        assert printed.isascii() or "µ" not in printed

    def test_names_of_processes_move_no_cursor(self):
        code = r"""
import ctypes, socket, sys
server = socket.create_server(("127.0.0.1", 0))
ctypes.CDLL(None).prctl(15, b"a\x1b]0;b\x07\n\xff", 0, 0, 0)  # PR_SET_NAME
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named:
            port = named.stdout.readline().decode().strip()
            printed = run("ports").stdout
        row = next(line for line in printed.splitlines() if f" {port} " in line)
        assert "a\\x1b]0;b\\x07\\x0a" in row
        assert "\x1b" not in printed


class TestConnections:
    def test_a_peer_that_resets_at_once(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *bytes(7)]))
            code = "from safeconnect.cli import _connect; _connect._info = lambda sock: peer(sock); "
            code += "peer = lambda sock: (server_end(), None)[1]; import socket, sys; "
            code += "from safeconnect.cli import main; "
            code += "listener = socket.socket(fileno=int(sys.argv.pop(1))); "
            code += "server_end = lambda: listener.accept()[0].close(); sys.exit(main())"
            done = subprocess.run(
                [sys.executable, "-c", code, str(server.fileno()), "connect", written(server.getsockname())],
                pass_fds=[server.fileno()],
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
            )
        assert done.returncode == 0, done.stderr
        assert " to 127.0.0.1:" in done.stdout
        assert done.stdout.endswith("ended: reset\n")


class TestCommands:
    def test_a_script_without_an_interpreter_is_the_shells(self, tmp_path):
        script = tmp_path / "script"
        script.write_text('echo "$0 $1"; exit 3\n')
        script.chmod(0o755)
        done = run("ports", "--", str(script), "x")
        assert (done.returncode, done.stdout) == (3, f"{script} x\n")

    def test_a_directory_of_that_name_is_no_command(self):
        assert run("ports", "--", "tests").returncode == 127

    def test_a_path_through_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert run("ports", "--", str(tmp_path / "file" / "x")).returncode == 127

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_no_signal_is_lost_with_the_handlers(self, number):
        code = """
import signal, sys
from safeconnect import cli
before = cli._become
cli._become = lambda *arguments: (signal.raise_signal(int(sys.argv.pop(1))), before(*arguments))
cli.main(["ports", "--", "echo", "ran on"])
"""
        done = run(str(int(number)), program=(sys.executable, "-c", code))
        assert (done.returncode, done.stdout) == (-number, "")
