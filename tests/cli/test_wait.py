"""``safeconnect wait``: against servers, faults and terminals, with and without a command."""

import json
import re
import signal
import socket
import subprocess

import pytest

from safeconnect import cli, testing

from .. import namespace, support
from ..support import linux_only, needs_ipv6, needs_port_range
from .terminal import PROGRAM, UNMEASURED, WITHOUT_EXTRAS, call, run, start, written

pytestmark = linux_only


def see(waiting, text):
    """Read its messages up to the line with the text."""
    for line in waiting.stderr:
        if text in line:
            return
    waiting.kill()
    pytest.fail(f"it ended without {text!r}")


NOWHERE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class TestWhatItWaitsFor:
    def test_up(self, up):
        done = run("wait", up)
        assert (done.returncode, done.stdout) == (0, "")
        first, last = done.stderr.splitlines()
        assert re.fullmatch(rf"waiting for {up}, for up to 30[.\d]* s", first)
        assert re.fullmatch(rf"{re.escape(up)} is up after [\d.]+ \w+, 1 try", last)

    @needs_ipv6
    def test_up_with_brackets(self):
        with support.listening(socket.AF_INET6) as server:
            assert call("wait", written(server.getsockname())).returncode == 0

    def test_a_port_alone_is_localhosts(self, server):
        assert call("wait", f":{server.getsockname()[1]}").returncode == 0

    def test_not_up_in_time(self, down):
        done = call("wait", down, "--timeout", "0.3")
        assert (done.returncode, done.stdout) == (124, "")
        assert re.search(
            rf"^{down} was not up within 300 ms: refused (once|\d+ times)(, cut short once)?; the last after ",
            done.stderr,
            re.MULTILINE,
        )

    def test_one_try(self, down):
        done = call("wait", down, "--timeout", "0")
        assert done.returncode == 124
        assert f"{down} was not up at the only try: refused once" in done.stderr

    def test_comes_up_later(self):
        with testing.late_listener() as server, start("wait", written(server.address), "-v") as waiting:
            see(waiting, "Connection refused")
            server.start()
            _, told = waiting.communicate()
        assert waiting.returncode == 0
        assert "is up after" in told

    def test_gone(self, up, down):
        assert call("wait", down, "--gone").returncode == 0
        done = call("wait", up, "--gone", "--timeout", "0.2")
        assert done.returncode == 124
        assert f"{up} was not gone within 200 ms: connected" in done.stderr

    def test_all_of_several(self, up, down):
        done = call("wait", up, down, "--timeout", "0.2")
        assert done.returncode == 124
        assert f"{up} is up" in done.stderr
        assert f"{down} was not up" in done.stderr

    def test_any_of_several(self, up, down):
        done = call("wait", down, up, "--any", "--timeout", "30")
        assert done.returncode == 0
        assert "was not up" not in done.stderr
        assert call("wait", down, down, "--any", "--timeout", "0.1").returncode == 124

    @pytest.mark.parametrize(
        ("expected", "status"), [("220 ", 0), (r"220 ready\r\n", 0), ("250", 124), (r"220\t", 124), (r"\x32\x32", 0)]
    )
    def test_what_it_sends_first(self, expected, status):
        with testing.serve(lambda peer: peer.sendall(b"220 ready\r\n")) as server:
            times = ("--timeout", "0" if status else "30", "--attempt-timeout", "20")  # one try where it is to fail
            done = call("wait", written(server.address), "--expect", expected, *times)
        assert done.returncode == status
        assert ("it sent b'22" in done.stderr) is bool(status)


class TestFaults:
    """The faults of safeconnect.testing, seen from outside; connections to itself are below: `TestOneSourcePort`."""

    @pytest.mark.parametrize(("fault", "seen"), [(testing.refused, "refused"), (testing.blackhole, "timed out")])
    def test_never_up(self, fault, seen):
        with fault() as server:
            done = call("wait", written(server.address), "--timeout", "0.5", "--attempt-timeout", "0.2")
        assert done.returncode == 124
        assert f" {seen} " in done.stderr

    @pytest.mark.parametrize(
        ("fault", "timeout", "each", "seen"),
        [
            (testing.resets, "1", "0.7", "connected, then reset"),  # once or more often; a reset may come earlier, too
            (testing.silent, "0", "0.3", "connected, then timed out"),
            (lambda: testing.half_closes(b"2"), "0", "20", "wrong answer"),
            (lambda: testing.drips(data=b"250 no"), "0", "20", "wrong answer"),
        ],
    )
    def test_up_but_not_with_the_right_answer(self, fault, timeout, each, seen):
        with fault() as server:
            address = written(server.address)
            done = call("wait", address, "--timeout", timeout, "--attempt-timeout", each, "--expect", "220 ")
            assert done.returncode == 124
            assert f" {seen} " in done.stderr
            assert call("wait", address, "--attempt-timeout", "5").returncode == 0

    @pytest.mark.parametrize(
        "fault",
        [
            testing.echo,
            testing.never_reads,
            testing.crossed_replies,
            lambda: testing.slow_accept(0.5),
            lambda: testing.flaky(["refuse", "reset", "serve"]),
        ],
    )
    def test_up_whatever_comes_after_the_connect(self, fault):
        with fault() as server:
            assert call("wait", written(server.address)).returncode == 0


