"""All TCP sockets of this host: who listens, who holds a port."""
