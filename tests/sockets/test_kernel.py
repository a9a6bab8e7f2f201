"""What the kernel says, on this platform for real and on the others by what their tools print."""

import errno
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet, ephemeral_ports, reserved_ports
from safeconnect._sockets import kernel, lifecycle, port_window

from .. import namespace
from ..support import linux_only, needs_port_range

TARGET = ("127.0.0.1", 80)


def chosen(sock, target=TARGET):
    return ports_of(port_window.choose(sock, target))


def ports_of(window):
    value, first, last = window
    assert value & 0xFFFFFFFF == last << 16 | first
    return range(first, last + 1)


@pytest.fixture(autouse=True)
def fresh():
    kernel.forget()
    yield
    kernel.forget()


@pytest.fixture
def prints(monkeypatch, on_platform):
    """Make this a platform whose tool prints the given text, or fails where there is none."""

    def pretend(name, text):
        asked = []

        def run(command, **settings):
            asked.append(command)
            assert settings["timeout"] > 0
            if text is None:
                raise FileNotFoundError(command[0])
            return subprocess.CompletedProcess(command, 0, stdout=text.encode("cp850"))

        on_platform(name)
        monkeypatch.setattr(subprocess, "run", run)
        return asked

    return pretend


@linux_only
class TestLinux:
    def test_reads_the_files_of_the_kernel(self):
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        assert ephemeral_ports() == PortRange(int(first), int(last))
        reserved = Path("/proc/sys/net/ipv4/ip_local_reserved_ports").read_text()
        assert reserved_ports() == PortSet.parse(reserved)
        assert kernel.source_ports() == PortSet(ephemeral_ports()) - reserved_ports()

    def test_remembers_until_asked_afresh_and_in_a_child(self):
        code = """
            import os
            from pathlib import Path
            from safeconnect import ephemeral_ports, reserved_ports
            setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
            reserved = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
            print(ephemeral_ports(), reserved_ports(), flush=True)
            setting.write_text("50000 50010")
            reserved.write_text("50001,50005-50007")
            print(ephemeral_ports(), reserved_ports(), flush=True)
            child = os.fork()
            if not child:
                print(ephemeral_ports(), reserved_ports(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print(ephemeral_ports(), reserved_ports())
            print(ephemeral_ports(refresh=True), reserved_ports(refresh=True))
        """
        now, then = "40000-40010", "50000-50010 50001,50005-50007"
        printed = [line.strip() for line in namespace.run(code, ports="40000 40010").splitlines()]
        assert printed == [now, now, then, now, then]

    def test_reads_once(self, monkeypatch):
        reads = []
        monkeypatch.setattr(kernel, "_read_file", lambda path: reads.append(path) or "40000\t40010\n")
        assert [ephemeral_ports() for _ in range(3)] == [PortRange(40000, 40010)] * 3
        assert len(reads) == 1
        ephemeral_ports(refresh=True)
        assert len(reads) == 2

    @pytest.mark.parametrize("text", ["", "nonsense", "0 5", "60000 50000", "1 70000", "5"])
    def test_guesses_where_the_file_is_missing_or_odd(self, monkeypatch, text):
        monkeypatch.setattr(kernel, "_read_file", lambda _: text)
        assert ephemeral_ports() == PortRange(32768, 60999)

    def test_a_missing_file_is_empty(self):
        assert kernel._read_file("/proc/sys/net/ipv4/no_such_setting") == ""


class TestOtherPlatforms:
    @pytest.mark.parametrize("platform", ["darwin", "freebsd14", "dragonfly6"])
    def test_bsd(self, prints, platform):
        asked = prints(platform, "10000\n65535\n")
        assert ephemeral_ports() == PortRange(10000, 65535)
        assert reserved_ports() == PortSet()
        assert asked == [("sysctl", "-n", "net.inet.ip.portrange.first", "net.inet.ip.portrange.last")]

    @pytest.mark.parametrize(
        "text",
        [
            "\nProtokoll tcp, dynamischer Portbereich\n---\nStartport : 49152\nAnzahl von Ports : 16384\n\n",
            "\nPlage de ports dynamiques\n---\nPort de d\u00e9marrage : 49152\nNombre de ports : 16384\n",
        ],
    )
    def test_windows(self, prints, text):
        # The words are in the system's language, and in its OEM code page; only the numbers and their order count.
        prints("win32", text)
        assert ephemeral_ports() == PortRange(49152, 65535)

    def test_reserved_on_windows(self, prints):
        table = (
            "Protocol tcp Port Exclusion Ranges\n\n 5357        5357\n  50000       50059     *\n\n* - Administered\n"
        )
        prints("win32", table)
        assert str(reserved_ports()) == "5357,50000-50059"

    @pytest.mark.parametrize("platform", ["darwin", "win32", "sunos5"])
    @pytest.mark.parametrize("text", [None, "", "no numbers here"])
    def test_guess_where_nothing_answers(self, prints, platform, text):
        prints(platform, text)
        assert ephemeral_ports() == PortRange(49152, 65535)
        assert reserved_ports() == PortSet()

    @pytest.mark.parametrize("platform", ["darwin", "win32"])
    def test_an_import_starts_no_program(self, platform):
        code = f"""
            import sys
            import asyncio, subprocess, selectors, ssl  # on this platform
            sys.platform = {platform!r}
            def run(*command, **settings):
                raise SystemExit(f"{{command}} was started")
            subprocess.run = run
            import safeconnect.asyncio
        """
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=namespace.ROOT, env={"PYTHONPATH": "."}
        )


