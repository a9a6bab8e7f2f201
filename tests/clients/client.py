"""What is known of a client: how it connects, and the ways in which it can be made to connect safely."""

import dataclasses
import platform
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

from ..namespace import ROOT

PYTHON = "Python"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Client:
    """A client of other people.

    :ivar name: as the table has it.
    :ivar package: its name on PyPI; `PYTHON` for the standard library's.
    :ivar connect: connects to a `Listener` as somebody does who knows nothing of safeconnect. It may fail afterwards.
    :ivar integration: connects with a class of `safeconnect.integrations`; its second argument is a `Connector`.
    :ivar socket: connects with a socket that it is given; its second argument is a `Connector`.
    :ivar options: connects with socket options; its second argument is `safeconnect.integrations`.
    :ivar instead: what the table says beside `install`, in Markdown.
    :ivar needs: other packages that are needed.
    """

    name: str
    package: str
    connect: Callable[[Any], object]
    integration: Callable[[Any, Any], object] | None = None
    socket: Callable[[Any, Any], object] | None = None
    options: Callable[[Any, Any], object] | None = None
    instead: str = ""
    needs: tuple[str, ...] = ()

    @property
    def version(self):
        """The version that is installed."""
        return platform.python_version() if self.package == PYTHON else metadata.version(self.package)

    @property
    def missing(self):
        """The packages that are not installed."""
        return [name for name in (self.package, *self.needs) if name != PYTHON and not is_installed(name)]


def recipe(name, **replaced):
    """The function of that name, as docs/clients.md has it, with other values for some of the names that it uses."""
    text = (ROOT / "docs" / "clients.md").read_text()
    (block,) = (block for block in BLOCK.findall(text) if f"def {name}(" in block)
    names = {}
    exec(block, names)
    names.update(replaced)
    return names[name]


def is_installed(package):
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
