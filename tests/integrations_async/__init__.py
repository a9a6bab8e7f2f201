"""Asynchronous clients with safe connects, each tested through the client itself."""
