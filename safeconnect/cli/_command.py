"""Run a user's command in this process's place, also with ports that are reserved for it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from .._local.binding import reserve_port
from .._sockets import kernel
from ..ports import PortSet
from . import FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

    from ._console import Console, Stream

    Ports = tuple[list[int], list[socket.socket]]

# The statuses of the shells, and of env(1).
NOT_RUN = 126
NOT_FOUND = 127
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - held, not listened on


def run_with_ports(arguments: argparse.Namespace, console: Console) -> int:
    """Run the command with ports that are reserved until it ends; return 1 if they could not be reserved."""
    number = arguments.number or 1
    hosts: Sequence[str] = [arguments.host] if arguments.host is not None else _EVERY_ADDRESS
    # On other platforms than Linux no server can bind to a port that is held.
    is_released = arguments.release or sys.platform != "linux"
    with ExitStack() as held:
        try:
            if arguments.host is None:
                hosts = every_address()
            ports, sockets = (_lent if is_released else _reserved)(held, hosts, number)
        except OSError as error:
            what, where = "a port" if number == 1 else f"{number} ports", ", ".join(hosts)
            why = error.strerror or error
            console.messages.line((f"safeconnect: {what} could not be reserved at {where}: {why}", "red"))
            if error.errno in (errno.EMFILE, errno.ENFILE):
                console.messages.line(
                    "  each port takes a descriptor or two: raise the limit (`ulimit -n`) or ask for fewer"
                )
            return FAILED
        name = arguments.env or "PORT"
        numbered = {f"{name}{place}": str(port) for place, port in enumerate(ports, 1)} if number > 1 else {}
        added = {name: str(ports[0])} | numbered
        if arguments.json:
            console.data.json({"ports": ports, "environment": added, "held": not is_released})
        return replace_with(arguments.command, os.environ | added, console.messages, keep=sockets)


def every_address() -> Sequence[str]:
    """Return the addresses that stand for all, of both families if this host has both.

    :raises OSError: no descriptor or memory is left to find out.
    """
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        if error.errno in kernel.SCARCE:
            raise
        return _EVERY_ADDRESS[:1]
    return _EVERY_ADDRESS


def _reserved(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Return ports that stay bound, and their sockets. A server with SO_REUSEADDR or SO_REUSEPORT can bind to them."""
    found = [held.enter_context(reserve_port(hosts, reuse_port=True)) for _ in range(number)]
    return [each.port for each in found], [sock for each in found for sock in each.sockets]


def _lent(held: ExitStack, hosts: Sequence[str], number: int) -> Ports:
    """Return free ports that any server can bind to, and the sockets that have their names.

    The kernel never chooses one of these ports, so only a program that asks for the very number can take it first. On
    Linux no other run gets the same ports at the same time: each port has a name that only one process can have.
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
    """Return the socket that tells other runs that the port is taken; None if another run has it.

    unix(7): abstract names belong to the network namespace. Only Linux has them.
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


def replace_with(
    command: Sequence[str], environment: Mapping[str, str], messages: Stream, *, keep: Iterable[socket.socket] = ()
) -> int:
    """Replace this process by a command, which then has its signals and its exit status.

    :param keep: sockets that stay open in the command.
    :returns: the command's exit status, on Windows, where no process can be replaced; or why it was not run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if sys.platform == "win32":
            return _run_as_child(command, environment)
        for sock in keep:
            sock.set_inheritable(True)
        _restore_signals()
        _become(command, environment)
    except OSError as error:
        return _tell_failure(command[0], error, messages)


def _become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - the user's own
    except OSError as error:
        from shutil import which

        path = which(command[0])
        if error.errno != errno.ENOEXEC or path is None:
            raise
        # A script that does not name its interpreter: like execvp(3), run it with the shell.
        os.execve("/bin/sh", ["/bin/sh", path, *command[1:]], environment)  # noqa: S606


def _run_as_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(list(command), env=environment) as child:  # noqa: S603 - the user's own
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the console has sent Ctrl-C to the child as well, which decides


def _tell_failure(name: str, error: OSError, messages: Stream) -> int:
    """Say why a command was not run, and return the shell's status for that."""
    is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    if is_missing and not (os.sep in name and Path(name).exists()):  # a file without its interpreter is found
        messages.line(f"safeconnect: the command {name!r} was not found")
        return NOT_FOUND
    messages.line(f"safeconnect: the command {name!r} cannot be run: {error.strerror}")
    return NOT_RUN


def _restore_signals() -> None:
    """Undo what Python and this program have done to signals.

    The command would inherit those that Python ignores; and a signal that comes for a handler just before the process
    is replaced would be lost.
    """
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
