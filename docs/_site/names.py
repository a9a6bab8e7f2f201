"""Names in docstrings and signatures: where they lead, and defaults that have no readable value."""

from __future__ import annotations

import pkgutil
import re
import sys
from types import ModuleType

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform

from safeconnect import _lazy

_CLIENTS = {"aiohttp", "anyio", "httpcore", "httpx", "pymysql", "pytest", "redis", "requests", "trio", "urllib3"}
_SHORT = {  # as signatures have them
    "AbstractAsyncContextManager": "contextlib.AbstractAsyncContextManager",
    "AbstractContextManager": "contextlib.AbstractContextManager",
    "SSLContext": "ssl.SSLContext",
    "TLSStream": "anyio.streams.tls.TLSStream",
}
_PYTHON = "https://docs.python.org/3/library"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    # Sphinx puts members in the order of the source, and looks for that in the `__module__` of a class.
    _lazy.publish = lambda *_: None
    # What cannot be evaluated is shown as written: `Ports`, not what that stands for.
    _lazy.typing = None
    app.add_post_transform(OwnNames)
    app.connect("missing-reference", _outside)
    app.connect("autodoc-process-signature", _readable)


def _readable(_app: Sphinx, *shown: object) -> tuple[object, object]:
    """A function as a default is shown by its name; a mark, such as that for the default timeout, as ``...``."""
    signature, returns = shown[-2:]
    if isinstance(signature, str):
        signature = re.sub(r"<(?:function|built-in method) (\w+)(?: of \w+ object)?>", r"\1", signature)
        signature = re.sub(r"<object object>|<factory>|<function [\w.]*<lambda>>", "...", signature)
    return signature, returns


class OwnNames(SphinxPostTransform):
    """Writes our names out: an `Exchange` is that of the module at hand, and a `Connector` is known everywhere."""

    default_priority = 5  # before Sphinx looks them up

    def run(self, **_: object) -> None:
        for node in self.document.findall(pending_xref):
            if node.get("refdomain") == "py" and node["reftype"] != "mod":
                if node["reftarget"].startswith("t."):  # as signatures have it
                    node["reftarget"] = node["reftarget"].removeprefix("t.")
                    node.children = [nodes.Text(node["reftarget"])]
                full = self._full_name(node)
                if full:
                    node["reftarget"] = full
                    node.attributes.pop("refspecific", None)

    def _full_name(self, node: pending_xref) -> str | None:
        objects = self.env.domains.python_domain.objects
        name = node["reftarget"].removesuffix("()")
        if "._" in name and name not in objects:
            node["reftarget"] = name = name.rpartition(".")[2]  # evaluated: of the private module that has it
        module, kind = node.get("py:module") or "safeconnect", node.get("py:class")
        driver = module.partition(".")[2] or "blocking"  # a feature has a module of that name for each
        while module:
            beside = {full for full in objects if re.fullmatch(rf"{re.escape(module)}\.\w+\.{re.escape(name)}", full)}
            classes = sorted(full for full in beside if objects[full].objtype in ("class", "type") or "." in name)
            for full in (f"{module}.{kind}.{name}", f"{module}.{name}", *classes):
                if full in objects:
                    return full
            module = module.rpartition(".")[0]
        pattern = re.compile(rf"safeconnect\._\w+\.{driver}\.{re.escape(name)}")
        return min(filter(pattern.fullmatch, objects), default=None)


def _outside(_app: Sphinx, _env: BuildEnvironment, node: pending_xref, shown: nodes.Element) -> nodes.Node | None:
    """A name of another package has to exist; one of the standard library leads to its documentation.

    Sphinx's own way, intersphinx, needs the network wherever the site is built.
    """
    target = node["reftarget"].removesuffix("()")
    target = _SHORT.get(target, target)
    root = target.partition(".")[0]
    if node.get("refdomain") != "py" or root not in sys.stdlib_module_names | _CLIENTS:
        return None
    try:
        module = _module_of(target)
    except (ImportError, AttributeError):
        return None
    if root in _CLIENTS or root == "asyncio":  # no rule tells the page
        return shown
    anchor = f"module-{target}" if module == target else target
    return nodes.reference("", "", shown, internal=False, refuri=f"{_PYTHON}/{module}.html#{anchor}")


def _module_of(target: str) -> str:
    while not isinstance(pkgutil.resolve_name(target), ModuleType):
        target = target.rpartition(".")[0]
    return target