def test_errors_have_the_texts_of_winsock(monkeypatch):
    monkeypatch.setattr(socket, "errorTab", {10061: "The server refused the connection."}, raising=False)
    assert lifecycle.error_of(10061).strerror == "The server refused the connection."
    monkeypatch.delattr(socket, "errorTab")
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        # The fourth is Winsock's number: by it, Windows' OSError finds class and errno, PermissionError and 13 here.
        assert lifecycle.error_of(10013).args == (10013, os.strerror(10013), None, 10013)
    refused = lifecycle.error_of(errno.ECONNREFUSED)
    assert (type(refused), refused.strerror) == (ConnectionRefusedError, os.strerror(errno.ECONNREFUSED))


def old_sockets(code):
    """A class of sockets whose kernel lacks every option, and the list of those asked for."""
    asked = []

    class Old(socket.socket):
        def setsockopt(self, *option):
            asked.append(option)
            raise OSError(code, "no such option")

    return Old, asked


@linux_only
class TestOptions:
    @pytest.mark.parametrize("code", kernel._NO_OPTION)
    def test_one_that_is_missing_is_asked_for_once(self, monkeypatch, code):
        Old, asked = old_sockets(code)  # noqa: N806 - a class
        monkeypatch.setattr(socket, "socket", Old)
        monkeypatch.setattr(kernel, "_socket", SimpleNamespace(socket=Old))
        assert not kernel.has_port_range()
        assert not kernel.has_port_range()
        with socket.socket() as sock:
            assert port_window.choose(sock, TARGET) == port_window.ANY_PORT
        assert len(asked) == 1

    @pytest.mark.parametrize("code", kernel._NO_OPTION)
    def test_one_that_is_missing_is_asked_for_once_more_on_a_plain_socket(self, monkeypatch, code):
        Old, asked = old_sockets(code)  # noqa: N806 - a class
        monkeypatch.setattr(kernel, "_socket", SimpleNamespace(socket=Old))
        with Old() as sock:
            assert not any(kernel.set_option(sock, kernel.IP_BIND_ADDRESS_NO_PORT, 1) for _ in range(3))
        assert asked == [(0, kernel.IP_BIND_ADDRESS_NO_PORT, 1), (0, kernel.IP_BIND_ADDRESS_NO_PORT, 0)]

    @needs_port_range
    def test_one_odd_class_of_sockets_says_nothing_about_the_kernel(self, monkeypatch):
        class Odd(socket.socket):
            def setsockopt(self, *option):
                raise OSError(errno.ENOPROTOOPT, "not with me")

        with Odd() as sock:
            assert port_window.choose(sock, TARGET) == port_window.ANY_PORT
        assert kernel.missing == set()

    @needs_port_range
    def test_one_that_is_refused_for_one_socket_is_not_missing(self):
        sock = socket.socket()
        sock.close()
        assert not kernel.set_option(sock, kernel.IP_LOCAL_PORT_RANGE, 0)
        assert kernel.missing == set()

    def test_elsewhere_the_numbers_mean_other_things(self):
        code = "import sys; sys.platform = 'darwin'\nimport safeconnect._sockets.kernel as k\nprint(sorted(k.missing))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=namespace.ROOT
        )
        assert done.stdout == "[24, 51]\n"


