"""All clients of the table, by its headings."""

from . import brokers, databases, others, standard, web

GROUPS = {
    "Python's own": standard.CLIENTS,
    "HTTP and WebSocket": web.CLIENTS,
    "Databases, caches and directories": databases.CLIENTS,
    "Message brokers": brokers.CLIENTS,
    "Event loops, shells, names and others": others.CLIENTS,
}
CLIENTS = {client.name: client for clients in GROUPS.values() for client in clients}
