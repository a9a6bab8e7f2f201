"""Hands: system calls that never wait and never read the clock."""