@linux_only
@needs_port_range
class TestDeck:
    @given(
        st.lists(st.builds(lambda a, n: PortRange(a, min(a + n, 65535)), st.integers(1, 65535), st.integers(0, 900)))
    )
    def test_windows_hold_each_source_port_once(self, ranges):
        ports = PortSet(ranges)
        windows = [ports_of(window) for window in port_window._side_by_side(ports)]
        held = [[port for port in window if port in ports] for window in windows]
        assert [port for group in held for port in group] == list(ports)
        sizes = {len(group) for group in held}
        assert not sizes or max(sizes) <= port_window.WINDOW_SIZE
        assert not sizes or max(sizes) - min(sizes) <= 1, "a port of a smaller window would be chosen more often"

    def test_draws_each_window(self, monkeypatch):
        monkeypatch.setattr(
            kernel, "_remembered", {"source": PortSet([PortRange(40000, 40099), PortRange(40200, 40207)])}
        )
        kernel._tell()
        dealt = {ports_of(window) for _ in range(20) for window in port_window._random_windows()}
        assert sorted(ports.start for ports in dealt) == [40000, 40015, 40030, 40046, 40061, 40077, 40092]

    def test_a_host_without_source_ports_gets_no_window(self, monkeypatch):
        monkeypatch.setattr(kernel, "_remembered", {"source": PortSet()})
        kernel._tell()
        with socket.socket() as sock:
            assert port_window.choose(sock, TARGET) == port_window.ANY_PORT

    def test_is_void_once_the_ports_have_changed(self, monkeypatch):
        with socket.socket() as sock:
            port_window.choose(sock, TARGET)
            kernel.source_ports(refresh=True)
            assert port_window._stock.prefetched, "the same ports, so nothing is void"
            monkeypatch.setattr(kernel, "_read_file", lambda path: "50000 50031" if path.endswith("range") else "")
            kernel.source_ports(refresh=True)
            assert not port_window._stock.prefetched
            assert chosen(sock) in (range(50000, 50016), range(50016, 50032))

    def test_no_child_draws_its_parents_windows(self):
        code = """
            import os, socket
            from safeconnect._sockets import port_window
            port_window.choose(socket.socket(), ('127.0.0.1', 80))
            for _ in range(2):
                child = os.fork()
                if not child:
                    sock = socket.socket()
                    print([port_window.choose(sock, ('127.0.0.1', 80)) for _ in range(5)], flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
            print([port_window.choose(socket.socket(), ('127.0.0.1', 80)) for _ in range(5)])
        """
        drawn = namespace._python("import warnings; warnings.simplefilter('ignore')\n" + textwrap.dedent(code), 30)
        assert len(set(drawn.stdout.splitlines())) == 3, drawn.stderr

    def test_draws_stay_in_range(self):
        assert {port_window.draw(3) for _ in range(200)} == {0, 1, 2}
        assert port_window.draw(1) == 0


@linux_only
@needs_port_range
class TestSearch:
    @given(st.integers(32768, 60999), st.integers(-12, 12))
    def test_the_neighbourhood_holds_the_port_found_and_never_the_target(self, found, distance):
        ports = PortSet(PortRange(32768, 60999))
        near = port_window._near(ports, found, found + distance)
        if not distance:
            assert near is None
        else:
            first, last = near
            assert first <= found <= last
            assert not first <= found + distance <= last
            assert max(found - port_window._NEIGHBOURHOOD, 32768) <= first
            assert last <= min(found + port_window._NEIGHBOURHOOD, 60999)
        assert port_window._near(ports - PortSet([found]), found, found + distance) is None

    def test_the_next_connects_begin_where_a_port_was_found(self, monkeypatch):
        monkeypatch.setattr(kernel, "_remembered", {"source": PortSet(PortRange(40000, 49999))})
        kernel._tell()
        near = range(43992, 44009)
        with socket.socket() as sock:
            port_window.remember(44000, TARGET)
            windows = [chosen(sock) for _ in range(port_window._RETURNS)]
            assert windows == [near] * port_window._RETURNS
            assert near != chosen(sock), "then a random one again, which may find that the pressure is over"
            port_window.remember(44000, TARGET)
            assert near != chosen(sock, ("127.0.0.1", 81)), "other destinations do not see it"
            port_window.remember(49999, TARGET)
            assert chosen(sock) == range(49991, 50000)
            port_window.remember(30000, TARGET)
            assert chosen(sock).start >= 40000, "a port outside the range says nothing about it"

    def test_under_pressure_one_try_suffices(self):
        # One port is left: a random window is the wrong one, but it is drawn once in 17 times.
        code = """
            import socket, safeconnect
            from safeconnect._sockets import port_window, lifecycle
            from tests.support import one_port
            server = socket.create_server(("127.0.0.1", 7), backlog=4096)
            held = []
            for port in range(40000, 43000):
                if port != 42000:
                    held.append(safeconnect.create_connection(server.getsockname(), options=[one_port(port)]))
            steps, widen = [], port_window.widen
            def counted(*target):
                for _ in widen(*target):
                    steps.append(1)
                    yield
            port_window.widen = counted
            # Once in 188 times a random window is the right one: the first connect must have searched.
            while not steps:
                lifecycle.reset(safeconnect.create_connection(server.getsockname(), 5))
            steps.clear()
            for _ in range(2 * 17):
                sock = safeconnect.create_connection(server.getsockname(), 5)
                print(sock.getsockname()[1], len(steps))
                lifecycle.reset(sock)
                steps.clear()
        """
        printed = [line.split() for line in namespace.run(code, ports="40000 42999").splitlines()]
        assert {port for port, _ in printed} == {"42000"}
        rest = [int(count) for _, count in printed]
        assert sum(rest) <= 2, "each random window costs one more step: the neighbourhood"
        assert rest.count(0) >= 2 * 16
