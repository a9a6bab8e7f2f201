"""`safeconnect run` over programs, modules, scripts, shells and children: each connect is seen in the trace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from safeconnect.cli import _run

from ..cli import terminal
from . import program
from .program import RUN, call, plainly

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process is replaced there, and none forks")

CONNECT = "import http.client, sys; http.client.HTTPConnection('127.0.0.1', int(sys.argv[1])).connect()\n"


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.py"
    path.write_text(CONNECT)
    return path


def run(trace, *command, **settings):
    """Run it under `safeconnect run`, with no error and nothing on stderr."""
    done = call(*RUN, f"--trace={trace.path}", *command, env=plainly(), **settings)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


class TestWhatIsRun:
    def test_a_file(self, app, trace, port):
        run(trace, str(app), str(port))
        assert len(trace.to(port)) == 1

    def test_a_file_by_its_name_alone(self, app, trace, port):
        app.chmod(0o755)
        run(trace, app.name, str(port), cwd=app.parent)
        assert len(trace.to(port)) == 1

    @pytest.mark.parametrize("first", ["#!/bin/sh\necho shell\n", ""])
    def test_an_executable_file_is_run_by_what_it_names(self, app, trace, port, first):
        app.write_text(first or CONNECT)
        app.chmod(0o755)
        printed = run(trace, str(app), str(port))
        assert (printed, len(trace.to(port))) == (("shell\n", 0) if first else ("", 1))

    def test_python(self, app, trace, port):
        run(trace, "--", sys.executable, str(app), str(port))
        assert len(trace.to(port)) == 1

    def test_a_module(self, app, trace, port):
        run(trace, "-m", "app", str(port), cwd=app.parent)
        assert len(trace.to(port)) == 1

    def test_a_console_script(self, app, trace, port):
        script = app.with_name("serve")
        script.write_text(f"#!{sys.executable}\n{CONNECT}")
        script.chmod(0o755)
        run(trace, str(script), str(port))
        assert len(trace.to(port)) == 1

    def test_a_shell_between(self, app, trace, port):
        run(trace, "sh", "-c", f"{sys.executable} {app} {port}; {sys.executable} {app} {port}")
        assert len({each["pid"] for each in trace.to(port)}) == 2

    def test_its_arguments_are_its_own(self, trace, tmp_path):
        (tmp_path / "show.py").write_text("import sys; print(sys.argv[1:])")
        arguments = ["--trace", "-t", "--", "-m", "x"]
        for dashes in ([], ["--"]):
            assert run(trace, *dashes, str(tmp_path / "show.py"), *arguments) == f"{arguments}\n"


CHILDREN = {
    "subprocess": "subprocess.run([sys.executable, __file__, sys.argv[1], 'connect'], check=True)",
    "fork": "pid = os.fork(); pid or (connect(), os._exit(0)); assert os.waitpid(pid, 0)[1] == 0",
    "exec": "os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], 'connect'])",
    "spawned": "pool('spawn')",
    "forked": "pool('fork')",
    "forkserver": "pool('forkserver')",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHILDREN)
def test_children(kind, trace, port, tmp_path):
    code = f"""
import http.client, multiprocessing, os, subprocess, sys
def connect():
    http.client.HTTPConnection('127.0.0.1', int(sys.argv[1])).connect()
def pool(method):
    child = multiprocessing.get_context(method).Process(target=connect)
    child.start()
    child.join()
    assert child.exitcode == 0
if __name__ == "__main__":
    if sys.argv[2:]:
        connect()
    else:
        {CHILDREN[kind]}
