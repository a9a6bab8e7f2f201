"""The settings by which the functions that `install` has put in place connect."""

from __future__ import annotations

from .._connect.blocking import Connector
from .._sockets.lifecycle import DEFAULT_TIMEOUT
from ..integrations import _common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAIN = Connector()


class _Chosen:
    """The settings in force: those of the last `install` or `patched`."""

    connector: Connector = PLAIN


chosen = _Chosen()


def for_call(source_address: Any = None, **changes: Any) -> tuple[Connector, float | None]:
    """Return the settings for one call of an event loop's client, and the timeout of its connect.

    :param source_address: the client's, and ``changes``, other settings of its own.
    """
    connector = chosen.connector
    timeout = None if connector.timeout is DEFAULT_TIMEOUT else connector.timeout
    return _common.combine(connector, source_address=source_address, **changes), timeout
