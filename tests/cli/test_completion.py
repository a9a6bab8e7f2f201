"""Completion, in the shells themselves: bash and zsh with a person's TAB in a terminal, fish by its own command."""

import contextlib
import os
import shutil
import subprocess

import pytest

from ..support import linux_only
from .terminal import WITHOUT_EXTRAS, Terminal, call, run
from .test_usage import COMMANDS

pytest.importorskip("shtab", reason="shtab makes it")

SHELLS = ("bash", "fish", "tcsh", "zsh")
STARTS = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "bind 'set bell-style none'; . ./for.bash"),
    "zsh": (("zsh", "-f", "-i"), "unsetopt beep; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D"),
}
# What is typed before TAB, and the line after it.
LINES = {
    "a command": ("safeconnect w", "safeconnect wait "),
    "an option": ("safeconnect wait db:1 --att", "--attempt-timeout "),
    "an option of connect": ("safeconnect connect --hap", "--happy-eyeballs-delay "),
    "a choice": ("safeconnect --print-completion zs", "--print-completion zsh "),
    "what follows --": ("safeconnect wait db:1 -- ./serv", "-- ./serve-it "),
}


def needs(shell):
    return pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"there is no {shell}"))


@pytest.fixture
def place(tmp_path):
    """A folder with a program, and the script of each shell."""
    (tmp_path / "serve-it").touch(mode=0o755)
    for shell in SHELLS:
        name = "_safeconnect" if shell == "zsh" else f"for.{shell}"  # zsh finds it by its name
        (tmp_path / name).write_text(call("--print-completion", shell).stdout)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_it_knows_the_commands_and_options(shell):
    printed = call("--print-completion", shell).stdout
    assert all(word in printed for word in (*COMMANDS, "attempt-timeout", "happy-eyeballs-delay"))


@contextlib.contextmanager
def typing(place, shell, keys):
    """A shell that has read the script, and in which these keys were pressed."""
    program, setup = STARTS[shell]
    with Terminal(program=program, TERM="dumb", PS1="$ ", HISTFILE="", COLUMNS="200") as terminal:
        terminal.press(f"cd {place}; {setup}; PS1='rea''dy> '\n".encode())
        terminal.see("ready> ")
        terminal.press(keys)
        yield terminal


@linux_only
@pytest.mark.parametrize("shell", [needs("bash"), needs("zsh")])
@pytest.mark.parametrize("what", LINES)
def test_tab(place, shell, what):
    typed, expected = LINES[what]
    tabs = "\t" if shell == "bash" else "\t\t"  # zsh shows first what there is to say of an option
    with typing(place, shell, f"{typed}{tabs}".encode()) as terminal:
        terminal.see(expected)


@linux_only
@pytest.mark.parametrize("shell", [needs("bash")])
def test_tab_twice_lists_all(place, shell):
    with typing(place, shell, b"safeconnect doctor --\t\t") as terminal:
        for option in ("--help", "--json", "--timeout"):
            terminal.see(option)


@pytest.mark.parametrize("shell", [needs("fish")])
@pytest.mark.parametrize("what", LINES)
def test_fish_completes(place, shell, what):
    typed, expected = LINES[what]
    command = [shell, "--no-config", "-c", f"source for.fish; complete -C '{typed}'"]
    changes = {"HOME": str(place), "XDG_DATA_HOME": str(place)}
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, env={**os.environ, **changes})
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected.split()[-1]]


def test_without_the_library_it_says_what_to_install():
    done = run("--print-completion", "bash", program=WITHOUT_EXTRAS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'safeconnect[cli]'" in done.stderr
