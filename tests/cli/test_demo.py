"""``safeconnect demo``."""

import errno
import re
import socket
import textwrap

import pytest

from safeconnect import cli
from safeconnect._sockets import kernel
from safeconnect.cli import _demo as demo

from .. import namespace
from ..support import closed_port, linux_only, needs_port_range

# In a network of its own with few source ports, so that a connect soon meets itself.
CODE = """
    import contextlib, os, signal, socket
    from pathlib import Path
    from safeconnect import cli
    from safeconnect.cli import _demo
    from tests.support import serve_plainly, tcp_sockets
    _demo.LEAST_TRIES = 2000
    def demo(*arguments):
        print(cli.main(["demo", *map(str, arguments)]), flush=True)
    os.dup2(1, 2)  # what goes to stderr is printed, too
"""


def printed_in_a_network(code, ports="40000 40998"):
    return namespace.run(textwrap.dedent(CODE) + textwrap.dedent(code), ports=ports)


@linux_only
@needs_port_range
def test_demo_shows_it_all():
    printed = printed_in_a_network("demo()")
    met = re.search(r"\('127.0.0.1', (\d+)\) -> \('127.0.0.1', (\d+)\): it is connected to itself", printed)
    assert met
    assert met[1] == met[2]
    assert f"bind(127.0.0.1:{met[1]}) with SO_REUSEADDR: Address already in use" in printed
    assert re.search(r"(2,000) tries in [\d.]+ m?s: \1 refused, 0 connected to itself", printed)
    assert "with SO_REUSEADDR: done, at once" in printed
    assert "HTTP 200: 'hello from a server that can be reached'" in printed
    assert "\r" not in printed, "no live count off a terminal"
    assert printed.endswith("\n0\n")


@linux_only
def test_demo_takes_a_port_that_a_plain_connect_can_be_given():
    # Linux begins with any port of the preferred parity but, where the number of ports is odd, the last.
    code = """
        from safeconnect.cli import _demo as demo
        print({demo._closed_port() for _ in range(100)}, demo._connect_until_itself(40000)[0] < 100)
        demo.MOST_TRIES = 1000
        print(demo._connect_until_itself(40002))
    """
    assert namespace.run(code, ports="40000 40002").splitlines() == ["{40000} True", "(1000, None)"]


def test_an_interrupt_ends_it(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "show", interrupt)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@linux_only
class TestAtAPort:
    @needs_port_range
    def test_it_is_all_seen_and_the_port_is_free_again(self):
        # A second time at once: nothing of the first is left in TIME_WAIT.
        printed = printed_in_a_network("""
            for _ in range(2):
                demo("--port", 40000)
                print(tcp_sockets(40000), tcp_sockets(40000, remote=True))
                serve_plainly(40000)
        """)
        assert printed.count("('127.0.0.1', 40000) -> ('127.0.0.1', 40000): it is connected to itself.") == 2
        assert printed.count("bind(127.0.0.1:40000) with SO_REUSEADDR: Address already in use.\n") == 2
        assert printed.count("bind(127.0.0.1:40000) with SO_REUSEADDR: done, at once.\n") == 4
        assert printed.count("safeconnect.create_connection to 127.0.0.1:40000, closed too") == 2
        assert printed.count("All of this was seen on this machine, just now.\n0\n[] []\n") == 2

    def test_one_that_a_connect_is_not_given(self):
        outside, reserved, parity = printed_in_a_network("""
            Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("40010")
            for port in (5432, 40010, 40001):
                demo("--port", port)
        """).split("\n1\n")[:-1]
        no_connect = "No connect to it meets itself: take a port of 40000-40998 that nobody uses"
        assert outside == (
            "safeconnect: 127.0.0.1:5432 is not exposed: the port lies outside the range of source ports, 40000-40998. "
            + no_connect
        )
        assert reserved == (
            "safeconnect: 127.0.0.1:40010 is not exposed: the port is reserved, so the kernel never chooses it as a "
            f"source port. {no_connect}"
        )
        assert "connect() chooses ports of the other parity until those are used up" in parity
        assert parity.endswith("The demo would not see it: take 40000")

    def test_one_that_somebody_listens_on(self):
        hosts = ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::"]
        *lines, pid = printed_in_a_network(f"""
            for host in {hosts}:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.create_server((host, 40000), family=family):
                    demo("--port", 40000)
            print(os.getpid())
        """).splitlines()
        assert lines[1::2] == ["1"] * len(hosts)
        for message in lines[::2]:
            assert message.startswith("safeconnect: port 40000 cannot be used: Address already in use; ")
            assert re.search(rf":40000 is held by \S+ \(process {pid}\), LISTEN$", message)

    def test_one_of_a_connection_that_is_over(self):
        # A plain connect is not given it for a minute, so it would not be seen.
        printed = printed_in_a_network("""
            with socket.create_server(("127.0.0.1", 40000)) as server:
                client = socket.create_connection(server.getsockname())
                server.accept()[0].close()
                client.close()
            demo("--port", 40000)
        """)
        said = "^safeconnect: port 40000 cannot be used: Address already in use; .* is in TIME_WAIT for up to 60 s"
        assert re.search(said, printed, re.MULTILINE)

    def test_one_that_this_user_may_not_have(self, monkeypatch, capsys):
        class Forbidden(socket.socket):
            def bind(self, _):
                raise PermissionError(errno.EACCES, "Permission denied")

        port = closed_port()
        monkeypatch.setattr(socket, "socket", Forbidden)
        assert cli.main(["demo", "--port", str(port)]) == 1
        assert capsys.readouterr().err == f"safeconnect: port {port} cannot be used: Permission denied\n"

    def test_a_host_without_ipv6(self, monkeypatch):
        monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
        assert demo.why_not(closed_port()) is None


