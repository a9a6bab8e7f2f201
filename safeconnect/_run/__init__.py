"""The safe connect in programs that know nothing of it: ``safeconnect run`` and the environment variable SAFECONNECT."""
