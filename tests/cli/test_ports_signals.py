"""``safeconnect ports -- CMD``: the command is the process, with its signals, its end and its caller's descriptors."""

import re
import subprocess
import sys

import pytest

from ..support import linux_only
from .terminal import PROGRAM, WITHOUT_EXTRAS, Terminal, environment, run, start

PYTHON = (sys.executable, "-c")


@linux_only
class TestInItsPlace:
    def test_it_is_the_same_process(self):
        with start("ports", "--", "sh", "-c", "echo $$; exec sleep 600") as process:
            assert int(process.stdout.readline()) == process.pid
            process.terminate()
        assert process.returncode == -15

    @pytest.mark.parametrize("program", [PROGRAM, WITHOUT_EXTRAS])
    def test_ctrl_c_ends_it_quietly(self, program):
        with Terminal("ports", "--", "sh", "-c", "echo ready; exec sleep 600", program=program) as terminal:
            terminal.see("ready\n")
            terminal.press(b"\x03")
            assert terminal.end() == -2
            assert terminal.text.removesuffix("^C") == "ready\n"  # the end of its last process may overtake the echo

    def test_ctrl_z_stops_it_and_fg_goes_on(self):
        shell = ("sh", "-m", "-c", '"$@"; echo stopped; fg; echo ended with $?', "sh", *PROGRAM)
        with Terminal("ports", "--", "sh", "-c", "echo ready; read line; exit 5", program=shell) as terminal:
            terminal.see("ready\n")
            terminal.press(b"\x1a")
            terminal.see("stopped\n")
            terminal.press(b"\n")
            terminal.see("ended with 5\n")
            assert terminal.end() == 0

    def test_it_starts_as_it_would_by_itself(self):
        """No signal is kept back, and those ignored are the caller's."""
        script = 'trap "" HUP TERM; exec "$@"'
        plain = ("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")  # no shell, which might put it in order
        by_itself = subprocess.run(["sh", "-c", script, "sh", *plain], capture_output=True, text=True, check=True)
        done = run("ports", "--", *plain, program=("sh", "-c", script, "sh", *PROGRAM))
        assert done.stdout == by_itself.stdout
        assert re.search(r"SigIgn:\t\w*[13579bdf]$", done.stdout, re.MULTILINE), "SIGHUP is number 1"

    @pytest.mark.parametrize(("option", "each"), [([], 2), (["--release"], 1)])
    def test_what_keeps_the_ports_is_all_it_inherits(self, option, each):
        code = """
import os, socket
for name in sorted(map(int, os.listdir("/proc/self/fd"))):
    if name > 2 and os.path.exists(f"/proc/self/fd/{name}"):
        with socket.socket(fileno=os.dup(name)) as sock:
            print(sock.getsockname())
"""
        held = run("ports", "-n", "3", *option, "--", *PYTHON, code).stdout.splitlines()
        assert len(held) == 3 * each or (each == 2 and len(held) == 3)  # a host without IPv6 needs one each
        assert not option or all("safeconnect ports" in name for name in held)


class TestWindows:
    CODE = """
import subprocess, sys
sys.platform = "win32"
waits = []
wait = subprocess.Popen.wait
def interrupted(self, timeout=None):
    waits.append(1)
    if len(waits) == 1:
        raise KeyboardInterrupt
    return wait(self, timeout)
subprocess.Popen.wait = interrupted
from safeconnect.cli import replace_with
from safeconnect.cli._console import Console
sys.exit(replace_with(sys.argv[1:], {"PATH": "/usr/bin:/bin"}, Console().messages))
"""

    def test_ctrl_c_is_the_commands(self):
        done = subprocess.run([*PYTHON, self.CODE, "sh", "-c", "exit 3"], env=environment(), check=False)
        assert done.returncode == 3

    def test_a_command_that_is_missing(self):
        done = run("nonexistent-command", program=(*PYTHON, self.CODE))
        assert (done.returncode, done.stderr) == (127, "safeconnect: the command 'nonexistent-command' was not found\n")
