"""Kernels that refuse the option for source-port windows, or accept it and ignore it, as sandboxes do."""

import pytest

from .. import namespace, seccomp
from ..support import needs_port_range

pytestmark = pytest.mark.skipif(seccomp.unavailable() is not None, reason=str(seccomp.unavailable()))

COUNTING = """
import socket, safeconnect
from safeconnect._sockets import kernel
from tests import support
windows = []
class Recorder(socket.socket):
    def setsockopt(self, *option):
        windows.append(option) if option[1] == kernel.IP_LOCAL_PORT_RANGE else None
        super().setsockopt(*option)
socket.socket = Recorder
server = socket.create_server(("127.0.0.1", 7000), backlog=1000)
"""

ANSWERS = ["0", "ENOPROTOOPT", "EPERM", "EINVAL", "ENOSYS", "EACCES"]


def run(code, ports, setup=""):
    return namespace.run(setup + COUNTING + code, ports=ports).split("\n")


@pytest.mark.parametrize("answer", ANSWERS)
class TestAnswers:
    def setup_filter(self, answer):
        return f"import errno\nfrom tests import seccomp\nseccomp.answer(getattr(errno, {answer!r}, 0))\n"

    def test_are_remembered_once(self, answer):
        code = """
for _ in range(20):
    safeconnect.create_connection(("127.0.0.1", 7000), 5).close()
print(windows, kernel.missing == {kernel.IP_LOCAL_PORT_RANGE}, kernel.has_port_range())
"""
        assert run(code, "40000 40999", self.setup_filter(answer)) == ["[] True False", ""]

    def test_leave_source_ports_to_be_bound_one_by_one(self, answer):
        code = """
socks = [safeconnect.create_connection(("127.0.0.1", 7000), 5, source_ports="40100-40103") for _ in range(4)]
print(*sorted(sock.getsockname()[1] for sock in socks))
error = support.ran_into(safeconnect.PortsExhaustedError, safeconnect.create_connection, ("127.0.0.1", 7000), 5,
                         source_ports="40100-40103")
"""
        assert run(code, "40000 40999", self.setup_filter(answer)) == ["40100 40101 40102 40103", ""]

    def test_claim_no_prevention_and_self_connects_are_detected(self, answer):
        code = """
from safeconnect.doctor import examine
print(safeconnect.self_connect_exposure("127.0.0.1", 40000).prevented)
print(examine().snapshot.source_ports.per_socket_range)
support.ran_into(safeconnect.SelfConnectError, safeconnect.create_connection, ("127.0.0.1", 40000), 5)
support.serve_plainly(40000)
"""
        assert run(code, "40000 40000", self.setup_filter(answer)) == ["False", "False", ""]


class TestRangeThatIsNotTold:
    """/proc/sys is hidden, and the kernel has another range than the usual one."""

    HIDDEN = """
from safeconnect._sockets import kernel
reads = []
kernel._read_file = lambda path: reads.append(path) or ""
kernel.forget()
"""

    @needs_port_range
    def test_windows_are_given_up_after_a_few_that_were_ignored(self):
        code = """
for _ in range(200):
    safeconnect.create_connection(("127.0.0.1", 7000), 5).close()
print(len(windows) <= 10, len(reads) <= 20, len(windows) >= 3, kernel.has_port_range())
"""
        assert run(code, "2000 2999", self.HIDDEN) == ["True True True False", ""]

    def test_source_ports_outside_of_the_range_are_bound(self):
        code = """
for _ in range(3):
    sock = safeconnect.create_connection(("127.0.0.1", 7000), 5, source_ports="40000-40010")
    print(40000 <= sock.getsockname()[1] <= 40010)
"""
        assert run(code, "2000 2999", self.HIDDEN) == ["True", "True", "True", ""]

    def test_exposure_claims_no_prevention(self):
        code = """
print(safeconnect.self_connect_exposure("127.0.0.1", 40000).prevented)
"""
        assert run(code, "2000 2999", self.HIDDEN) == ["False", ""]


@needs_port_range
def test_a_range_that_changes_now_and_then_is_no_reason_to_give_up():
    code = """
from pathlib import Path
setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
for turn in range(12):
    first = 40000 + 1000 * (turn % 2)
    setting.write_text(f"{first} {first + 999}")
    for _ in range(3):
        sock = safeconnect.create_connection(("127.0.0.1", 7000), 5)
    assert first <= sock.getsockname()[1] < first + 1000
print(kernel.has_port_range())
"""
    assert run(code, "40000 40999") == ["True", ""]
