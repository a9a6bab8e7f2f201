"""The settings of one asynchronous call, from its keywords."""

from __future__ import annotations

from .._sockets.lifecycle import DEFAULT_TIMEOUT
from .settings import Settings, check_seconds, unexpected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..typing import AsyncKeywords

_PLAIN = Settings()


def chosen(
    timeout: float | None,
    keywords: AsyncKeywords,
    function: str = "create_connection",
    own: Iterable[str] = (),
) -> tuple[Settings, float | None]:
    """Return the settings of one call, and its timeout: the keywords' own, or those of ``connector``.

    :param function: what was called, and ``own``, its keywords that are no settings: for an error.
    :raises TypeError: a connector together with other settings, or something that is none; an unknown setting.
    """
    if timeout is not None:
        timeout = check_seconds("timeout", timeout)
    if not keywords:
        return _PLAIN, timeout
    others: Any = dict(keywords)
    connector = others.pop("connector", None)
    if connector is None:
        try:
            return Settings(**others), timeout
        except TypeError as error:
            raise unexpected(function, others, ("connector", *own)) or error from None
    if not isinstance(connector, Settings):
        raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
    if others:
        strange = unexpected(function, others, own)
        raise strange or TypeError(f"give either connector or {', '.join(others)}: a connector has all settings")
    if timeout is None:
        timeout = None if connector.timeout is DEFAULT_TIMEOUT else connector.timeout
    return connector, timeout
