"""Name lookups with the answers that a test wants: `names` for a block, `dual_stack` for a name with two faults."""

from __future__ import annotations

import copy
import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .._connect.settings import check_seconds
from .._latch import Latch
from .._local.binding import reserve_port
from . import _listeners, _servers
from ._base import Fault


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer to a name lookup.

    :param addresses: literal addresses, in the order of the answer.
    :param delay: seconds before the answer.
    :param error: raised instead of an answer, such as ``socket.gaierror(socket.EAI_AGAIN, "try again")``.
    :raises ValueError: an address is not a literal one, or the delay is negative.
    """

    addresses: Sequence[str] = ()
    delay: float = 0.0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        check_seconds("delay", self.delay)
        for address in self.addresses:
            ipaddress.ip_address(address)


def _lookup(answer: Any) -> Lookup:
    if isinstance(answer, Lookup):
        return answer
    if isinstance(answer, BaseException):
        return Lookup(error=answer)
    return Lookup([answer] if isinstance(answer, str) else list(answer))


class Names:
    """The names of a block; see `names`. ``asked`` logs every host that was looked up, in order."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.asked: list[str] = []
        self._answers = {name.lower(): _lookup(answer) for name, answer in answers.items()}
        self._over = Latch()
        self._real: Callable[..., Any] = socket.getaddrinfo

    def __repr__(self) -> str:
        return f"<Names {', '.join(self._answers)}; {len(self.asked)} lookup{'s' * (len(self.asked) != 1)}>"

    def __getitem__(self, name: str) -> Lookup:
        return self._answers[name]

    def __setitem__(self, name: str, answer: Any) -> None:
        """Change an answer, or add one."""
        self._answers[name.lower()] = _lookup(answer)

    def getaddrinfo(  # noqa: PLR0917 - socket.getaddrinfo()'s arguments
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002 - getaddrinfo()'s own name for it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Replace `socket.getaddrinfo`; literal addresses and ``localhost`` go to the real one.

        :raises socket.gaierror: EAI_NONAME: the block does not have the name, or no address of it in that family.
        """
        name = host.decode() if isinstance(host, (bytes, bytearray)) else host
        if name is None or name == "localhost" or _is_literal(name):
            return list(self._real(host, port, family, type, proto, flags))
        self.asked.append(name)
        answer = self._answers.get(name.lower().rstrip("."))
        if answer is not None:
            self._over.wait(answer.delay)
            if answer.error is not None:
                raise _copied(answer.error)
            found = [each for address in answer.addresses for each in self._literal(address, port, family, type, proto)]
            if found:
                return found
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def _literal(self, address: str, *arguments: Any) -> list[Any]:
        try:
            return list(self._real(address, *arguments, socket.AI_NUMERICHOST))
        except socket.gaierror:
            return []  # it is of another family

    def end(self) -> None:
        """Let lookups in their delay end now."""
        self._over.set()


def _copied(error: BaseException) -> BaseException:
    """Copy an error before it is raised: the block's own would collect the notes and frames of every lookup."""
    try:
        fresh = copy.copy(error)
    except Exception:  # noqa: BLE001 - a user-supplied class may raise anything here
        return error
    if hasattr(error, "__notes__"):
        fresh.__notes__ = list(error.__notes__)
    return fresh


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def names(answers: Mapping[str, Any]) -> Iterator[Names]:
    """Answer name lookups for a block: those of `socket.getaddrinfo`, and so those of asyncio and trio.

    No other name exists, so no test asks the network. Literal addresses and ``localhost`` stay as they are. uvloop is
    not affected: it does not use `socket.getaddrinfo`.

    :param answers: for each name a literal address, several of them, an error to raise, or a `Lookup`.
    :raises ValueError: an address is not a literal one.

    >>> with names({"db.test": ["2001:db8::1", "192.0.2.1"]}):
    ...     [found[4][0] for found in socket.getaddrinfo("db.test", 5432, type=socket.SOCK_STREAM)]
    ['2001:db8::1', '192.0.2.1']
    """
    block = Names(answers)
    real = socket.getaddrinfo
    try:
        socket.getaddrinfo = block.getaddrinfo
        yield block
    finally:
        socket.getaddrinfo = real
        block.end()


class DualStack:
    """A name with an IPv6 and an IPv4 address; ``v6`` and ``v4`` are their faults. See `dual_stack`."""

    def __init__(self, name: str, v6: Fault, v4: Fault) -> None:
        self.name = name
        self.v6 = v6
        self.v4 = v4
        self.port: int = v4.port
        self.address: tuple[str, int] = (name, v4.port)

    def __repr__(self) -> str:
        return f"<DualStack {self.name}:{self.port}, v6: {self.v6!r}, v4: {self.v4!r}>"


def no_ipv6() -> str | None:
    """Return why `dual_stack` cannot work on this host; None if it can."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return f"dual_stack needs IPv6, and this host has no address ::1: {error.strerror}"
    return None


@contextmanager
def dual_stack(
    v6: str | Callable[..., Fault] = "blackhole",
    v4: str | Callable[..., Fault] = "echo",
    *,
    name: str = "dual.test",
) -> Iterator[DualStack]:
    """A name whose two addresses, ::1 and 127.0.0.1, behave differently, on the same port.

    :param v6: the fault at ::1: its name, or a function that takes ``host`` and ``port``; by default ``"blackhole"``.
    :param v4: the fault at 127.0.0.1, likewise; by default ``"echo"``.
    :param name: the name.
    :raises OSError: this host has no IPv6 loopback address.
    :raises ValueError: there is no such fault.

    >>> with dual_stack(v6="refused", v4="echo") as both, socket.create_connection(both.address, 5) as sock:
    ...     sock.family.name
    'AF_INET'
    """
    reason = no_ipv6()
    if reason:
        raise OSError(errno.EADDRNOTAVAIL, reason)
    with ExitStack() as stack:
        with reserve_port(["::1", "127.0.0.1"]) as reserved:
            port = reserved.port
            if sys.platform != "linux":
                reserved.release()  # only Linux lets others bind beside it
            six = stack.enter_context(_made("v6", v6, "::1", port))
            four = stack.enter_context(_made("v4", v4, "127.0.0.1", port))
        stack.enter_context(names({name: ["::1", "127.0.0.1"]}))
        yield DualStack(name, six, four)


def _made(which: str, fault: Any, host: str, port: int) -> Fault:
    if isinstance(fault, str):
        made = getattr(_servers, fault, None) or getattr(_listeners, fault, None)
        if made is None or fault.startswith("_"):
            raise ValueError(f"{which} must be the name of a fault, not {fault!r}")
        fault = made
    made_fault: Fault = fault(host=host, port=port)
    return made_fault
