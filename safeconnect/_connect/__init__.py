"""Connecting: `create_connection` and `Connector` on every event loop."""