"""
    (tmp_path / "app.py").write_text(code)
    run(trace, str(tmp_path / "app.py"), str(port))
    assert len(trace.to(port)) == 1


class TestProcess:
    @pytest.mark.parametrize("status", [0, 3])
    def test_the_exit_status_is_the_programs(self, status):
        done = call(*RUN, sys.executable, "-c", f"raise SystemExit({status})", env=plainly())
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")

    def test_it_is_the_same_process_and_has_its_signals(self):
        code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [*RUN, sys.executable, "-c", code], env=plainly(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert int(process.stdout.readline()) == process.pid
            process.send_signal(signal.SIGTERM)
        assert process.returncode == -signal.SIGTERM

    def test_not_found_and_not_runnable(self, tmp_path):
        (tmp_path / "data").write_text("x")
        missing = call(*RUN, "no-such-program", env=plainly())
        assert missing.returncode == 127
        assert missing.stderr == "safeconnect: the command 'no-such-program' was not found\n"
        refused = call(*RUN, str(tmp_path / "data"), env=plainly())
        assert refused.returncode == 126
        assert "cannot be run: Permission denied" in refused.stderr


class TestEnvironment:
    SHOW = "import os; print(os.environ['SAFECONNECT'], os.environ['PYTHONPATH'], sep='\\n')"

    def shown(self, *options, **changes):
        done = call(*RUN, *options, sys.executable, "-c", self.SHOW, env=plainly(**changes))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def test_without_settings(self):
        assert self.shown() == ["1", f"{program.START}{os.pathsep}{program.ROOT}"]

    def test_of_all_settings(self):
        options = ["-t", "5s", "--retry=deadline", "--attempt-timeout", "1", "--keepalive", "30s"]
        options += ["--user-timeout", "1m", "--memory", "--clients", "redis,urllib3", "--trace"]
        text = "timeout=5s,retry=deadline,attempt-timeout=1,keepalive=30s,user-timeout=1m,memory=on"
        assert self.shown(*options)[0] == f'{text},clients="redis,urllib3",trace=stderr'

    def test_what_is_set_already_stays_unless_an_option_replaces_it(self):
        assert self.shown("-t", "1", SAFECONNECT="timeout=5,memory")[0] == "timeout=1,memory=on"
        assert self.shown(SAFECONNECT="0")[0] == "1"

    def test_under_another_run_it_is_on_the_path_once(self):
        paths = os.pathsep.join([program.START, str(program.ROOT)])
        assert self.shown(PYTHONPATH=paths)[1] == paths

    @pytest.mark.parametrize("path", ["", ":", ":/a", "/a:", "/a::/b"])
    def test_an_empty_entry_of_the_path_stays(self, path):
        """It stands for the working directory, unless the whole variable is empty."""
        assert self.shown(PYTHONPATH=path.replace(":", os.pathsep))[1].split(os.pathsep) == [
            program.START,
            *(path.split(":") if path else []),
        ]

    def test_a_relative_file_is_meant_here(self, tmp_path):
        done = call(*RUN, "--trace=a b", sys.executable, "-c", self.SHOW, env=plainly(), cwd=tmp_path)
        assert done.stdout.splitlines()[0] in (f'trace="{tmp_path}/a b"', f'trace="{tmp_path.resolve()}/a b"')
        assert (tmp_path / "a b").exists()


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "there is no PROGRAM to run"),
            (["--"], "there is no command after --"),
            (["-m"], "-m needs the name of a module"),
            (["--timeout"], "argument -t/--timeout: expected one argument"),
            (["--timeout", "soon", "app.py"], "argument -t/--timeout: expected seconds, 0 or more"),
            (["-tsoon", "app.py"], "argument -t/--timeout: expected seconds, 0 or more"),
            (["--retry", "x", "app.py"], "argument --retry: expected a number of rounds"),
            (["--clients", "nonsense", "app.py"], "argument --clients: expected names among asyncio, "),
            (["--trace=", "app.py"], "argument --trace: expected stderr or the name of a file"),
            (["--time", "5", "app.py"], "unrecognized arguments: --time"),
            (["--json", "app.py"], "unrecognized arguments: --json"),
        ],
    )
    def test_it_is_named(self, arguments, message):
        done = terminal.call("run", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: safeconnect run ")
        assert message in done.stderr

    def test_wrong_settings_in_the_environment(self):
        done = terminal.call("run", "app.py", SAFECONNECT="timeout=soon")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("safeconnect: SAFECONNECT: timeout: expected seconds")

    def test_a_trace_that_cannot_be_written(self, tmp_path):
        done = terminal.call("run", f"--trace={tmp_path}", "app.py", SAFECONNECT="")
        assert done.returncode == 1
        assert done.stderr.startswith("safeconnect: the trace cannot be written: ")


@pytest.mark.parametrize("refused", ["is_file", "open"])
def test_a_file_that_may_not_be_looked_at_is_left_to_the_kernel(tmp_path, monkeypatch, refused):
    def refuse(*_, **__):
        raise PermissionError

    path = tmp_path / "app.py"
    path.touch(0o755)
    monkeypatch.setattr(Path, refused, refuse)
    assert _run._command([str(path)]) == [str(path)]


def test_python_m_safeconnect_and_the_script_are_the_same(trace, port, app):
    script = Path(sys.executable).with_name("safeconnect")
    if not script.exists():
        pytest.skip("the console script is not installed beside this Python")
    done = call(str(script), "run", f"--trace={trace.path}", str(app), str(port), env=plainly())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(trace.to(port)) == 1
