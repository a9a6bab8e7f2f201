"""What every command shares: targets, usage, help, completion, output."""

import argparse
import io
import os
import re
import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import safeconnect
from safeconnect import cli
from safeconnect._sockets.endpoint import written
from safeconnect.cli._argument_types import count, deadline, expected_bytes, port, positive_seconds, seconds, target
from safeconnect.cli._console import Stream
from safeconnect.cli._parser import parse

from .terminal import call, run

WITHOUT_A_DEFAULT = {"--send", "--expect"}  # nothing is sent, and nothing expected
COMMANDS = ("wait", "doctor", "ports", "connect", "run", "demo")


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("db:5432", ("db", 5432)),
            ("127.0.0.1:1", ("127.0.0.1", 1)),
            ("[::1]:65535", ("::1", 65535)),
            ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
            (":80", ("localhost", 80)),
            ("bücher.example:80", ("bücher.example", 80)),
        ],
    )
    def test_right(self, text, address):
        assert target(text) == address

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "expected HOST:PORT"),
            ("db", "expected HOST:PORT"),
            ("db:", "the port must be a number from 1 to 65535"),
            ("db:0", "the port must be a number"),
            ("db:65536", "the port must be a number"),
            ("db:http", "the port must be a number"),
            ("db:٤٢", "the port must be a number"),
            ("::1:80", "an IPv6 address takes brackets"),
            ("[::1]", "expected HOST:PORT"),
            ("[]:80", "there is no IPv6 address between the brackets"),
            ("[db]:80", "there is no IPv6 address between the brackets"),
            ("http://db:80", "expected HOST:PORT, not the URL"),
            ("a..b:80", "is no name of a host"),
            ("x" * 64 + ":80", "is no name of a host"),
        ],
    )
    def test_wrong(self, text, reason):
        with pytest.raises(argparse.ArgumentTypeError, match=reason):
            target(text)

    @given(st.ip_addresses(), st.integers(1, 65535))
    def test_what_is_written_is_read(self, address, port):
        assert target(written((str(address), port))) == (str(address), port)
        assert str(target(written((str(address), port)))) == written((str(address), port))


