"""Let one client connect in each of its ways, in a process of its own, and print what was found, as JSON.

``python -m tests.clients.child NAME before|after open|closed``: the client is imported before or after `install`, and
the network is the one that is there, or one of its own.
"""

import json
import os
import sys

import safeconnect
from safeconnect import events, integrations
from safeconnect._sockets import kernel, port_window

from .. import namespace
from . import catalog
from .listener import Listener

NARROW = 16  # source ports; a client that does not set the options hits them once in 1,700 times


class Probe:
    """Tells whether connections are ours: a connect of ours is traced before it begins, and so before it arrives."""

    def __init__(self):
        self.connector = safeconnect.Connector(trace=self._told)
        self._starts = []

    def _told(self, event):
        if isinstance(event, events.Start):
            self._starts.append(event.candidate[4][1])

    def is_ours(self, connect, *arguments):
        """True if each of the client's connections is ours; False if none is.

        :raises RuntimeError: there is no connection, or only some are ours.
        """
        listener, sources = let_connect(connect, *arguments)
        starts = self._starts.count(listener.port)
        if 0 < starts < len(sources):
            raise RuntimeError(f"{starts} of its {len(sources)} connections are ours")
        return starts > 0


def let_connect(connect, *arguments):
    """Return the listener, and from where a client came.

    :raises RuntimeError: it did not come.
    """
    listener = Listener()
    told = None
    try:
        connect(listener, *arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the server is none of theirs
        told = error
    sources = listener.end()
    if not sources:
        raise RuntimeError("it made no connection") from told
    return listener, sources


def under_install(probe, connect, *, imported_before):
    """True if `install` makes all of its connects safe, and they are its own again after `uninstall`.

    :raises RuntimeError: they were ours where nothing was installed, or not the same each time.
    """
    if imported_before and probe.is_ours(connect):
        raise RuntimeError("a connect before install() was ours")
    found = set()
    for _ in range(2):  # the second time it is imported in any case
        safeconnect.install(connector=probe.connector)
        found.add(probe.is_ours(connect))
        safeconnect.uninstall()
        if probe.is_ours(connect):
            raise RuntimeError("a connect after uninstall() was ours")
    (is_ours,) = found
    return is_ours


def has_our_options(connect):
    """True if the connections come from the source ports that the options allow, which are few."""
    ports = kernel.source_ports()
    first = ports.ranges[0].first
    last = first + NARROW - 1
    integrations.socket_options = lambda port: [(0, kernel.IP_LOCAL_PORT_RANGE, port_window.packed(first, last))]
    _, sources = let_connect(connect, integrations)
    return all(first <= port <= last for _, port in sources)


def main(name, imported_before):
    client, probe = catalog.CLIENTS[name], Probe()
    found = {"install": under_install(probe, client.connect, imported_before=imported_before)}
    if client.integration:
        found["integration"] = probe.is_ours(client.integration, probe.connector)
    if client.socket:
        found["socket"] = probe.is_ours(client.socket, probe.connector)
    if client.options:
        found["options"] = has_our_options(client.options) if kernel.has_port_range() else None
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _, name, when, network = sys.argv
    if network == "closed":
        namespace.enter(None, None)
    main(name, when == "before")
    os._exit(0)  # clients leave threads behind, and some of those never end