def bind_to(monkeypatch, reasons):
    """Pretend what binds come to, one after the other: None where they succeed."""
    ahead = iter(reasons)
    monkeypatch.setattr(demo, "_bind_error", lambda _: next(ahead))


class TestDemoThatSeesNothing:
    """Each way in which the demo can fail to see what it shows: exit status 1 and a reason."""

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        monkeypatch.setattr(demo, "MOST_TRIES", 50)
        monkeypatch.setattr(demo, "LEAST_TRIES", 50)

    @pytest.fixture
    def met(self, monkeypatch, server):
        """The standard library has met itself on the first try, as far as the demo can see."""

        def meet(port):
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            return 1, sock

        monkeypatch.setattr(demo, "_connect_until_itself", meet)

    def reason(self, capsys, port=None):
        assert demo.show(port) == 1
        return capsys.readouterr().out.splitlines()[-1]

    def test_no_self_connect(self, capsys, monkeypatch):
        def refused(*_):
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "create_connection", refused)
        assert self.reason(capsys) == "Not seen: the standard library did not connect to itself in 50 tries"

    def test_a_server_in_between(self, capsys, monkeypatch, server):
        connect = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", lambda _: connect(server.getsockname()))
        assert re.match(r"Not seen: a server has taken port \d+", self.reason(capsys))

    @pytest.mark.parametrize(
        ("port", "binds", "said"),
        [
            (None, [None, None], r"port \d+ was free at once"),
            (40000, ["in use"] * 2, "after the reset the server could not bind to port 40000: in use$"),
            (None, [None, "in use", None, "in use"], "after safeconnect's tries the server could not bind"),
        ],
    )
    @pytest.mark.usefixtures("met")
    def test_a_port_that_is_free_or_blocked(self, capsys, monkeypatch, port, binds, said):
        bind_to(monkeypatch, binds)
        assert re.match(f"Not seen: {said}", self.reason(capsys, port))

    def test_a_peer_that_is_gone_leaves_nothing_open(self, monkeypatch):
        sock, other = socket.socketpair()
        other.close()
        monkeypatch.setattr(demo, "_connect_until_itself", lambda _: (1, sock))
        with pytest.raises(BrokenPipeError):
            demo.show(40000)
        assert sock.fileno() == -1

    def test_no_free_port(self, capsys, monkeypatch):
        monkeypatch.setattr(demo, "_bind_error", lambda _: "Address already in use")
        assert self.reason(capsys).startswith("Not seen: no free port was found in ")

    def test_a_connection_by_safeconnect(self, capsys, met, monkeypatch, server):
        bind_to(monkeypatch, [None, "in use", None])
        connect = demo.create_connection
        monkeypatch.setattr(demo, "create_connection", lambda _: connect(server.getsockname()))
        assert self.reason(capsys) == "Not seen: try 1 of safeconnect got a connection to a closed port"

    def test_no_http(self, capsys, met, monkeypatch):
        bind_to(monkeypatch, [None, "in use", None, None])
        monkeypatch.setattr(demo._Hello, "do_GET", lambda self: self.send_error(404))
        assert self.reason(capsys).startswith("Not seen: the HTTP request failed: HTTP Error 404")

    def test_no_http_leaves_nothing_open(self, monkeypatch):
        monkeypatch.setattr(demo._Hello, "do_GET", lambda self: self.send_error(404))
        with pytest.raises(demo.NotSeenError) as caught:
            demo._show_http()
        assert caught.value.__cause__.fp.closed, "it is the response, too"

    def test_another_answer(self, capsys, met, monkeypatch):
        bind_to(monkeypatch, [None, "in use", None, None])

        def answer(self):
            self.send_response(204)
            self.end_headers()

        monkeypatch.setattr(demo._Hello, "do_GET", answer)
        assert self.reason(capsys) == "Not seen: the HTTP server answered 204 b''"

    def test_a_kernel_without_the_option_is_told(self, capsys, met, monkeypatch):
        bind_to(monkeypatch, [None, "in use", None, None])
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE, kernel.IP_BIND_ADDRESS_NO_PORT})
        assert demo.show() == 0
        assert "This kernel has no IP_LOCAL_PORT_RANGE" in capsys.readouterr().out


@linux_only
def test_live_count_on_a_terminal():
    code = """
        import os, pty, sys
        def read(descriptor):
            return os.read(descriptor, 65536)
        sys.stdout.flush()
        program = "import sys; from safeconnect.cli import _demo, main; _demo.LEAST_TRIES = 5000; sys.exit(main())"
        status = pty.spawn([sys.executable, "-c", program, "demo"], read)
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    printed = namespace.run(code, ports="40000 40998")
    assert re.search(r"   [\d,]+ tries \.\.\.", printed)
    assert "All of this was seen" in printed
