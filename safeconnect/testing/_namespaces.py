"""Separate hosts, in user and network namespaces: faults for programs in any language, without privilege.

Linux 5.3 and later, where unprivileged user namespaces are allowed: see `namespaces_unavailable`. Ubuntu 23.10 and
later allow them after ``sysctl kernel.apparmor_restrict_unprivileged_userns=0``. In a container, unshare(2) and
setns(2) must be allowed and /proc/sys must be writable. No program need be installed.

A host is a process that has moved into new namespaces and waits there. To run a program in it, a child of this process
joins the namespaces and then becomes the program (setns(2), execve(2)). So the programs are ordinary children of this
process, with process ids, exit codes and signals of their own. Inside, their user is root: they may set up addresses,
packet filters and sysctls of that host. On files they have the rights that they have outside. The host has one
interface, lo, with 127.0.0.1 and ::1, and no route to anywhere else.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from .._checks import check_int
from .._lazy import typing as t
from .._sockets import kernel
from ._base import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import Word

_LOOPBACK = "127.0.0.1"
_PORTS = range(32768, 61000)  # Linux's default for ip_local_port_range
# No descriptor, process or memory left: that says nothing about namespaces.
_SCARCE = (*kernel.SCARCE, errno.EAGAIN)
UNTRIED = "it could not be tried whether there are user and network namespaces here"
_SCRIPT = str(Path(__file__).absolute().with_name("_namespace_script.py"))


def _python(*arguments: object) -> list[str]:
    """Return the command that runs the script beside this module; the options make Python start fast."""
    return [sys.executable, "-I", "-S", "-X", "utf8", _SCRIPT, *map(str, arguments)]


class Host(Place):
    """A host of its own, as long as its ``with`` block lasts; made by `exposed_host` and `dead_peer`.

    :ivar address: what to connect to inside, ``(host, port)``.
    :ivar family: `socket.AF_INET`.
    :ivar pid: the process that holds the namespaces: ``nsenter -t PID -U -n`` enters them.
    """

    def __init__(self, port: int) -> None:
        _check_platform()
        super().__init__((_LOOPBACK, port), socket.AF_INET)
        self._programs: set[subprocess.Popen[str]] = set()
        # In a session of its own: Ctrl-C is meant for the tests, which then end it. In /: a process prevents unmounting
        # the file system of its current directory.
        self._holder = subprocess.Popen(  # noqa: S603 - the arguments are ours
            _python("hold"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        self.pid: int = self._holder.pid
        try:
            self._tell("enter")
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        """Prepare the host for its purpose."""

    def run(
        self, args: t.Args, timeout: float | None = 60, *, check: bool = False, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        r"""Run a program inside and wait for its end, as `subprocess.run` does; its output is captured, as text.

        :param args: the program and its arguments. A string is a program without arguments, for there is no shell.
        :param timeout: seconds; None waits without a limit.
        :param check: treat an exit code other than 0 as an error.
        :param kwargs: ``input``, and those of `popen`.
        :returns: it has ``returncode``, ``stdout`` and ``stderr``. A negative ``returncode`` is a signal's number.
        :raises subprocess.TimeoutExpired: it took longer and was killed.
        :raises subprocess.CalledProcessError: see ``check``.
        :raises OSError: as `popen`.

        >>> with exposed_host(40000) as host:
        ...     host.run(["cat", "/proc/sys/net/ipv4/ip_local_port_range"]).stdout
        '40000\t40000\n'
        """
        text: str | None = kwargs.pop("input", None)
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if text is not None:
            settings["stdin"] = subprocess.PIPE
        process = self.popen(args, **settings | kwargs)
        try:
            output, errors = process.communicate(text, timeout)
        finally:
            self._end(process)  # after an error it may still run
        done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    def popen(self, args: t.Args, **kwargs: Any) -> subprocess.Popen[str]:
        """Start a program inside. At the end of the block it is killed, if it still runs, and its pipes are closed.

        :param args: as for `run`.
        :param kwargs: as for `subprocess.Popen`, without ``executable`` and ``shell``; ``text`` is True by default.
        :returns: the program itself: it is running, and ``pid`` is its own.
        :raises OSError: it cannot be run: FileNotFoundError and others, as from `subprocess.Popen`.
        :raises RuntimeError: the host has ended.
        """
        command = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
        if not command:
            raise ValueError("args must name a program")
        for name in ("executable", "shell"):
            if kwargs.pop(name, None):
                raise TypeError(f"{name} is not possible here: name the program in args, ['sh', '-c', ...] for a shell")
        self._check_running()
        settings: dict[str, Any] = {"text": True} | kwargs
        # Not os.pipe(): an interrupt would leak its descriptors, which are plain numbers.
        reading, writing = socket.socketpair()
        with reading:
            with writing:
                process: subprocess.Popen[str] = subprocess.Popen(  # noqa: S603 - the caller's arguments
                    [*_python("enter", self.pid, writing.fileno()), *command],
                    pass_fds=(*settings.pop("pass_fds", ()), writing.fileno()),
                    **settings,
                )
            self._programs.add(process)
            process.args = args  # for its repr, and for errors
            # At the end of the stream the program has begun: execve(2) has closed the child's end.
            reported = b"".join(iter(lambda: reading.recv(4096), b"")).decode(errors="surrogateescape")
        if reported:
            self._end(process)
            self._check_running()
            raise _error(reported)
        return process

    def run_python(
        self, code: str, *args: t.Word, timeout: float | None = 60, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        r"""Run Python source inside, with the interpreter and the `sys.path` of this process.

        :param code: the source; it may be indented as a whole.
        :param args: its ``sys.argv[1:]``.
        :param timeout: as for `run`, like the result and the errors.

        >>> with exposed_host(40000) as host:
        ...     done = host.run_python('''
        ...         import socket
        ...         print(socket.create_connection(("127.0.0.1", 40000)).getsockname())
        ...     ''')
        ...     done.stdout
        "('127.0.0.1', 40000)\n"
        """
        return self.run(_source(code, args), timeout, **_with_path(kwargs))

    def popen_python(self, code: str, *args: t.Word, **kwargs: Any) -> subprocess.Popen[str]:
        """Start Python source inside, as `run_python` does, without waiting, as `popen` does."""
        return self.popen(_source(code, args), **_with_path(kwargs))

    def close(self) -> None:
        """End the host and everything that runs in it, as the ``with`` block does. It may be called again."""
        # When its input ends, the holder kills all processes in its namespaces, also children of programs, and exits.
        try:
            self._holder.communicate()
        finally:
            for process in list(self._programs):
                self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Kill and reap a program, if it still runs, and close its pipes."""
        process.kill()
        if process.stdin:
            with contextlib.suppress(OSError):  # input that it has not read is lost
                process.stdin.close()
        with process:
            self._programs.discard(process)

    def _tell(self, command: str) -> None:
        """Send a command to the holder.

        :raises OSError: the kernel's error.
        """
        self._check_running()
        assert self._holder.stdin  # noqa: S101 - for type checkers
        assert self._holder.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # then there is no answer, either
            self._holder.stdin.write(command + "\n")
            self._holder.stdin.flush()
        answer = self._holder.stdout.readline().rstrip("\n")
        if not answer:
            self._holder.wait()
            self._check_running()
        if answer != "0":
            raise _error(answer)

    def _check_running(self) -> None:
        code = self._holder.poll()
        if code is not None:
            raise RuntimeError(f"the host has ended: the process that held it is gone (exit code {code})")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.host}:{self.port}, held by process {self.pid}>"


