"""Brain: decisions without sockets, clocks or chance."""
