"""A Python that starts with our directory on its path: what it installs, when, and what it leaves as it was."""

import os
import shutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from safeconnect._run import activation

from ..cli.terminal import UNMEASURED  # coverage imports socket first
from ..namespace import ROOT
from ..support import linux_only
from . import program
from .program import environment, plainly, python

WHOSE = "import socket; print(socket.create_connection.__module__.partition('.')[0])"
THEIRS = "socket"
IS_COVERED = "import safeconnect; print(safeconnect.installed()[{client!r}].is_covered)"


@pytest.mark.parametrize(
    ("settings", "module"),
    [("1", "safeconnect"), ("on", "safeconnect"), ("memory", "safeconnect"), ("", THEIRS)]
    + [(off, THEIRS) for off in ("0", "off", " ")],
)
def test_on_and_off(settings, module):
    assert python(WHOSE, env=environment(settings)) == f"{module}\n"


def test_the_command_itself_says_once_what_is_wrong():
    done = program.call(*program.RUN, "app.py", env=environment("timeout=soon"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("safeconnect: SAFECONNECT: timeout: expected")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "is_own"),
    [
        (["python", "-m", "safeconnect", "run"], True),
        (["/usr/bin/python3", "/usr/local/bin/safeconnect", "wait"], True),
        (["python", "app.py", "safeconnect"], False),
        (["python", "-m", "pytest"], False),
        (["python"], False),
        ([], False),
    ],
)
def test_what_the_command_itself_is(argv, is_own):
    assert activation._is_own_command(argv) is is_own


def test_a_program_that_never_connects_loads_next_to_nothing():
    code = "import sys; print(*sorted(name for name in sys.modules if name.startswith(('safeconnect', 'socket'))))"
    loaded = python(code, env=environment("timeout=5s,trace", **UNMEASURED)).split()
    assert {"safeconnect._run.activation", "safeconnect._install.clients"} < set(loaded)
    assert len(loaded) < 12
    assert not {"socket", "safeconnect._install.installing", "safeconnect._connect"} & set(loaded)


def test_from_socket_import():
    code = "from socket import create_connection as connect; print(connect.__module__.partition('.')[0])"
    assert python(code, env=environment()) == "safeconnect\n"


@pytest.mark.slow
@pytest.mark.parametrize("client", ["asyncio", "aiohappyeyeballs", "anyio", "trio", "urllib3", "redis"])
@pytest.mark.parametrize("first", ["", "import socket; ", "import safeconnect.asyncio; "])
def test_a_client_is_reached_whatever_is_imported_first(client, first):
    if find_spec(client) is None:
        pytest.skip(f"{client} is not installed")
    code = f"{first}import {client}; {IS_COVERED.format(client=client)}"
    assert python(code, env=environment(**UNMEASURED)) == "True\n"


@pytest.mark.parametrize(
    "imports",
    [
        "from safeconnect import Connector, create_connection",
        "import safeconnect.asyncio",
        "from safeconnect import install",
        "import safeconnect.testing",
        "import safeconnect.integrations.web",
    ],
)
def test_a_program_that_uses_the_library_itself(imports):
    assert python(f"{imports}\n{WHOSE}", env=environment()) == "safeconnect\n"


def test_the_programs_own_install_comes_last():
    code = f"""
        import safeconnect
        safeconnect.install(connector=safeconnect.Connector(timeout=1))
        {WHOSE}
        safeconnect.uninstall()
        {WHOSE}
    """
    assert python(code, env=environment()).split() == ["safeconnect", "socket"]


def test_an_import_that_fails_is_not_the_last_word(tmp_path):
    (tmp_path / "redis.py").write_text("import socket\nraise ImportError('broken')\n")
    code = f"""
        import sys
        try:
            import redis
        except ImportError as error:
            print(error)
        {WHOSE}
        print([finder for finder in sys.meta_path if "safeconnect._run" in type(finder).__module__])
    """
    assert python(code, env=environment("1", tmp_path)).splitlines() == ["broken", "safeconnect", "[]"]


def test_activating_twice_is_once():
    code = """
        import sys
        from safeconnect._run.activation import activate
        activate()
        print([type(finder).__module__ for finder in sys.meta_path].count("safeconnect._run.activation"))
    """
    assert python(code, env=environment(**UNMEASURED)) == "1\n"


def test_nothing_of_it_is_seen():
    code = """
        import sys
        print([path for path in sys.path if "_run" in path])
        try:  # a Python of Debian's has one of its own
            import sitecustomize
        except ImportError as error:
            print(error)
        else:
            print(sitecustomize.__file__)
    """
    seen = python(code, env=environment(), cwd="/")
    assert seen.startswith("[]\n")
    assert seen == python(code, env=plainly(), cwd="/")


