"""The pytest plugin, in sessions of its own: what it offers, what it costs, whom it gets on with."""

import subprocess
import sys

import pytest

from safeconnect import pytest_plugin

pytestmark = pytest.mark.slow

pytest_plugins = "pytester"


@pytest.fixture
def session(pytester):
    """Runs pytest in a process of its own, on this test file."""

    def run(source, *arguments):
        pytester.makepyfile(source)
        order = () if "randomly" in arguments else ("-p", "no:randomly")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *order, *arguments)

    return run


def test_every_fixture_has_a_line_in_the_list(session):
    result = session("", "--fixtures")
    text = result.stdout.str()
    for name, line in pytest_plugin._FAULTS.items():
        assert f"safeconnect_{name} -- " in text
        assert f"A fault: {line[:30]}" in text
        assert f"safeconnect_{name}_factory -- " in text
    for name in ("safeconnect_port", "safeconnect_faults", "safeconnect_guard", "safeconnect_names"):
        assert f"{name} -- " in text
    assert "no docstring available" not in text[text.index("safeconnect_") :]


PLAIN = """
    import socket
    import pytest

    def test_refused(safeconnect_refused):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(safeconnect_refused.address)

    def test_echo(safeconnect_echo):
        with socket.create_connection(safeconnect_echo.address, 5) as sock:
            sock.sendall(b"ping")
            assert sock.recv(10) == b"ping"

    def test_factories(safeconnect_drips_factory, safeconnect_flaky_factory):
        drips = safeconnect_drips_factory(size=2, data=b"abcd")
        assert drips.port != safeconnect_drips_factory().port
        with socket.create_connection(drips.address, 5) as sock:
            assert sock.recv(10)[:2] == b"ab"  # on a busy machine both pieces are there
        with socket.create_connection(safeconnect_flaky_factory(["close"]).address, 5) as sock:
            assert sock.recv(1) == b""

    def test_ports(safeconnect_port, safeconnect_port_factory):
        ports = {safeconnect_port.port, *(safeconnect_port_factory().port for _ in range(20))}
        assert len(ports) == 21

    def test_names(safeconnect_names):
        asked = safeconnect_names({"one.test": "192.0.2.1"}).asked
        socket.getaddrinfo("one.test", 80)
        assert asked == ["one.test"]

    def test_itself(safeconnect_self_connecting):
        sock = socket.create_connection(safeconnect_self_connecting.address)
        assert sock.getsockname() == sock.getpeername()
        sock.close()

    def test_tls(safeconnect_tls):
        raw = socket.create_connection(safeconnect_tls.address, 5)
        with safeconnect_tls.client_context.wrap_socket(raw, server_hostname="localhost") as sock:
            assert sock.version()
"""


@pytest.mark.parametrize(
    "arguments",
    [(), ("-n", "2"), ("-p", "randomly"), ("--timeout", "30"), ("--allow-hosts", "127.0.0.1,::1"), ("--safeconnect",)],
    ids=["alone", "xdist", "randomly", "timeout", "pytest-socket", "--safeconnect"],
)
def test_fixtures(session, arguments):
    is_safe = arguments == ("--safeconnect",)
    if arguments[:1] == ("--allow-hosts",):
        pytest.importorskip("pytest_socket", reason="pytest-socket is not installed")
    source = PLAIN.replace("def test_itself", "def not_tested") if is_safe else PLAIN  # it cannot meet itself then
    session(source, *arguments).assert_outcomes(passed=7 - is_safe)


def test_all_faults_in_turn(session):
    result = session(
        """
        import socket
        import pytest

        def test_all(safeconnect_faults):
            assert safeconnect_faults.port

        @pytest.mark.safeconnect_faults("refused", "echo", "flaky", "slow_accept")
        def test_some(safeconnect_faults):
            assert safeconnect_faults.address
        """,
        "-v",
        "--strict-markers",
    )
    result.assert_outcomes(passed=len(pytest_plugin._FAILING) + 4)
    result.stdout.fnmatch_lines(["*::test_all[[]blackhole[]] PASSED*", "*::test_some[[]flaky[]] PASSED*"])


def test_a_fault_that_there_is_not(session):
    result = session(
        """
        import pytest

        @pytest.mark.safeconnect_faults("explodes")
        def test_some(safeconnect_faults):
            pass
        """
    )
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*safeconnect_faults: there is no fault 'explodes', but refused, blackhole, *"])


def test_the_guard_fails_a_test(session):
    result = session(
        """
        import os, socket
        import pytest

        pytestmark = pytest.mark.usefixtures("safeconnect_guard")

        def test_good(safeconnect_echo):
            socket.create_connection(safeconnect_echo.address).close()

        def test_leaves_a_descriptor():
            os.pipe()

        def test_goes_outside():
            with pytest.raises(PermissionError):
                socket.create_connection(("192.0.2.1", 80))

        def test_meets_itself(safeconnect_self_connecting):
            socket.create_connection(safeconnect_self_connecting.address).close()
        """
    )
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: descriptor * left open: *",
            "E*AssertionError: a connect outside loopback, to ('192.0.2.1', 80)",
            "E*AssertionError: a connection to itself, at ('127.0.0.1', *): nobody listens there",
        ]
    )


def test_a_client_that_leaves_connections_open(session):
    result = session(
        """
        import socket

        def test_leaves(safeconnect_echo):
            sock = socket.create_connection(safeconnect_echo.address)
            safeconnect_echo.wait_for_connections(1)
            safeconnect_echo.assert_all_closed(0.05)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*AssertionError: the client has left open: <Connection 1 from 127.0.0.1:*, 0 bytes, open>"]
    )


def test_the_safe_connect_for_a_session(session):
    source = """
        import socket, safeconnect

        def test_installed():
            assert socket.create_connection.__module__.startswith("safeconnect") is {}
        """
    session(source.format("True"), "--safeconnect").assert_outcomes(passed=1)
    session(source.format("False")).assert_outcomes(passed=1)


def test_switched_off(session):
    result = session("def test_it(safeconnect_echo): pass", "-p", "no:safeconnect")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'safeconnect_echo' not found*"])


@pytest.mark.parametrize("library", ["asyncio", "anyio"])
def test_with_asynchronous_tests(session, library):
    result = session(
        f"""
        import asyncio
        import pytest

        @pytest.mark.{library}
        async def test_it(safeconnect_echo, safeconnect_guard):
            reader, writer = await asyncio.open_connection(*safeconnect_echo.address)
            writer.write(b"ping")
            assert await reader.read(10) == b"ping"
            writer.close()
            await writer.wait_closed()
            safeconnect_echo.assert_all_closed(30)

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    result.assert_outcomes(passed=1)


def test_loading_it_is_cheap():
    """Neither servers nor asyncio: only pytest, which is there."""
    code = """
        import sys
        import pytest
        before = set(sys.modules)
        import safeconnect.pytest_plugin
        new = set(sys.modules) - before
        heavy = [name for name in new if name.startswith(("asyncio", "ssl", "safeconnect.testing", "trio", "anyio"))]
        print(heavy)
        """
    import textwrap

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
