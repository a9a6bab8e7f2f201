"""aiohttp with safe connects: a connector for its sessions.

aiohttp looks names up, with its own resolver and cache, and does HTTP, TLS and proxies. The step between, the TCP
connect to one of the addresses, is the safe one.
"""

from __future__ import annotations

import inspect
from typing import Any

from .._sockets import answers
from . import _common

with _common.needed(__name__, "aiohttp", "3.10"):
    import aiohttp

from .._connect.asyncio import connect
from .._connect.blocking import Connector
from .._connect.keywords import chosen

# These methods are not aiohttp's public interface. If a version lacks them, an import that fails is better than a class
# that silently connects in the ordinary way.
if "addr_infos" not in inspect.signature(
    getattr(aiohttp.TCPConnector, "_wrap_create_connection", aiohttp.TCPConnector)
).parameters or not hasattr(aiohttp.TCPConnector, "_wrap_existing_connection"):
    raise ImportError(f"{__name__} fits aiohttp 3.10 to 3.14, not {aiohttp.__version__}", name="aiohttp")


class TCPConnector(aiohttp.TCPConnector):
    """`aiohttp.TCPConnector` that never connects to itself, races addresses and keeps one deadline.

    :param connector: a `safeconnect.Connector`, for settings that aiohttp lacks: ``retry``, ``memory``, ``options``.
        Its timeout applies to the connect if aiohttp has none. Its ``resolver``, ``resolution_delay`` and
        ``all_errors`` have no effect: aiohttp has its own resolver and expects one error. None: a plain one.
    :param arguments: those of aiohttp. ``happy_eyeballs_delay`` and ``local_addr`` override the connector's
        ``happy_eyeballs_delay`` and ``source_address``.
    :raises TypeError: ``connector`` is not a `Connector`, or aiohttp does not know an argument.
    :raises ValueError: ``socket_factory`` was given: the safe connect opens its sockets itself (set their options by
        the connector's ``options``). Or ``interleave`` is not None or 1: address families always alternate one by one.

    What is different from aiohttp's own connector:

    - ``ClientTimeout.sock_connect`` is one deadline for all addresses of a name and the TLS handshake. aiohttp's own,
      when all addresses have failed or timed out, starts again without the first of them, with the whole timeout, until
      no address is left.
    - With ``happy_eyeballs_delay=None`` the timeout is divided among the addresses.
    - A ``retry`` tries the addresses again that aiohttp has looked up. It does not look the name up again.

    The errors are aiohttp's, with the notes of `safeconnect.create_connection`: ``ConnectionTimeoutError``,
    ``ClientConnectorDNSError``, ``ClientProxyConnectionError``, ``ClientConnectorError``. The last two have our error
    as their ``os_error`` and cause; the first has it as its cause.

    >>> async def main():
    ...     async with aiohttp.ClientSession(connector=TCPConnector()) as session:
    ...         return session.closed
    >>> import asyncio
    >>> asyncio.run(main())
    False
    """

    def __init__(self, *, connector: Connector | None = None, **arguments: Any) -> None:
        connector = _common.checked(connector)
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
        self._combined = _common.combine(
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
        # In aiohttp, 0 and less mean "no timeout".
        own = timeout.sock_connect if (timeout.sock_connect or 0) > 0 else None
        _, connect_timeout = chosen(own, {"connector": self._combined})
        began = self._loop.time()
        try:
            sock = await self._connect_to(addr_infos, (req.url.raw_host, req.port), connect_timeout)
        except OSError as error:
            addr_infos.clear()  # aiohttp would retry the addresses left here, and all have been tried
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # without an errno it is aiohttp's own timeout
            key: Any = req.connection_key
            raise _common.with_notes(client_error(key, error), error) from error
        if kwargs.get("ssl") and getattr(self, "_ssl_shutdown_timeout", None):  # since aiohttp 3.12
            kwargs["ssl_shutdown_timeout"] = self._ssl_shutdown_timeout
        if connect_timeout is not None:
            remaining = max(began + connect_timeout - self._loop.time(), 0.001)
            timeout = aiohttp.ClientTimeout(sock_connect=remaining, ceil_threshold=timeout.ceil_threshold)
        # On a connected socket this does only the TLS handshake and the mapping of errors.
        return await self._wrap_existing_connection(
            *args, req=req, timeout=timeout, client_error=client_error, sock=sock, **kwargs
        )

    async def _connect_to(self, addr_infos: list[Any], address: tuple[Any, ...], timeout: float | None) -> Any:
        # A user-supplied resolver may answer for UDP, or with a zone in the text of an address.
        found = answers.usable(addr_infos)
        candidates = [info for info in found if self._local_family in (None, info[0])]
        if not candidates:
            raise OSError(
                f"no address of {address[0]!r} is of the family of local_addr {self._combined.source_address}"
            )
        connector = self._combined
        if connector.retry is not None:
            # A retry looks the name up again: it gets the addresses of aiohttp's resolver, not those of getaddrinfo().
            connector = _common.combine(connector, resolver=lambda *_: candidates)
        return await connect(connector, address, timeout, candidates)
