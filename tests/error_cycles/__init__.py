"""An error holds nobody's stack: once it is dropped, what its caller had is free, without the collector's help."""
