from . import brokers, databases, others, standard, web

GROUPS = {
    "Python's own": standard.CLIENTS,
    "HTTP and WebSocket": web.CLIENTS,
    "Databases, caches, directories": databases.CLIENTS,
    "Brokers": brokers.CLIENTS,
    "Others": others.CLIENTS,
}
CLIENTS = {client.name: client for clients in GROUPS.values() for client in clients}


def by_name(name):
    return CLIENTS[name]