def test_the_loaders_of_what_it_waits_for_are_their_own():
    code = """
        import asyncio, socket, safeconnect.errors
        for module in (asyncio, socket, safeconnect.errors):
            print(module.__loader__ is module.__spec__.loader, type(module.__loader__).__name__)
    """
    assert python(code, env=environment()).splitlines() == ["True SourceFileLoader"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import socket, sys; ", "import gevent; ", "import safeconnect; "])
def test_a_program_of_gevent(first, port, trace):
    if find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    code = f"""
        {first}import gevent.monkey
        gevent.monkey.patch_all()
        {WHOSE}
        gevent.joinall([gevent.spawn(socket.create_connection, ("127.0.0.1", {port})) for _ in range(3)])
    """
    assert python(code, env=environment(trace.setting)) == "safeconnect\n"
    assert len(trace.to(port)) == 3


@linux_only
@pytest.mark.parametrize(
    ("own", "seconds"), [("install(connector=safeconnect.Connector(timeout=77))", 77), ("uninstall()", None)]
)
def test_a_program_of_gevent_that_installs_by_itself_has_the_last_word(own, seconds):
    pytest.importorskip("gevent")
    code = f"""
        import safeconnect
        safeconnect.{own}
        import gevent.monkey
        gevent.monkey.patch_all()
        from safeconnect._install import installing
        print(*(request.connector.timeout for request in installing._installed))
    """
    assert python(code, env=environment("timeout=5")) == f"{seconds or ''}\n"


class TestWrongSettings:
    def test_one_line_and_the_program_runs(self):
        done = program.call(sys.executable, "-c", WHOSE, env=environment("timeout=soon"))
        assert (done.returncode, done.stdout) == (0, "socket\n")
        assert done.stderr == (
            "safeconnect: SAFECONNECT: timeout: expected seconds, 0 or more, or a time such as 500ms or 1m, not"
            " 'soon'; connects stay as they are\n"
        )

    @linux_only
    def test_without_a_stderr(self):
        command = f'{sys.executable} -c "{WHOSE}" 2>&-'
        done = program.call("sh", "-c", command, env=environment("nonsense"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "socket\n", "")


class TestChain:
    """Another sitecustomize, which ours hides."""

    def test_it_runs_and_is_the_module(self, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("import socket\nNAME = 'theirs'\nprint(__name__)\n")
        code = f"import sitecustomize; print(sitecustomize.NAME, sitecustomize.__file__)\n{WHOSE}"
        printed = python(code, env=environment("1", tmp_path)).splitlines()
        assert printed == ["sitecustomize", f"theirs {tmp_path / 'sitecustomize.py'}", "safeconnect"]

    @pytest.mark.parametrize("text", ["1 / 0", "import nowhere", "raise SystemExit(3)", "syntax error"])
    def test_its_errors_are_what_they_are_without_ours(self, tmp_path, text):
        (tmp_path / "sitecustomize.py").write_text(f"{text}\n")
        code = f"import sys; print('sitecustomize' in sys.modules)\n{WHOSE}"
        with_ours, without = (
            program.call(sys.executable, "-c", code, env=env)
            for env in (environment("1", tmp_path), program.plainly(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"))
        )
        assert with_ours.returncode == without.returncode
        assert with_ours.stderr.splitlines()[-2:] == without.stderr.splitlines()[-2:]
        assert with_ours.stdout == without.stdout.replace("socket", "safeconnect")

    def test_twice_on_the_path_and_under_another_name(self, tmp_path):
        other = tmp_path / "link"
        other.symlink_to(program.START)
        (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
        assert python("", env=environment("1", program.START, other, tmp_path)) == "theirs\n"


def test_a_python_that_has_no_package_of_ours_loads_it_from_its_place(tmp_path):
    env = environment(PYTHONPATH=program.START, HOME=str(tmp_path))
    # -s and without site-packages of its own: a base interpreter has none of this environment's.
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if sys.prefix == sys.base_prefix or not base.exists():
        pytest.skip("this Python is no virtual environment, and has the package")
    done = program.call(str(base), "-s", "-c", WHOSE, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "safeconnect\n", "")


def test_the_syntax_is_that_of_any_python_3():
    import ast

    ast.parse(Path(program.START, "sitecustomize.py").read_text(), feature_version=(3, 4))


def test_a_broken_package_does_not_break_the_program(tmp_path):
    (tmp_path / "safeconnect").mkdir()
    (tmp_path / "safeconnect" / "__init__.py").write_text("1 / 0\n")
    env = environment(PYTHONPATH=os.pathsep.join([program.START, str(tmp_path)]))
    done = program.call(sys.executable, "-c", "print('runs')", env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "runs\n")
    assert "safeconnect: not active in this process: ZeroDivisionError: division by zero\n" in done.stderr


@pytest.mark.parametrize("error", ["ImportError('typing_extensions')", "KeyboardInterrupt"])
def test_a_package_that_cannot_be_loaded_is_not_there(tmp_path, error):
    """A program asks in its own way whether it can be imported, and must not get half of it."""
    package = tmp_path / "place" / "safeconnect"
    (package / "_run").mkdir(parents=True)
    shutil.copytree(program.START, package / "_run" / "path")
    (package / "__init__.py").write_text(f"raise {error}\n")
    file = package / "_run" / "path" / "sitecustomize.py"
    code = f"""
        import contextlib, runpy, sys
        with contextlib.suppress(BaseException):
            runpy.run_path({str(file)!r}, run_name="sitecustomize")
        print("safeconnect" in sys.modules)
    """
    env = program.plainly(PYTHONPATH="")
    done = program.call(sys.executable, "-S", "-c", textwrap.dedent(code), env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_isolated_interpreters_are_not_reached(flag):
    done = subprocess.run(
        [sys.executable, flag, "-c", WHOSE], env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("socket\n", "")


def test_the_line_of_the_wheel_does_the_same():
    line = program.LINE.read_text()
    assert line.count("\n") == 1
    assert line.startswith("import ")
    code = f"{line}{WHOSE}"
    for settings, module in (("1", "safeconnect"), ("", "socket"), ("0", "socket")):
        env = program.plainly(SAFECONNECT=settings)
        assert python(code, env=env) == f"{module}\n"