class ExposedHost(Host):
    """A host whose only source port is one where nobody listens; see `exposed_host`."""

    def _set_up(self) -> None:
        self._tell(f"port {self.port}")


class DeadPeer(Host):
    """A host with a server that sends back what it gets, and that can fall silent; see `dead_peer`.

    :ivar vanished: True while packets are lost.
    """

    vanished: bool = False

    def _set_up(self) -> None:
        self._tell(f"echo {self.host} {self.port}")

    def vanish(self) -> None:
        """Let the peer vanish: every packet inside is lost, and nobody is told.

        No FIN and no RST comes. Data stays in the sender's buffer and is sent again and again; connects are not
        answered. The packets are lost on lo, so this affects all connections inside.

        :raises OSError: the kernel has no queueing discipline ``blackhole`` (CONFIG_NET_SCHED).
        """
        if not self.vanished:
            self._tell("vanish")
            self.vanished = True

    def heal(self) -> None:
        """Let packets through again. What was lost arrives with its next retransmission.

        That takes at most about as long as the silence did, because the pauses between retransmissions double; the
        first is 0.2 s for data, 1 s for connects.
        """
        if self.vanished:
            self._tell("heal")
            self.vanished = False

    def close(self) -> None:
        """End the host as `Host.close` does."""
        # Unacknowledged data would keep the network namespace in the kernel for another 105 s (measured).
        try:
            with contextlib.suppress(OSError, RuntimeError):  # it has been healed or ended otherwise
                self.heal()
        finally:
            super().close()


