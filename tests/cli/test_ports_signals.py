"""``safeconnect ports -- CMD``: the command's signals, descriptors and end."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..support import linux_only, wait_until
from .terminal import PROGRAM, WITHOUT_EXTRAS, Terminal, environment, run, start

PYTHON = (sys.executable, "-c")
# Waits for signals, tells them, and ends at SIGUSR1.
LISTENS_TO_SIGNALS = """
import os, signal
names = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR2", "SIGUSR1")
numbers = [getattr(signal, name) for name in names]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", os.getpid(), flush=True)
seen = []
while "SIGUSR1" not in seen:
    seen.append(signal.Signals(signal.sigwait(numbers)).name)
    print(*seen, flush=True)
raise SystemExit(5)
"""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@linux_only
class TestSignals:
    def test_each_is_passed_on_once(self):
        with start("ports", "--", *PYTHON, LISTENS_TO_SIGNALS) as process:
            process.stdout.readline()
            seen = ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR2", "SIGQUIT", "SIGTERM", "SIGUSR1"]
            for place, name in enumerate(seen, 1):
                process.send_signal(getattr(signal, name))
                assert process.stdout.readline().split() == seen[:place]
        assert process.returncode == 5

    def test_keys_of_a_terminal_reach_it_once(self):
        with Terminal("ports", "--", *PYTHON, LISTENS_TO_SIGNALS) as terminal:
            terminal.see("ready")
            # Held up, it passes nothing on before the command has taken its own: two at a time would be one.
            terminal.process.send_signal(signal.SIGSTOP)
            terminal.press(b"\x03")
            terminal.see("SIGINT\n")
            terminal.press(b"\x1c")
            terminal.see("SIGINT SIGQUIT\n")
            terminal.process.send_signal(signal.SIGCONT)
            terminal.process.send_signal(
                signal.SIGUSR1
            )  # would come after those of the keys, for their numbers are lower
            terminal.see("SIGUSR1\n")
            assert terminal.end() == 5
            assert terminal.text.splitlines()[-1] == "SIGINT SIGQUIT SIGUSR1"

    @pytest.mark.parametrize("program", [PROGRAM, WITHOUT_EXTRAS])
    def test_ctrl_c_ends_it_quietly(self, program):
        with Terminal("ports", "--", "sh", "-c", "echo pid $$ .; exec sleep 600", program=program) as terminal:
            pid = int(re.search(r"pid (\d+) \.", terminal.see(" ."))[1])
            terminal.press(b"\x03")
            assert terminal.end() == 130
            assert terminal.text == f"pid {pid} .\n^C"
        assert not is_alive(pid)

    def test_what_comes_together_with_the_end_changes_nothing(self):
        with Terminal("ports", "--", "sh", "-c", "echo pid $$ .; exec sleep 600") as terminal:
            pid = int(re.search(r"pid (\d+) \.", terminal.see(" ."))[1])
            terminal.process.send_signal(signal.SIGSTOP)
            terminal.press(b"\x03")
            wait_until(lambda: not is_alive(pid))
            terminal.process.send_signal(signal.SIGTERM)
            terminal.process.send_signal(signal.SIGCONT)
            assert terminal.end() == 130

    def test_ctrl_z_stops_it_and_fg_goes_on(self):
        shell = ("sh", "-m", "-c", '"$@"; echo stopped; fg; echo ended with $?', "sh", *PROGRAM)
        with Terminal("ports", "--", "sh", "-c", "echo pid $PPID .; exec sleep 600", program=shell) as terminal:
            pid = int(re.search(r"pid (\d+) \.", terminal.see(" ."))[1])
            terminal.press(b"\x1a")
            terminal.see("stopped\n")
            os.kill(pid, signal.SIGTERM)
            terminal.see("ended with 143\n")
            assert terminal.end() == 0

    def test_killed_it_leaves_nobody_behind(self):
        with start("ports", "--", "sh", "-c", "echo $$; exec sleep 600") as process:
            pid = int(process.stdout.readline())
            assert is_alive(pid)
            process.kill()
        wait_until(lambda: not is_alive(pid))

    def test_the_command_starts_as_it_would_by_itself(self):
        """No signal is kept back, and those ignored are the caller's."""
        script = 'trap "" HUP; exec "$@"'
        plain = ("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")  # no shell, which might put it in order
        by_itself = subprocess.run(["sh", "-c", script, "sh", *plain], capture_output=True, text=True, check=True)
        done = run("ports", "--", *plain, program=("sh", "-c", script, "sh", *PROGRAM))
        assert done.stdout == by_itself.stdout
        assert re.search(r"SigIgn:\t\w*[13579bdf]$", done.stdout, re.MULTILINE), "SIGHUP is number 1"

    def test_an_ignored_signal_stays_ignored(self):
        script = 'trap "" HUP; exec "$@"'
        program = ("sh", "-c", script, "sh", *PROGRAM)
        with start("ports", "--", "sh", "-c", "echo ready; exec sleep 600", program=program) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 143

    def test_where_nobody_asks_for_the_status_of_children(self):
        ignore = (
            "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
        )
        program = (*PYTHON, ignore, *PROGRAM)
        assert run("ports", "--", "sh", "-c", "exit 3", program=program).returncode == 3

    def test_the_command_gets_the_callers_descriptors_and_no_others(self):
        # The listing's own descriptor is closed when it is looked for.
        code = "import os; d = '/proc/self/fd/'; print([int(n) for n in os.listdir(d) if os.path.exists(d + n)])"
        with Path(os.devnull).open() as file:
            arguments = [*PROGRAM, "ports", "-n", "5", "--", *PYTHON, code]
            done = subprocess.run(
                arguments, pass_fds=[file.fileno()], capture_output=True, text=True, env=environment(), check=True
            )
            assert json.loads(done.stdout) == [0, 1, 2, file.fileno()]


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
from safeconnect.cli._child import run_as_child
from safeconnect.cli._console import Console
sys.exit(run_as_child(sys.argv[1:], {"PATH": "/usr/bin:/bin"}, Console().messages))
"""

    def test_ctrl_c_is_the_commands(self):
        done = subprocess.run([*PYTHON, self.CODE, "sh", "-c", "exit 3"], env=environment(), check=False)
        assert done.returncode == 3

    def test_a_command_that_is_missing(self):
        done = run("nonexistent-command", program=(*PYTHON, self.CODE))
        assert (done.returncode, done.stderr) == (127, "safeconnect: the command 'nonexistent-command' was not found\n")
