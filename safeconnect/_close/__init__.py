"""Ending a connection in order: `close_gracefully`."""
