"""System calls that never wait and never read the clock."""
