"""guard: what it finds, and what it leaves alone."""

import asyncio
import os
import socket

import pytest

from safeconnect import testing

from .. import support

pytest_plugins = "pytester"


def guarded(work):
    with testing.guard():
        work()


def test_a_client_that_behaves(server):
    guarded(lambda: socket.create_connection(server.getsockname(), 5).close())


def test_a_descriptor_left_open(server):
    left = []
    error = support.ran_into(
        AssertionError, guarded, lambda: left.append(socket.create_connection(server.getsockname(), 5))
    )
    assert str(error).startswith(f"descriptor {left[0].fileno()} left open: <socket.socket fd={left[0].fileno()}, ")
    assert f"raddr={server.getsockname()}" in str(error)
    left[0].close()


def test_a_pipe_left_open():
    left = []
    error = support.ran_into(AssertionError, guarded, lambda: left.extend(os.pipe()))
    assert [line.split(":")[0] for line in str(error).splitlines()] == [
        f"descriptor {number} left open" for number in left
    ]
    for number in left:
        os.close(number)


def test_a_connection_to_itself():
    def work():
        with testing.self_connecting() as fault:
            support.reset(socket.create_connection(fault.address, 5))

    error = support.ran_into(AssertionError, guarded, work)
    assert "a connection to itself, at ('127.0.0.1', " in str(error)


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80), ("::ffff:192.0.2.1", 80)])
def test_outside_loopback(address):
    """Nothing is sent, and the test fails even where the client hides the error."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

    def work():
        with socket.socket(family) as sock:
            support.ran_into(PermissionError, sock.connect, address)
            support.ran_into(PermissionError, sock.connect_ex, address)

    error = support.ran_into(AssertionError, guarded, work)
    assert str(error).splitlines() == [f"a connect outside loopback, to {address!r}"] * 2


def test_asyncio_is_seen():
    async def main():
        await asyncio.open_connection("192.0.2.1", 80)

    def work():
        with pytest.raises(PermissionError):
            asyncio.run(main())

    support.ran_into(AssertionError, guarded, work)


def test_an_error_in_the_block_is_not_hidden(server):
    with pytest.raises(LookupError), testing.guard(), socket.create_connection(server.getsockname()):
        raise LookupError


def test_unix_sockets_are_left_alone(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(path)
        listener.listen()
        with testing.guard():
            sock.connect(path)


def test_nothing_is_left_patched():
    before = dict(vars(socket.socket))
    with testing.guard(), testing.self_connecting() as fault:
        assert "connect" in vars(socket.socket)
        assert fault.port
    assert dict(vars(socket.socket)) == before


def test_a_failure_points_at_the_test(pytester):
    pytester.makepyfile(
        """
        import os, socket
        from safeconnect import testing

        def test_block():
            with testing.guard():
                os.pipe()

        def test_outside():
            with testing.guard(), socket.socket() as sock:
                sock.connect(("192.0.2.1", 80))

        def test_fixture(safeconnect_guard):
            "Says more than its first line."
            os.pipe()
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore")
    done.assert_outcomes(passed=1, failed=2, errors=1)
    lines = [line for line in done.outlines if line.startswith((">", "test_a_failure")) and not line.endswith("[100%]")]
    assert lines == [
        ">   def test_fixture(safeconnect_guard):",
        "test_a_failure_points_at_the_test.py:12: AssertionError",
        ">       with testing.guard():",
        "test_a_failure_points_at_the_test.py:5: AssertionError",
        '>           sock.connect(("192.0.2.1", 80))',
        "test_a_failure_points_at_the_test.py:10: PermissionError",
    ]
    assert "hidden" not in done.stdout.str()