class TestBytes:
    @pytest.mark.parametrize(
        ("text", "data"),
        [("220 ", b"220 "), (r"\r\n\t\0\\", b"\r\n\t\0\\"), (r"\x00\xfF0", b"\x00\xff0"), ("é", b"\xc3\xa9")],
    )
    def test_right(self, text, data):
        assert expected_bytes(text) == data

    @pytest.mark.parametrize("text", ["", r"\q", r"\x", r"\x1", r"\é"])
    def test_wrong(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            expected_bytes(text)

    @given(st.binary(min_size=1))
    def test_any_bytes_can_be_written(self, data):
        assert expected_bytes("".join(f"\\x{byte:02x}" for byte in data)) == data


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (
            seconds,
            {"0": 0, "1.5": 1.5, "1e3": 1000, "500ms": 0.5, "30s": 30, "1m": 60, "1h1m1s1ms": 3661.001, "1.5m": 90},
            ["-1", "inf", "nan", "", "soon", "1d", "m", "1 m", "-1s", "1m2", "٣s"],
        ),
        (positive_seconds, {"0.001": 0.001, "3600": 3600.0}, ["0", "-1", "0.0009", "3601"]),
        (deadline, {"none": None, "0": 0.0, "30": 30.0, "2m": 120}, ["never", "-1"]),
        (count, {"1": 1, "1000": 1000}, ["0", "-1", "1.5", "many", "²"]),
        (port, {"1": 1, "65535": 65535}, ["0", "-1", "65536", "http", "²", "9" * 5000]),
    ],
)
def test_numbers(kind, right, wrong):
    assert {text: kind(text) for text in right} == right
    for text in wrong:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], ""),
            (["nonsense"], ""),
            (["demo", "--nonsense"], ""),
            (["demo", "--port", "0"], ""),
            (["demo", "--port", "65536"], ""),
            (["demo", "--port", "-1"], ""),
            (["demo", "--port", "http"], ""),
            (["wait"], ""),
            (["wait", "db"], ""),
            (["wait", "db:1", "--timeout", "soon"], ""),
            (["wait", "db:1", "-q", "-v"], ""),
            (["wait", "db:1", "--"], ""),
            (["connect", "db:1", "--", "ls"], ""),
            (["connect", "db:1", "--repeat", "0"], ""),
            (["wait", "db:1", "--gone", "--expect", "x"], ""),
            (["--print-completion", "sh"], ""),
            (["wait", "db:1", "--interval", "1e6"], ""),
            (["wait", "db:1", "--attempt-timeout", "0.0001"], ""),
            (["doctor", "--timeout", "1e6"], ""),
            (["ports", "--host", "a..b", "--", "ls"], ""),
            (["ports", "--", ""], ""),
            (["ports", "-n", "0", "--", "true"], "expected a number of 1 or more"),
            (["ports", "--env", "A=B", "--", "true"], "no environment variable can have the name 'A=B'"),
            (["ports", "--env", "", "--", "true"], "no environment variable can have the name ''"),
            (["ports", "--env", "1X", "--", "true"], "no environment variable can have the name '1X'"),
            (["wait", "db:1", "--time", "5"], "unrecognized arguments: --time"),
            (["wait", "--time", "5", "db:1"], "unrecognized arguments: --time"),
            (["connect", "--nonsense=x", "db:1", "--other", "--json"], "unrecognized arguments: --nonsense=x --other"),
            (["ports", "--nonsense", "x", "--", "ls", "--all"], "unrecognized arguments: --nonsense"),
            (["wait", "db:1", "--forever", "-t", "5"], "not allowed with argument --forever"),
            (
                ["wait", "db:1", "-t", "5d"],
                "argument -t/--timeout: expected seconds, 0 or more, or a time such as 500ms",
            ),
            (["ports", "--"], "there is no command after --"),
            (["ports", "true"], "expected a port from 1 to 65535, not 'true'"),
            (["ports", "0"], "expected a port from 1 to 65535, not '0'"),
            (["ports", "65536"], "expected a port from 1 to 65535, not '65536'"),
            (["ports", "1", "2"], "unrecognized arguments: 2"),
            (["ports", "1", "--", "true"], "PORT is not allowed with a command"),
            (["ports", "1", "-n", "2"], "-n, --env, --host and --release need a command after --"),
            (["ports", "-n", "2"], "-n, --env, --host and --release need a command after --"),
            (["ports", "--release"], "-n, --env, --host and --release need a command after --"),
        ],
    )
    def test_wrong(self, arguments, message):
        done = call(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        named = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else []
        assert done.stderr.startswith(" ".join(["usage: safeconnect", *named, ""]))
        assert message in done.stderr

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as ended:
            cli.main(["--version"])
        assert not ended.value.code
        assert capsys.readouterr().out == f"safeconnect {safeconnect.__version__}\n"

    def test_help_names_every_command(self):
        printed = run("--help").stdout
        assert all(re.search(rf"^    {name} ", printed, re.MULTILINE) for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_of_a_command(self, name, capsys):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        printed = capsys.readouterr().out
        assert not ended.value.code
        assert "exit status:" in printed
        assert "examples:\n  safeconnect" in printed
        assert max(map(len, printed.splitlines())) <= 80

    def test_the_help_of_the_program(self):
        printed = call("--help").stdout
        assert "exit status:" in printed
        assert "examples:\n  safeconnect" in printed
        assert max(map(len, printed.splitlines())) <= 80

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_option_with_a_value_says_its_unit_and_its_default(self, name):
        from safeconnect.cli import _parser

        (commands,) = [a for a in _parser._parser()._actions if isinstance(a, argparse._SubParsersAction)]
        for action in commands.choices[name]._actions:
            if action.option_strings and action.nargs != 0 and action.option_strings[0] not in WITHOUT_A_DEFAULT:
                assert "default" in action.help, action.option_strings
            if isinstance(action.default, float):
                assert action.metavar == "SECONDS"
                assert f"(default {action.default:g})" in action.help

    def test_the_examples_are_right_usage(self):
        from safeconnect.cli import _parser, _run_arguments

        texts = (
            _parser._EPILOG,
            _parser._WAIT,
            _parser._DOCTOR,
            _parser._PORTS,
            _parser._CONNECT,
            _parser._DEMO,
            _run_arguments.TEXT,
        )
        examples = [line.strip() for text in texts for line in text.splitlines() if line.startswith("  safeconnect ")]
        assert len(examples) > 8
        for example in examples:
            words = subprocess.run(
                ["sh", "-c", f"set -- {re.split(r' [|] | && ', example)[0]}; printf '%s\\n' \"$@\""],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()
            assert _parser.parse(words[1:]).module == f"_{words[1]}"


class TestStream:
    @pytest.fixture(autouse=True)
    def plain(self, monkeypatch):
        monkeypatch.delenv("FORCE_COLOR", raising=False)

    def test_lines_and_tables_are_plain_text_off_a_terminal(self):
        file = io.StringIO()
        stream = Stream(file)
        stream.line("a ", ("b", "red"), "")
        stream.table(["name", "n"], [["x", "1"], [("long name", "green"), "1000"]], right=(1,))
        stream.table(["only", "headers"], [])
        with stream.live(lambda: [["never"]]), stream.progress("never", 3) as advance:
            advance()
        assert file.getvalue() == "a b\nname          n\nx             1\nlong name  1000\nonly  headers\n"

    def test_forced_colours(self, monkeypatch):
        pytest.importorskip("rich", reason="the colours are rich's")
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("FORCE_COLOR", "1")
        file = io.StringIO()
        Stream(file).line("[red]a[/red] ", ("b", "red"))
        assert file.getvalue() == "[red]a[/red] \x1b[31mb\x1b[0m\n"


def test_the_handler_of_sigterm_is_put_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["wait", "127.0.0.1:1", "--timeout", "0", "-q"]) == 124
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_ends_it_in_order(monkeypatch, capsys):
    from safeconnect.cli import _demo

    monkeypatch.setattr(_demo, "show", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo"])
    assert ended.value.code == 143


def test_what_is_no_option_for_argparse_is_none():
    arguments = parse(["wait", "db:1", "--send", "--what is it", "--expect=--it"])
    assert (arguments.send, arguments.expect) == (b"--what is it", b"--it")
