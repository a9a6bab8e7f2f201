"""What the asynchronous integrations share: one set of settings, made of the connector's and the client's."""

from collections.abc import Iterable
from typing import Any

from ..blocking import Connector


def planned(
    connector: Connector,
    *,
    options: Iterable[Any] | None = None,
    source_address: tuple[Any, ...] | None = None,
    **changes: Any,
) -> Connector:
    """The connector's settings, and the client's own in their place where it has such settings.

    :param options: the client's, set after the connector's.
    :param source_address: the client's, in the place of the connector's.
    :param changes: other settings, by their names.
    :returns: never one that raises `ExceptionGroup`, which no client expects.
    :raises TypeError: a setting of a wrong type.
    """
    if options:
        changes["options"] = (*connector.options, *map(tuple, options))
    if source_address:
        changes |= {"source_address": source_address, "source_ports": None, "share_source": False}
    if connector.all_errors:
        changes["all_errors"] = False
    return connector.replace(**changes) if changes else connector
