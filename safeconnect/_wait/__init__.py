"""Waiting until a port is up or gone: `wait_for_port`."""
