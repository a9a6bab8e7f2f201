"""The state of one connection, as the kernel tells it."""
