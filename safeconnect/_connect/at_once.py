"""The first attempt of a connect in an event loop: without a wait, and without a race unless it takes one."""

from __future__ import annotations

import socket

from .._sockets import lifecycle, resolve
from .attempt import try_first
from .shared import Race
from .trace import is_logged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ..typing import Candidate
    from .settings import Settings

    AnyRace = TypeVar("AnyRace", bound=Race)


def begin(
    race: Callable[..., AnyRace],
    clock: Callable[[], float],
    settings: Settings,
    address: tuple[Any, ...],
    timeout: float | None,
    *,
    candidates: Sequence[Candidate] = (),
    began: float | None = None,
) -> socket.socket | AnyRace:
    """Try the first address if it is known without a wait.

    :param race: a driver's own class.
    :param clock: in seconds, the driver's own; ``began`` is a time of it, the time of this call if it is left out.
    :param candidates: the addresses of the host, if they have been looked up already.
    :returns: the socket if it is connected, and not to itself; otherwise a race, not run yet, that goes on with it.
    :raises TypeError: ``address`` is not an address.
    :raises ValueError: it has a wrong length, or its port is not 0-65535.
    :raises OSError: localhost could not be looked up.
    """
    if began is None:
        began = clock()
    needs_race = settings.needs_dial or is_logged()
    if not candidates and not settings.resolver:
        # A thread for localhost would take longer than its lookup, which reads a file.
        candidates = resolve.literal(address) if needs_race else resolve.without_network(address, settings.family)
    first: socket.socket | OSError | None = None
    try:
        if candidates and not needs_race:
            first, is_kept = try_first(settings, candidates[0])
            if is_kept and isinstance(first, socket.socket):
                return first
        made = race(settings, address, timeout, candidates, clock=clock, began=began)
        made.first = first
    except BaseException:
        if isinstance(first, socket.socket):
            lifecycle.discard(first)
        raise
    else:
        return made
    finally:
        first = None  # an error that is raised later holds this frame: a cycle
