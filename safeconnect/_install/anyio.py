"""The function that `install` puts in the place of `anyio.connect_tcp`."""

from __future__ import annotations

from .. import anyio as ours
from . import clients
from .settings import for_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any


async def connect_tcp(
    remote_host: Any,
    remote_port: int,
    *,
    local_host: Any = None,
    local_port: int | None = None,
    tls: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    tls_standard_compatible: bool = True,
    tls_hostname: str | None = None,
    happy_eyeballs_delay: float = 0.25,
) -> Any:
    """`anyio.connect_tcp`. With a ``local_port``, which takes a connect of its own kind, it is anyio's own."""
    more: dict[str, Any] = {"tls": tls, "ssl_context": ssl_context}
    more |= {"tls_standard_compatible": tls_standard_compatible, "tls_hostname": tls_hostname}
    if local_port is not None:
        more |= {"local_host": local_host, "local_port": local_port, "happy_eyeballs_delay": happy_eyeballs_delay}
        return await clients.ANYIO.original(remote_host, remote_port, **more)
    source = None if local_host is None else (str(local_host), 0)
    settings, timeout = for_call(source, happy_eyeballs_delay=happy_eyeballs_delay)
    return await ours.connect_tcp(remote_host, remote_port, timeout=timeout, connector=settings, **more)
