"""Ports for a command: reserved, put into its environment, and kept as long as it runs."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import ExitStack

from .._local.binding import reserve_port
from .._sockets import kernel
from ..ports import PortSet
from . import FAILED
from ._command import replace_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from ._console import Console

    Ports = tuple[list[int], list[socket.socket]]

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - held, not listened on


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the command in this process's place, which keeps its ports; 1 where no ports could be reserved."""
    number = arguments.number or 1
    hosts: Sequence[str] = [arguments.host] if arguments.host is not None else _EVERY_ADDRESS
    # Elsewhere than on Linux no server can bind while the port is held.
    is_released = arguments.release or sys.platform != "linux"
    with ExitStack() as held:
        try:
            if arguments.host is None:
                hosts = every_address()
            ports, sockets = (lent if is_released else reserved)(held, hosts, number)
        except OSError as error:
            _tell(error, number, ", ".join(hosts), console)
            return FAILED
        added = variables(arguments.env or "PORT", ports)
        if arguments.json:
            console.data.json({"ports": ports, "environment": added, "held": not is_released})
        return replace_with(arguments.command, os.environ | added, console.messages, keep=sockets)


def every_address() -> Sequence[str]:
    """Where a port is to be free wherever a server will listen: every address, of both families if there are both.

    :raises OSError: there was no descriptor, or no memory, to find out.
    """
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        if error.errno in kernel.SCARCE:
            raise
        return _EVERY_ADDRESS[:1]
    return _EVERY_ADDRESS


def variables(name: str, ports: Sequence[int]) -> Mapping[str, str]:
    """NAME is the first port; where there are several, NAME1, NAME2 and so on are all of them."""
    numbered = {f"{name}{place}": str(port) for place, port in enumerate(ports, 1)} if len(ports) > 1 else {}
    return {name: str(ports[0])} | numbered


def reserved(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Ports that stay bound; servers that set SO_REUSEADDR or SO_REUSEPORT can bind to them as well, and listen.

    :returns: the ports, and the sockets that hold them.
    :raises OSError: there are not as many, or not as many descriptors.
    """
    found = [held.enter_context(reserve_port(hosts, reuse_port=True)) for _ in range(number)]
    return [each.port for each in found], [sock for each in found for sock in each.sockets]


def lent(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Free ports that any server can bind to, for nothing is bound to them any more.

    They are of those that the kernel gives to nobody by itself, so only a program that asks for the very number can
    come in between. On Linux no other run is given them meanwhile, for each keeps a name that only one can have.

    :returns: the ports, and the sockets that have their names.
    :raises OSError: there are not as many.
    """
    ports: list[int] = []
    names: list[socket.socket] = []
    left = kernel.spare_ports()
    while len(ports) < number:
        if not left:
            raise OSError(errno.EADDRINUSE, f"fewer ports are free that the kernel gives to nobody: {len(ports)}")
        with reserve_port(hosts, left) as reservation:
            left -= PortSet([reservation.port])
            named = _named(held, reservation.port)
            if named is not None:
                ports.append(reservation.port)
                names += named
    return ports, names


def _named(held: ExitStack, port: int) -> list[socket.socket] | None:
    """What tells other runs that the port is taken; None where it is theirs.

    unix(7): abstract names belong to the network namespace. Elsewhere than on Linux there are none.
    """
    if sys.platform != "linux":
        return []
    name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    try:
        name.bind(f"\0safeconnect ports {port}")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return [name]


def _tell(error: OSError, number: int, where: str, console: Console) -> None:
    what = "a port" if number == 1 else f"{number} ports"
    console.messages.line((f"safeconnect: {what} could not be reserved at {where}: {error.strerror or error}", "red"))
    if error.errno in (errno.EMFILE, errno.ENFILE):
        console.messages.line("  each port takes a descriptor or two: raise the limit (`ulimit -n`) or ask for fewer")