def exposed_host(port: int | None = None) -> ExposedHost:
    r"""A host whose only source port is its ``port``, where nobody listens: a client of it connects to itself.

    It does so for certain, at the first try, in any language, at 127.0.0.1 and at ::1; otherwise that happens once in
    thousands of tries (see ``docs/self-connect.md``). The means is net.ipv4.ip_local_port_range = "port port" (ip(7)).
    It ends when a server binds the port. Inside, two things follow. Only one such connection is possible at a time:
    others get EADDRNOTAVAIL, also for a second after it was closed in the ordinary way (TIME_WAIT). And a program that
    asks for any free port gets this one or none. So make a host for each test: it takes about 50 ms.

    :param port: 1-65535; None: any of 32768-60999.
    :raises OSError: this system allows no namespaces; it is the kernel's error. `namespaces_unavailable` checks it.

    >>> with exposed_host() as host:
    ...     done = host.run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{host.port}; echo to myself >&3; head -1 <&3"])
    ...     done.stdout
    'to myself\n'
    """
    if port is None:
        port = random.choice(_PORTS)  # noqa: S311 - not a secret; inside, all ports are free
    check_int("port", port, 1, 65535)
    return ExposedHost(port)


def dead_peer() -> DeadPeer:
    r"""A host with a server at its ``address`` that sends back what it gets, until it vanishes.

    Run the client in the same host, for the packets are lost on its lo. Measured on Linux 6.18: keepalive (1 s idle,
    1 s interval, 3 probes) ends in ETIMEDOUT after 4.1 s; a waiting client without keepalive notices nothing; a connect
    times out. After `DeadPeer.heal` the same connections go on.

    :raises OSError: as for `exposed_host`.

    >>> with dead_peer() as peer:
    ...     client = peer.popen_python('''
    ...         import socket, sys
    ...         sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    ...         sock.settimeout(0.1)
    ...         print("connected", flush=True)
    ...         sys.stdin.readline()
    ...         sock.sendall(b"is anybody there?")
    ...         sock.recv(100)
    ...     ''', str(peer.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ...     assert client.stdout.readline() == "connected\n"
    ...     peer.vanish()
    ...     client.communicate("go\n")[1].splitlines()[-1]
    'TimeoutError: timed out'
    """
    return DeadPeer(random.choice(_PORTS))  # noqa: S311 - as above


def namespaces_unavailable() -> str | None:
    """Return the reason why `exposed_host` and `dead_peer` do not work here, or None if they do.

    It tries them once and remembers the result. If this process has no descriptor left, the reason says so, and the
    next call tries again.

    >>> print(namespaces_unavailable())
    None
    """
    try:
        _check_platform()
    except OSError as error:
        return error.strerror
    try:
        return _first_failure()
    except OSError as error:  # not remembered: next time there may be descriptors again
        return f"{UNTRIED}: {error}"


@functools.cache
def _first_failure() -> str | None:
    try:
        with dead_peer() as host:  # one host for what both kinds need: each takes a process
            host.run([sys.executable, "-I", "-S", "-c", ""])
            host.vanish()
            host.heal()
            host._tell(f"port {host.port}")  # noqa: SLF001 - the same module
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) in _SCARCE:
            raise
        return f"user and network namespaces are not to be had here: {error}"
    return None


def _check_platform() -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "network namespaces exist on Linux only")


def _source(code: str, args: Sequence[Word]) -> list[Word]:
    return [sys.executable, "-P", "-c", textwrap.dedent(code), *args]  # -P: without the current directory


def _with_path(kwargs: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ if kwargs.get("env") is None else kwargs["env"]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path if isinstance(entry, str))
    return kwargs | {"env": {**environment, "PYTHONPATH": path}}


def _error(reported: str) -> OSError:
    """Return the error that the script reported: its number, and what failed."""
    number, _, what = reported.partition(" ")
    return OSError(int(number), os.strerror(int(number)), what)
