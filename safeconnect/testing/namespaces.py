"""Hosts of their own: user and network namespaces, without privilege, where faults befall programs in any language.

Linux 5.3 and later, where unprivileged user namespaces are allowed: `namespaces_unavailable` tells. Ubuntu 23.10 and
later allow them after ``sysctl kernel.apparmor_restrict_unprivileged_userns=0``. In a container, unshare(2) and
setns(2) must be allowed, and /proc/sys be writable. No program need be installed.

A host is a process that has moved into new namespaces and waits there. Programs are run in it by one that follows it
and then becomes the program (setns(2), execve(2)). So they are ordinary children of this process, with process ids,
exit codes and signals of their own. Inside, their user is root: they may set up addresses, packet filters and sysctls
of that host. On files they have the rights that they have outside. The host has one interface, lo, with 127.0.0.1 and
::1, and no way to anywhere else.
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

from .._checks import check_int
from .._sockets import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from ..typing import Args, Word


_LOOPBACK = "127.0.0.1"
_PORTS = range(32768, 61000)  # ip_local_port_range, as Linux has it unless told otherwise
# "No descriptor, no process, no memory left": that says nothing of namespaces.
_SCARCE = (*kernel.SCARCE, errno.EAGAIN)
UNTRIED = "it could not be tried whether there are user and network namespaces here"
_HERE = Path(__file__).absolute().parent


def _python(module: str, *arguments: object) -> list[str]:
    """The command that runs one of the scripts beside this module, as fast as Python starts."""
    return [sys.executable, "-I", "-S", "-X", "utf8", str(_HERE / module), *map(str, arguments)]


class Host:
    """A host of its own, as long as its ``with`` block lasts; made by `exposed_host` and `dead_peer`.

    :ivar address: what to connect to in there, ``(host, port)``.
    :ivar family: `socket.AF_INET`.
    :ivar pid: the process that holds the namespaces: ``nsenter -t PID -U -n`` looks into them.
    """

    def __init__(self, port: int) -> None:
        _check_platform()
        self.address = (_LOOPBACK, port)
        self.family = socket.AF_INET
        self._programs: set[subprocess.Popen[str]] = set()
        # A session of its own, for Ctrl-C is meant for the tests, which then end it. And it holds up no unmounting.
        self._holder = subprocess.Popen(  # noqa: S603 - the words are ours
            _python("_holder.py"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        self.pid = self._holder.pid
        try:
            self._tell("enter")
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        """Make it what it is for."""

    @property
    def host(self) -> str:
        """The host of ``address``."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The port of ``address``."""
        return self.address[1]

    def run(
        self, args: Args, timeout: float | None = 60, *, check: bool = False, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        r"""Run a program in there and wait for its end, as `subprocess.run` does; its output is captured, as text.

        :param args: the program and its arguments. A string is a program without arguments, for there is no shell.
        :param timeout: seconds; None waits for ever.
        :param check: whether an exit code other than 0 is an error.
        :param kwargs: ``input`` and what `popen` takes.
        :returns: with ``returncode``, ``stdout`` and ``stderr``. A signal's number is a negative ``returncode``.
        :raises subprocess.TimeoutExpired: it took longer, and was killed.
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
            self._end(process)  # has ended already, unless there is an error
        done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    def popen(self, args: Args, **kwargs: Any) -> subprocess.Popen[str]:
        """Start a program in there. At the end of the block it is killed, if it still runs, and its pipes are closed.

        :param args: as for `run`.
        :param kwargs: as for `subprocess.Popen`, without ``executable`` and ``shell``; ``text`` is True by default.
        :returns: the program itself: it runs already, and ``pid`` is its own.
        :raises OSError: it cannot be run: FileNotFoundError and the others, as of `subprocess.Popen`.
        :raises RuntimeError: the host has ended.
        """
        words = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
        if not words:
            raise ValueError("args must name a program")
        for name in ("executable", "shell"):
            if kwargs.pop(name, None):
                raise TypeError(f"{name} is not possible here: name the program in args, ['sh', '-c', ...] for a shell")
        self._check_running()
        settings: dict[str, Any] = {"text": True} | kwargs
        # Not os.pipe(): an interrupt would lose its bare numbers.
        reading, writing = socket.socketpair()
        with reading:
            with writing:
                process: subprocess.Popen[str] = subprocess.Popen(  # noqa: S603 - the caller's
                    [*_python("_enter.py", self.pid, writing.fileno()), *words],
                    pass_fds=(*settings.pop("pass_fds", ()), writing.fileno()),
                    **settings,
                )
            self._programs.add(process)
            process.args = args  # for its repr, and for errors
            # The child's end is closed when the program begins.
            reported = b"".join(iter(lambda: reading.recv(4096), b"")).decode(errors="surrogateescape")
        if reported:
            self._end(process)
            self._check_running()
            raise _error(reported)
        return process

    def run_python(
        self, code: str, *args: Word, timeout: float | None = 60, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        r"""Run Python source in there, in the interpreter and with the `sys.path` of this process.

        :param code: what to run; it may be indented as a whole.
        :param args: its ``sys.argv[1:]``.
        :param timeout: as for `run`; so is what is returned, and the errors.

        >>> with exposed_host(40000) as host:
        ...     done = host.run_python('''
        ...         import socket
        ...         print(socket.create_connection(("127.0.0.1", 40000)).getsockname())
        ...     ''')
        ...     done.stdout
        "('127.0.0.1', 40000)\n"
        """
        return self.run(_source(code, args), timeout, **_with_path(kwargs))

    def popen_python(self, code: str, *args: Word, **kwargs: Any) -> subprocess.Popen[str]:
        """Start Python source in there, as `run_python` does, and do not wait: as `popen`."""
        return self.popen(_source(code, args), **_with_path(kwargs))

    def close(self) -> None:
        """End the host and all that runs in it, as the ``with`` block does. A second time changes nothing."""
        # Without input it kills what runs in its namespaces, also what has been started by programs, and ends.
        try:
            self._holder.communicate()
        finally:
            for process in list(self._programs):
                self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Kill and reap a program, if it still runs, and close its pipes."""
        process.kill()
        if process.stdin:
            with contextlib.suppress(OSError):  # what it has not read is lost
                process.stdin.close()
        with process:
            self._programs.discard(process)

    def _tell(self, command: str) -> None:
        """Have the holder do something.

        :raises OSError: the kernel's.
        """
        self._check_running()
        assert self._holder.stdin  # noqa: S101 - for type checkers
        assert self._holder.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.host}:{self.port}, held by process {self.pid}>"


