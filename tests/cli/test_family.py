"""``-4`` and ``-6`` of ``safeconnect connect`` and ``safeconnect wait``: one family only."""

import json

import pytest

from safeconnect import cli, testing

from ..support import needs_ipv6
from .terminal import call, written

FLAGS = {"-4": "127.0.0.1", "--ipv4": "127.0.0.1", "-6": "[::1]", "--ipv6": "[::1]"}

each_flag = pytest.mark.parametrize("flag", FLAGS)
each_command = pytest.mark.parametrize("command", ["connect", "wait"])


@needs_ipv6
@each_flag
def test_connect_tries_the_addresses_of_one_family(flag, capsys):
    with testing.dual_stack(v6="echo", v4="echo") as host:
        assert cli.main(["connect", f"{host.name}:{host.port}", flag, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["peer"] == f"{FLAGS[flag]}:{host.port}"
        assert [each["kind"] for each in result["race"]] == ["looked up", "won"]
        assert cli.main(["connect", f"{host.name}:{host.port}", flag, "--repeat", "2", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["connected"] == 2


@needs_ipv6
@pytest.mark.parametrize(("flag", "status"), [("-4", 0), ("-6", 124)])
def test_wait_waits_for_one_family(flag, status, capsys):
    with testing.dual_stack(v6="refused", v4="echo") as host:
        assert cli.main(["wait", f"{host.name}:{host.port}", flag, "--timeout", "0"]) == status
        gone = cli.main(["wait", f"{host.name}:{host.port}", flag, "--gone", "--timeout", "0"])
        assert gone == (124 if status == 0 else 0)


@each_command
def test_an_address_of_the_other_family_is_an_error_at_once(command, capsys):
    with testing.refused() as closed:
        assert cli.main([command, written(closed.address), "-6", "--timeout", "60"]) == 1
    told = capsys.readouterr()
    assert f"{written(closed.address)} is no address of the family AF_INET6" in told.out + told.err


@each_command
def test_both_are_wrong_usage(command):
    done = call(command, "127.0.0.1:1", "-4", "-6")
    assert done.returncode == 2
    assert "not allowed with argument -4/--ipv4" in done.stderr
