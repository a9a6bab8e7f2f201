"""Whether a connect may go to an address: asked of the very socket address that is connected to, before its socket."""

from __future__ import annotations

import errno
import socket

from .._sockets.endpoint import written
from .._text import shown
from ..errors import AddressNotAllowedError
from .addresses import is_permitted, reached_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Candidate
    from .settings import Settings

_IP_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_WRONG_FAMILY = getattr(socket, "EAI_ADDRFAMILY", socket.EAI_FAMILY)


def check(plan: Settings, candidate: Candidate) -> None:
    """Refuse what ``family`` and ``allow`` leave out.

    :raises socket.gaierror: it is of another family, as getaddrinfo() says it of a literal.
    :raises AddressNotAllowedError: ``allow`` does not permit it.
    :raises TypeError: ``allow`` says neither True nor False.
    """
    family, _, _, _, sockaddr = candidate
    if plan.family and family != plan.family:
        name = socket.AddressFamily(plan.family).name
        raise socket.gaierror(_WRONG_FAMILY, f"{written(sockaddr)} is no address of the family {name}")
    if plan.allow is not None:
        _check_allowed(plan.allow, family, sockaddr)


def _check_allowed(allow: Any, family: int, sockaddr: Any) -> None:
    host = sockaddr[0] if family in _IP_FAMILIES else sockaddr
    text = host.decode("latin-1") if isinstance(host, (bytes, bytearray)) else host
    try:
        reached = reached_at(text)
    except ValueError:
        # connect() would look a name up, and nobody would see what it finds.
        told = f"allow permits addresses, and {shown(host)} is none"
        raise AddressNotAllowedError(errno.EACCES, told) from None
    for address in reached:
        if not is_permitted(allow, address):
            which = "" if str(address) == text else f", which a connect to {text} may reach"
            raise AddressNotAllowedError(errno.EACCES, f"allow does not permit {address}{which}")
