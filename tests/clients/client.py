"""What is known of a client: how it connects, and the ways in which it can be made to connect safely."""

import dataclasses
from collections.abc import Callable
from importlib import metadata
from typing import Any

PYTHON = "Python"


@dataclasses.dataclass(frozen=True)
class Client:
    """A client of other people.

    :ivar name: as the table has it.
    :ivar package: its name on PyPI; `PYTHON` for the standard library's.
    :ivar connect: connects to a `Listener` as a user of the client does who knows nothing of safeconnect. It may fail
        afterwards.
    :ivar integration: connects with a class of `safeconnect.integrations`, and ``socket``, with a socket that is given
        to the client: by a `Connector`, its second argument.
    :ivar options: connects with socket options; its second argument is `safeconnect.integrations`.
    :ivar instead: what the table says beside `install`, in Markdown.
    """

    name: str
    package: str
    connect: Callable[[Any], object]
    integration: Callable[[Any, Any], object] | None = None
    socket: Callable[[Any, Any], object] | None = None
    options: Callable[[Any, Any], object] | None = None
    instead: str = ""

    def version(self):
        """The version that is installed here, or None."""
        if self.package == PYTHON:
            import platform

            return platform.python_version()
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None