class TestNames:
    """In this process, with a resolver of the fixtures' own."""

    def test_a_name_that_does_not_exist_can_never_be(self, capsys):
        with testing.names({"nowhere.test": NOWHERE}):
            assert cli.main(["wait", "nowhere.test:80", "--timeout", "60", "--no-retry-names"]) == 1
        assert "\nnowhere.test:80 can never be up: [Errno -2] " in capsys.readouterr().err

    def test_then_the_others_are_not_waited_for_unless_one_is_enough(self, capsys, up, down):
        with testing.names({"nowhere.test": NOWHERE}):
            once = "--no-retry-names"
            assert cli.main(["wait", "nowhere.test:80", down, "--timeout", "60", "--json", once]) == 1
            left = json.loads(capsys.readouterr().out)["targets"]
            assert [each["state"] for each in left] == ["impossible", "waiting"]
            assert cli.main(["wait", "nowhere.test:80", up, "--timeout", "60", "--any", once]) == 0
            assert cli.main(["wait", "nowhere.test:80", down, "--timeout", "0.1", "--any", once]) == 124
            assert cli.main(["wait", "nowhere.test:80", "--timeout", "60", "--any", once]) == 1

    def test_a_name_may_come_to_exist(self, capsys, monkeypatch, up):
        look_up, lookups = socket.getaddrinfo, []

        def appearing(host, *arguments, **settings):
            if host == "app.test":
                lookups.append(host)
                if len(lookups) < 4:
                    raise NOWHERE
                host = "127.0.0.1"
            return look_up(host, *arguments, **settings)

        monkeypatch.setattr(socket, "getaddrinfo", appearing)
        assert cli.main(["wait", f"app.test:{up.partition(':')[2]}"]) == 0
        assert len(lookups) == 4
        told = capsys.readouterr().err
        assert told.count("Name or service not known; waiting for the name\n") == 1
        assert "is up after" in told

    def test_a_name_that_never_does(self, capsys):
        with testing.names({"nowhere.test": NOWHERE}):
            assert cli.main(["wait", "nowhere.test:80", "--timeout", "0.2"]) == 124
        assert re.search(
            r"was not up within 200 ms: no such name (once|\d+ times)(, cut short once)?; ", capsys.readouterr().err
        )

    def test_a_name_that_is_not_waited_for(self, capsys):
        with testing.names({"nowhere.test": NOWHERE}):
            assert cli.main(["wait", "nowhere.test:80", "--timeout", "0"]) == 124
        assert "waiting for the name" not in capsys.readouterr().err

    def test_what_is_cut_short_has_its_time(self, capsys, up, down):
        assert cli.main(["wait", down, up, "--any", "--json", "-q"]) == 0
        first, _ = json.loads(capsys.readouterr().out)["targets"]
        assert first["state"] == "waiting"
        assert first["seconds"] > 0


