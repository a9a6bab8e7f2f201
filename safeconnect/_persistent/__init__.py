"""A connection that is kept and made again when it is lost: `PersistentConnection`."""
