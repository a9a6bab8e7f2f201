"""aiohttp with safe connects: a connector for its sessions.

aiohttp looks names up, with its own resolver and cache, and speaks HTTP, TLS and proxies; what lies between, the TCP
connect to one of the addresses, is the safe one.
"""

from __future__ import annotations

import inspect
from typing import Any

from .._sockets import resolve
from . import _joint

try:
    import aiohttp
except ImportError as error:
    raise _joint.missing(__name__, "aiohttp", "3.10") from error

from .._connect.blocking import Connector
from .._connect.settings import chosen
from ..asyncio import connect

# The seam is not aiohttp's public interface. Where a version lacks it, an import that fails is better than a class that
# connects in the ordinary way.
if "addr_infos" not in inspect.signature(
    getattr(aiohttp.TCPConnector, "_wrap_create_connection", aiohttp.TCPConnector)
).parameters or not hasattr(aiohttp.TCPConnector, "_wrap_existing_connection"):
    raise ImportError(f"{__name__} fits aiohttp 3.10 to 3.14, not {aiohttp.__version__}", name="aiohttp")


class TCPConnector(aiohttp.TCPConnector):
    """`aiohttp.TCPConnector` that never connects to itself, races addresses and keeps its deadline.

    :param connector: a `safeconnect.Connector`, for what aiohttp has no word for: ``retry``, ``memory``, ``options``.
        Its timeout holds for connects where aiohttp has none. Its ``resolver``, ``resolution_delay`` and ``all_errors``
        do nothing here: aiohttp has a resolver of its own, and expects one error. None: a plain one.
    :param arguments: those of aiohttp. ``happy_eyeballs_delay`` and ``local_addr`` go before the connector's
        ``happy_eyeballs_delay`` and ``source_address``.
    :raises TypeError: the connector is no `Connector`; an argument that aiohttp does not know.
    :raises ValueError: ``socket_factory``, for the safe connect opens its sockets itself (options for them are the
        connector's ``options``), or an ``interleave`` other than None and 1, for the families take turns one by one.

    What is different with aiohttp:

    - ``ClientTimeout.sock_connect`` is one deadline for all addresses of a name and the TLS handshake. In aiohttp, a
      connect that has failed or timed out at all addresses begins again without the first of them, with all of the time
      again, until none is left.
    - With ``happy_eyeballs_delay=None`` the time is shared out among the addresses.
    - A ``retry`` tries the addresses again that aiohttp has looked up, not the name.

    The errors are aiohttp's, with the notes of `safeconnect.create_connection`: ``ConnectionTimeoutError``,
    ``ClientConnectorDNSError``, ``ClientProxyConnectionError``, ``ClientConnectorError``. The last two have our error
    as their ``os_error`` and cause, the first has it as its cause.

    >>> async def main():
    ...     async with aiohttp.ClientSession(connector=TCPConnector()) as session:
    ...         return session.closed
    >>> import asyncio
    >>> asyncio.run(main())
    False
    """

    def __init__(self, *, connector: Connector | None = None, **arguments: Any) -> None:
        connector = _joint.checked(connector)
        if arguments.get("socket_factory") is not None:
            raise ValueError(
                "there is no socket_factory here: give connector=Connector(options=...) for socket options"
            )
        if arguments.get("interleave") not in (None, 1):
            raise ValueError(f"interleave must be None or 1, not {arguments['interleave']!r}")
        arguments.setdefault("happy_eyeballs_delay", connector.happy_eyeballs_delay)
        super().__init__(**arguments)
        self.connector = connector
        local = self._local_addr_infos
        self._local_family = local[0][0] if local else None
        self._plan = _joint.planned(
            connector,
            source_address=local[0][4] if local else None,
            happy_eyeballs_delay=self._happy_eyeballs_delay,
            resolution_delay=None,
            resolver=None,
        )

    async def _wrap_create_connection(  # type: ignore[no-untyped-def]  # as aiohttp's, whose types differ by version
        self,
        *args: Any,
        addr_infos: list[Any],
        req: Any,
        timeout: aiohttp.ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ):
        """Connect to one of the addresses; called by aiohttp, also for connects to proxies."""
        # What is not above 0 means "no limit" in aiohttp.
        limit = chosen(timeout.sock_connect if (timeout.sock_connect or 0) > 0 else None, {"connector": self._plan})[1]
        began = self._loop.time()
        try:
            sock = await self._connect_to(addr_infos, (req.url.raw_host, req.port), limit)
        except OSError as error:
            addr_infos.clear()  # all have been tried; what is left there, aiohttp would try again
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # aiohttp's sign of its own timeout
            key: Any = req.connection_key
            raise _joint.told(client_error(key, error), error) from error
        if kwargs.get("ssl") and getattr(self, "_ssl_shutdown_timeout", None):  # aiohttp 3.12 has begun to have it
            kwargs["ssl_shutdown_timeout"] = self._ssl_shutdown_timeout
        if limit is not None:
            left = max(began + limit - self._loop.time(), 0.001)
            timeout = aiohttp.ClientTimeout(sock_connect=left, ceil_threshold=timeout.ceil_threshold)
        # For a socket that is there: TLS and the mapping of errors, and nothing else.
        return await self._wrap_existing_connection(
            *args, req=req, timeout=timeout, client_error=client_error, sock=sock, **kwargs
        )

    async def _connect_to(self, addr_infos: list[Any], address: tuple[Any, ...], limit: float | None) -> Any:
        # aiohttp's resolver may be anybody's: it may answer for UDP, or with a zone in the text of an address.
        found = resolve.usable(addr_infos)
        candidates = [info for info in found if self._local_family in (None, info[0])]
        if not candidates:
            raise OSError(f"no address of {address[0]!r} is of the family of local_addr {self._plan.source_address}")
        plan = self._plan
        if plan.retry is not None:
            # A new round asks again: for the addresses of aiohttp's resolver, not for those of getaddrinfo().
            plan = _joint.planned(plan, resolver=lambda *_: candidates)
        return await connect(plan, address, limit, candidates)
