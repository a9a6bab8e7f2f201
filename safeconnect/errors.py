"""The errors of this library; each is also the standard one that callers already catch."""

from __future__ import annotations

from ._lazy import publish


class SelfConnectError(ConnectionRefusedError):
    """The connection could only be made to its own socket, so nobody listens there; errno is ECONNREFUSED.

    Raised by `create_connection` when every try met itself, or at once where the source address given is the target.
    The sockets have been reset, so a server can bind to the port right away. Pass ``allow_self_connect=True`` to be
    given such a socket.

    >>> issubclass(SelfConnectError, ConnectionRefusedError)
    True
    """


class PortsExhaustedError(OSError):
    """Every source port toward one destination is taken; errno is EADDRNOTAVAIL.

    The message says how many ports were tried toward what, and what helps. The kernel proved it: the whole range of
    source ports was offered to ``connect()``, less the target's own port.

    >>> issubclass(PortsExhaustedError, OSError)
    True
    """


class AddressNotAllowedError(PermissionError):
    """The setting ``allow`` does not permit the address; errno is EACCES, and nothing has been sent to it.

    Raised where no other address of the name could be connected to either. The message names the address. Where the
    others fail with an answer, or in silence, that is the error, and a note tells of this one.

    >>> issubclass(AddressNotAllowedError, PermissionError)
    True
    """


class CrossedReplyError(ConnectionAbortedError):
    """A reply that belongs to another request: its number is not the exchange's; errno is ECONNABORTED.

    Raised by ``verify`` of an exchange of a `PersistentConnection`, which has reset the connection then.

    >>> issubclass(CrossedReplyError, ConnectionAbortedError)
    True
    """


class PeerClosedError(ConnectionResetError):
    """The peer has closed the connection in order where more was to come; errno is ECONNRESET.

    Raised by ``recv_exactly`` of an exchange of a `PersistentConnection`. A plain ``recv`` returns b"" then.

    >>> issubclass(PeerClosedError, ConnectionResetError)
    True
    """


publish(
    "safeconnect", AddressNotAllowedError, CrossedReplyError, PeerClosedError, PortsExhaustedError, SelfConnectError
)
