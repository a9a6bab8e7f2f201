"""TCP simultaneous open: `simultaneous_open`."""
