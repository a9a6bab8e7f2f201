"""Put the safe connect in the place of other functions, for the whole process: `install`."""
