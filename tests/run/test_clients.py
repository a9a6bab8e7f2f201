"""Real programs under `safeconnect run`, and real servers: requests, redis-py, PyMySQL, pytest, gunicorn, celery."""

import contextlib
import subprocess
import sys
import urllib.request
import venv
from importlib.util import find_spec

import pytest

from .. import namespace
from ..integrations import kit
from ..namespace import ROOT
from ..support import linux_only, needs_port_range
from .program import LINE, RUN, call, environment, plainly, python

pytestmark = [pytest.mark.slow, linux_only]


def needed(*packages):
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def redis_port():
    needed("redis")
    port = kit.free_port()
    settings = ["--bind", "127.0.0.1", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    with kit.daemon("redis-server", "--port", str(port), *settings, port=port):
        yield port


@pytest.fixture(scope="module")
def mariadb_port(tmp_path_factory):
    needed("pymysql")
    with kit.mariadb(tmp_path_factory.mktemp("mariadb")) as port:
        yield port


def test_requests(trace):
    needed("requests")
    with kit.web_server() as port:
        code = "import requests, sys; print(requests.get(f'http://127.0.0.1:{sys.argv[1]}/a').text)"
        assert python(code, str(port), env=environment(trace.setting)) == "GET /a\n"
    assert len(trace.to(port)) == 1


def test_redis_py(redis_port, trace):
    code = """
        import redis, sys
        with redis.Redis(host="127.0.0.1", port=int(sys.argv[1])) as client:
            client.set("name", "value")
            print(client.get("name"))
    """
    assert python(code, str(redis_port), env=environment(trace.setting)) == "b'value'\n"
    assert trace.to(redis_port)


def test_pymysql(mariadb_port, trace):
    code = """
        import pymysql, sys
        with pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root") as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 7")
                print(cursor.fetchone())
    """
    assert python(code, str(mariadb_port), env=environment(trace.setting)) == "(7,)\n"
    assert len(trace.to(mariadb_port)) == 1


def test_settings_arrive_at_a_client(redis_port):
    code = """
        import redis, socket, sys
        with redis.Redis(host="127.0.0.1", port=int(sys.argv[1])) as client:
            client.ping()
            sock = client.connection_pool.get_connection()._sock
            print(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
    """
    printed = python(code, str(redis_port), env=environment("keepalive=30s,user-timeout=7s"))
    assert printed.split() == ["7000", "1"]


def test_pytest_in_pytest(trace, port, tmp_path):
    (tmp_path / "test_it.py").write_text(
        f"import http.client\ndef test_it(): http.client.HTTPConnection('127.0.0.1', {port}).connect()\n"
    )
    # pytest would warn of modules that it knows of and that are loaded before it.
    warnings = ["-W", "ignore", "-W", "error::pytest.PytestAssertRewriteWarning"]
    options = ["-p", "no:cacheprovider", "-p", "no:randomly", *warnings]
    command = [*RUN, f"--trace={trace.path}", "-m", "pytest", *options, "test_it.py"]
    done = call(*command, env=plainly(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert len(trace.to(port)) == 1


def test_pytest_in_pytest_with_workers(trace, port, tmp_path):
    needed("xdist")
    (tmp_path / "test_it.py").write_text(
        "import http.client, pytest\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        f"def test_it(number): http.client.HTTPConnection('127.0.0.1', {port}).connect()\n"
    )
    command = [*RUN, f"--trace={trace.path}", "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", "-n", "2"]
    done = call(*command, "test_it.py", env=plainly(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(trace.to(port)) == 8


def test_gunicorn(trace, port, tmp_path):
    needed("gunicorn")
    (tmp_path / "app.py").write_text(
        "import http.client, os\n"
        "def app(environ, start_response):\n"
        f"    http.client.HTTPConnection('127.0.0.1', {port}).connect()\n"
        "    start_response('200 OK', [])\n"
        "    return [str(os.getpid()).encode()]\n"
    )
    own = kit.free_port()
    command = [*RUN, f"--trace={trace.path}", "-m", "gunicorn", "--bind", f"127.0.0.1:{own}", "app:app"]
    with (
        kit.running(*command, port=own, cwd=tmp_path, env=plainly(HOME=str(tmp_path))) as master,
        urllib.request.urlopen(f"http://127.0.0.1:{own}/", timeout=60) as answer,
    ):
        worker = int(answer.read())
    assert worker != master.pid
    assert [each["pid"] for each in trace.to(port)] == [worker]


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_celery_with_redis(redis_port, trace, port, tmp_path, pool):
    needed("celery")
    (tmp_path / "tasks.py").write_text(
        "import http.client, os\n"
        "from celery import Celery\n"
        f"app = Celery('tasks', broker='redis://127.0.0.1:{redis_port}/3', backend='redis://127.0.0.1:{redis_port}/4')\n"
        "@app.task\n"
        "def connect():\n"
        f"    http.client.HTTPConnection('127.0.0.1', {port}).connect()\n"
        "    return os.getpid()\n"
    )
    worker = ["-m", "celery", "-A", "tasks", "worker", "--pool", pool, "--concurrency", "1", "--without-mingle"]
    env = plainly(HOME=str(tmp_path))
    with kit.running(*RUN, f"--trace={trace.path}", *worker, "--without-gossip", cwd=tmp_path, env=env) as process:
        code = "from tasks import connect; print(connect.delay().get(timeout=50))"
        done = call(*RUN, f"--trace={trace.path}", sys.executable, "-c", code, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        pid = int(done.stdout)
    assert (pid == process.pid) == (pool == "solo")
    assert [each["pid"] for each in trace.to(port)] == [pid]
    connected = {each["pid"] for each in trace.to(redis_port)}
    assert process.pid in connected
    assert len(connected) >= 2, "the program that sends the task connects to redis, too"


@needs_port_range
def test_an_unchanged_program_does_not_connect_to_itself(tmp_path):
    (tmp_path / "app.py").write_text(
        "import http.client\n"
        "met = 0\n"
        "for _ in range(50):\n"
        "    client = http.client.HTTPConnection('127.0.0.1', 40000)\n"
        "    try:\n"
        "        client.connect()\n"
        "        met += client.sock.getsockname() == client.sock.getpeername()\n"
        "    except OSError:\n"
        "        pass\n"
        "    client.close()\n"
        "print(met)\n"
    )
    code = f"""
        import subprocess, sys
        for run in ([], ["-m", "safeconnect", "run"]):
            command = [sys.executable, *run, {str(tmp_path / "app.py")!r}]
            print(subprocess.check_output(command, text=True).strip())
    """
    plain, ours = namespace.run(code, ports="40000 40000").split()
    assert int(plain) > 0
    assert int(ours) == 0


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A Python with the wheel, and nothing else that is ours."""
    needed("hatchling")
    if not (ROOT / "safeconnect").exists():
        pytest.skip("the sources are not beside these tests")
    work = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    built = call(sys.executable, "-c", build, str(work), env=plainly())
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = work.glob("*.whl")
    venv.create(work / "venv", with_pip=False)
    python = work / "venv/bin/python"
    where = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    with contextlib.chdir(where):
        subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), where], check=True)
    return python


class TestInstalled:
    """The variable alone, where the wheel is installed."""

    WHOSE = "import socket; print(socket.create_connection.__module__.partition('.')[0])"

    def whose(self, python, **changes):
        env = {"PATH": "/usr/bin:/bin", **changes}
        done = call(str(python), "-c", self.WHOSE, env=env, cwd="/")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def test_the_line_is_at_the_top(self, installed):
        (line,) = installed.parent.parent.glob("lib/*/site-packages/safeconnect.pth")
        assert line.read_text() == LINE.read_text()

    @pytest.mark.parametrize(
        ("settings", "module"),
        [("1", "safeconnect"), ("true", "safeconnect"), ("0", "socket"), ("false", "socket"), ("", "socket")],
    )
    def test_the_variable(self, installed, settings, module):
        assert self.whose(installed, SAFECONNECT=settings) == module
        assert self.whose(installed) == "socket"

    def test_with_a_trace(self, installed, trace, port):
        code = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        env = {"SAFECONNECT": trace.setting}
        assert call(str(installed), "-c", code, env=env, cwd="/").returncode == 0
        assert len(trace.to(port)) == 1

    def test_with_run_it_is_once(self, installed, trace, port):
        code = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        command = [str(installed), "-m", "safeconnect", "run", f"--trace={trace.path}", str(installed), "-c", code]
        done = call(*command, env={}, cwd="/")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(trace.to(port)) == 1

    @pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
    def test_isolated_interpreters_are_not_reached(self, installed, flag):
        done = call(str(installed), flag, "-c", self.WHOSE, env={"SAFECONNECT": "1"}, cwd="/")
        assert done.stdout == "socket\n"

    def test_without_the_variable_nothing_is_loaded(self, installed):
        code = "import sys; print([name for name in sys.modules if name.startswith('safeconnect')])"
        done = call(str(installed), "-c", code, env={}, cwd="/")
        assert done.stdout == "[]\n"
