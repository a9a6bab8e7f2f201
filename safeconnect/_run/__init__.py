"""Safe connects in programs that know nothing of it: ``safeconnect run`` and the environment variable SAFECONNECT."""