class TestCommand:
    def test_runs_in_its_place(self, up):
        with start("wait", up, "--", "sh", "-c", "echo $$ $0 $1; exit 7", "--", "x y") as waiting:
            printed, _ = waiting.communicate()
        assert printed == f"{waiting.pid} -- x y\n"
        assert waiting.returncode == 7

    def test_a_signal_that_ends_it_is_seen(self, up):
        assert run("wait", up, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM

    def test_signals_are_as_in_a_shell(self, up):
        ignored = run("wait", up, "--", "grep", "SigIgn", "/proc/self/status").stdout.split()[1]
        assert not int(ignored, 16) & 1 << signal.SIGPIPE - 1

    def test_not_after_the_time_is_up(self, down):
        done = run("wait", down, "--timeout", "0.1", "--", "echo", "ran")
        assert (done.returncode, done.stdout) == (124, "")

    def test_not_found(self, up):
        done = run("wait", up, "-q", "--", "no-such-command")
        assert (done.returncode, done.stderr) == (127, "safeconnect: the command 'no-such-command' was not found\n")

    def test_with_json_first(self, up):
        printed = run("wait", up, "-q", "--json", "--", "echo", "ran").stdout
        result, _, rest = printed.rpartition("}\n")
        assert json.loads(result + "}")["exit_status"] == 0
        assert rest == "ran\n"


class TestWhatItSays:
    def test_json(self, up, down):
        done = call("wait", up, down, up, "--timeout", "0.2", "--json", "-q")
        assert done.stderr == ""
        result = json.loads(done.stdout)
        assert result["exit_status"] == done.returncode == 124
        first, second = result["targets"]  # each once
        assert {**first, "seconds": 0, "port": 0} == {
            "target": up,
            "host": "127.0.0.1",
            "port": 0,
            "state": "up",
            "seconds": 0,
            "tries": 1,
            "last_outcome": None,
            "exposure": None,
            "notes": [],
        }
        assert (second["state"], second["last_outcome"]) == ("timed out", "refused")
        assert 0.1 < second["seconds"] < 60
        assert second["notes"][0].startswith(f"{down} was not up within 200 ms")

    def test_quiet(self, up, down):
        assert call("wait", up, "-q").stderr == ""
        assert call("wait", down, "-q", "--timeout", "0.1").stderr == ""

    def test_verbose_tells_each_change_once(self, down):
        told = call("wait", down, "-v", "--timeout", "0.5").stderr
        assert told.count(f"{down}: [Errno 111] Connection refused\n") == 1

    @needs_port_range
    def test_that_a_port_is_exposed(self):
        code = """
            from tests.cli.terminal import call
            for port in (40000, 40001, 39999):
                print("is exposed to self-connects" in call("wait", f"127.0.0.1:{port}", "--timeout", "0").stderr)
        """
        assert namespace.run(code, ports="40000 40999").split() == ["True", "True", "False"]

    def test_without_the_extras_it_says_the_same(self, up, down):
        arguments = ("wait", up, down, "--timeout", "0")
        plain, rich = (run(*arguments, program=program) for program in (WITHOUT_EXTRAS, PROGRAM))
        assert plain.returncode == rich.returncode == 124
        assert without_times(plain.stderr) == without_times(rich.stderr)


def without_times(text):
    return sorted(re.sub(r"[\d.]+ (s|ms)\b", "a time", text).splitlines())


class TestOneSourcePort:
    """A network with one source port, 40000: every plain connect to 127.0.0.1:40000 meets itself."""

    def test_nobody_listens(self):
        code = """
            import socket
            from tests.cli.terminal import call
            done = call("wait", "127.0.0.1:40000", "--timeout", "1.5")
            print(done.returncode)
            print(done.stderr)
            with socket.socket() as server:  # without SO_REUSEADDR
                server.bind(("127.0.0.1", 40000))
        """
        status, *told = namespace.run(code, ports="40000 40000").splitlines()
        assert status == "124"
        assert any("is exposed to self-connects" in line for line in told)
        assert any("the socket connected to itself" in line for line in told)
        assert any("was not up within 1.5 s: met itself " in line for line in told)

    def test_a_server_comes_up_in_between(self):
        code = """
            import socket
            from tests.cli.terminal import start
            with start("wait", "127.0.0.1:40000", "--timeout", "50") as waiting:
                while "connected to itself" not in waiting.stderr.readline():
                    pass
                with socket.create_server(("127.0.0.1", 40000)):
                    print(waiting.wait(), waiting.stderr.read())
        """
        assert re.match(r"0 (?s:.*)127.0.0.1:40000 is up after ", namespace.run(code, ports="40000 40000"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(down, number, status):
    with start("wait", down, "--timeout", "none", "-v", **UNMEASURED) as waiting:
        see(waiting, "refused")
        waiting.send_signal(number)
        _, told = waiting.communicate()
    assert waiting.returncode == status
    assert "Traceback" not in told


def test_nobody_reads_any_more(up):
    stdout, reader = socket.socketpair()
    reader.close()
    with stdout:
        done = subprocess.run(
            [*PROGRAM, "wait", up, "--json", "-q"], stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")
