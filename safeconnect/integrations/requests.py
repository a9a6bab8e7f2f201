"""requests with safe connects: an adapter to mount on a session."""

from __future__ import annotations

from typing import Any

from . import _common

with _common.needed(__name__, "requests", "2.30"):
    import requests.adapters

from .._connect.blocking import Connector
from .urllib3 import use_safe_pools


class HTTPAdapter(requests.adapters.HTTPAdapter):
    """`requests.adapters.HTTPAdapter` whose connects never connect to themselves, race addresses and keep one
    deadline.

    Connects to HTTP and HTTPS proxies are safe, too; PySocks itself makes those to SOCKS proxies.

    :param connector: a `Connector`, for settings that requests lacks: ``retry``, ``memory``, ``options``,
        ``source_address``. Its timeout applies to the connect if the request has none. None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    Every other argument is that of requests, as are the errors: ``ConnectTimeout``, ``ConnectionError``. The timeout
    of a request, or the first of its two, is a deadline for names and all addresses together.

    >>> with requests.Session() as session:
    ...     session.mount("http://", HTTPAdapter())
    ...     session.mount("https://", HTTPAdapter())
    """

    # The attributes that are pickled with a session; its managers are made anew.
    __attrs__: list[str] = [*requests.adapters.HTTPAdapter.__attrs__, "connector"]  # noqa: RUF012 - a list in requests, too

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        self.connector = connector
        super().__init__(*arguments, **keywords)

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        """Make the pool manager; called by requests."""
        super().init_poolmanager(*arguments, **keywords)
        use_safe_pools(self.poolmanager, self.connector)

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        """Return the pool manager for a proxy; called by requests."""
        manager = super().proxy_manager_for(proxy, **keywords)
        if not proxy.lower().startswith("socks"):
            use_safe_pools(manager, self.connector)
        return manager
