"""What users write, as the type checkers see it. Never run: mypy and pyright read it, strictly."""

import ipaddress
import socket
from typing import assert_type

import safeconnect
from safeconnect import PortRange, PortSet

sock = safeconnect.create_connection(("127.0.0.1", 80))
assert_type(sock, socket.socket)
safeconnect.create_connection(("::1", 80, 0, 0), None, ("::1", 0), all_errors=True, allow_self_connect=True)
safeconnect.create_connection(
    ("localhost", "http"),
    timeout=1.5,
    source_address=("127.0.0.1", 0),
    options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_LINGER, b"")],
)
safeconnect.create_connection(("localhost", 80), "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

safeconnect.create_connection(("localhost", 80), family=socket.AF_INET, allow=safeconnect.is_global_address)
safeconnect.Connector(family=0, allow=["10.0.0.0/8", ipaddress.ip_network("fd00::/8")])
safeconnect.Connector(allow=lambda address: address.is_global and not address.is_multicast)
safeconnect.Connector(allow=[10])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
assert_type(safeconnect.is_global_address(ipaddress.ip_address("::1")), bool)

assert_type(safeconnect.is_self_connected(sock), bool)
assert_type(safeconnect.ephemeral_ports(refresh=True), PortRange)
assert_type(safeconnect.reserved_ports() | PortRange(1, 5), PortSet)
assert_type(~PortSet([1, PortRange(2, 3)]) - PortSet.parse("5"), PortSet)
assert_type(PortSet().window(lambda n: n - 1, 16, exclude=80), PortRange | None)
assert_type(list(PortSet()), list[int])

exposure = safeconnect.self_connect_exposure("127.0.0.1", 40000)
assert_type(exposure, safeconnect.Exposure)
assert_type(exposure.prevented, bool)

safeconnect.install()
with safeconnect.patched():
    pass
try:
    pass
except safeconnect.SelfConnectError as error:
    assert_type(error.errno, int | None)
