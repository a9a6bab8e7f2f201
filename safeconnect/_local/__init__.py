"""The local end: ports to reserve and bind, pools of source addresses, exposure."""