class ExposedHost(Host):
    """A host with one source port, where nobody listens; see `exposed_host`."""

    def _set_up(self) -> None:
        self._tell(f"port {self.port}")


class DeadPeer(Host):
    """A host with a server that sends back what it gets, and that can fall silent; see `dead_peer`.

    :ivar vanished: whether packets are lost now.
    """

    vanished = False

    def _set_up(self) -> None:
        command = _python("_echo.py", *self.address)
        server = self.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdout  # noqa: S101 - for type checkers
        if not server.stdout.readline():
            raise RuntimeError(f"the server in {self!r} did not start")

    def vanish(self) -> None:
        """Let the peer fall silent: every packet in there is lost, and nobody is told.

        No FIN and no RST comes. What is sent waits in the sender's buffer, to be sent again and again; connects are not
        answered. It is lo that loses the packets, so all connections in there are struck.

        :raises OSError: the kernel has no queueing discipline ``blackhole`` (CONFIG_NET_SCHED).
        """
        if not self.vanished:
            self._tell("vanish")
            self.vanished = True

    def heal(self) -> None:
        """Let packets through again. What was sent meanwhile arrives when it is sent again next.

        That is, for data and for connects, after a pause of at most about as long as the silence was, as each pause is
        twice the one before, from 0.2 s (data) and 1 s (connects) on.
        """
        if self.vanished:
            self._tell("heal")
            self.vanished = False

    def close(self) -> None:
        """End the host as `Host.close` does."""
        # What is still to be sent would keep the kernel's part of the host, measured, for another 105 s.
        try:
            with contextlib.suppress(OSError, RuntimeError):  # somebody else has healed it, or ended it
                self.heal()
        finally:
            super().close()


def exposed_host(port: int | None = None) -> ExposedHost:
    r"""A host whose only source port is its ``port``, where nobody listens: whoever connects to it meets itself.

    For certain, at the first try, in any language, at 127.0.0.1 and at ::1; in life that happens once in thousands of
    tries (see ``docs/self-connect.md``). It is what net.ipv4.ip_local_port_range = "port port" does (ip(7)); a server
    that binds the port is what ends it. Two things follow from it in there: there can be one such connection at a time,
    others get EADDRNOTAVAIL, as they do for a second after it was closed in the ordinary way (TIME_WAIT); and where a
    program asks for any free port, this is the only one. So take a host for each test: it costs some 50 ms.

    :param port: 1-65535; None: any of 32768-60999.
    :raises OSError: there are no namespaces to be had here: the kernel's error; `namespaces_unavailable` tells before.

    >>> with exposed_host() as host:
    ...     done = host.run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{host.port}; echo to myself >&3; head -1 <&3"])
    ...     done.stdout
    'to myself\n'
    """
    if port is None:
        port = random.choice(_PORTS)  # noqa: S311 - chance, not a secret; in there all are free
    check_int("port", port, 1, 65535)
    return ExposedHost(port)


def dead_peer() -> DeadPeer:
    r"""A host with a server at its ``address`` that sends back what it gets, until it vanishes.

    Run the client in the same host; lo is what loses the packets. Measured on Linux 6.18: keepalive of 1 s, 1 s and 3
    ends in ETIMEDOUT after 4.1 s; a client without keepalive that waits notices nothing, and one that connects times
    out. After `DeadPeer.heal` the same connections go on.

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
    """Why `exposed_host` and `dead_peer` cannot be had here, or None. It is tried once, and then remembered.

    Where this process has no descriptor left to try it with, that is what it says, and it is tried again next time.

    >>> print(namespaces_unavailable())
    None
    """
    try:
        _check_platform()
    except OSError as error:
        return error.strerror
    return _what_is_in_the_way()


def _what_is_in_the_way() -> str | None:
    try:
        return _found_in_the_way()
    except OSError as error:  # next time there may be descriptors again: not remembered
        return f"{UNTRIED}: {error}"


@functools.cache
def _found_in_the_way() -> str | None:
    try:
        with exposed_host() as host, dead_peer() as peer:
            host.run([sys.executable, "-I", "-S", "-c", ""])
            peer.vanish()
            peer.heal()
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) in _SCARCE:
            raise
        return f"user and network namespaces are not to be had here: {error}"
    return None


def _check_platform() -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "network namespaces exist on Linux only")


def _source(code: str, args: Sequence[Word]) -> list[Word]:
    return [sys.executable, "-P", "-c", textwrap.dedent(code), *args]  # -P: not what lies in the current directory


def _with_path(kwargs: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ if kwargs.get("env") is None else kwargs["env"]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path if isinstance(entry, str))
    return kwargs | {"env": {**environment, "PYTHONPATH": path}}


def _error(reported: str) -> OSError:
    """The error that a helper wrote down: its number, and what failed."""
    number, _, what = reported.partition(" ")
    return OSError(int(number), os.strerror(int(number)), what)
