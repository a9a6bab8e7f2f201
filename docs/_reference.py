"""Writes the entries of docs/reference from the docstrings: ``python docs/_reference.py`` renews all pages in place.

A page is written by hand but for its entries. An entry follows a comment with its name, ``<!-- safeconnect.reset -->``,
and ends at the next such comment, at a heading of the page (``#`` or ``##``) or with the page. After the name there may
be:

- ``(...)``: what the constructor takes, where that is another library's; ``()`` if users do not call it;
- ``on asyncio``: what tells the entry from another one of that name, for classes that cannot be imported.

``<!-- by hand: safeconnect.doctor.RULES -->`` before a heading ends an entry, too, and makes the heading known.

No annotation is evaluated, so the pages are the same from every Python that runs this.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/reference"

_MARK = re.compile(r"^<!-- (safeconnect[\w.]*)(\([^)\n]*\))?(?: on (\w+))? -->\n", re.MULTILINE)
_ENTRY = re.compile(rf"{_MARK.pattern}.*?(?=^<!-- |^##? |\Z)", re.MULTILINE | re.DOTALL)
_BY_HAND = re.compile(r"^<!-- by hand: ([\w.]+) -->\n\n#+ (.+)$", re.MULTILINE)
_FIELD = re.compile(r":(param|raises|ivar|returns)(?: ([\w.]+))?: (.*)", re.DOTALL)
_SPAN = re.compile(r"``(.+?)``|`([^`]+)`", re.DOTALL)
_TYPE = re.compile(r"(?<![\w.\"'])(?:t\.)?[A-Z]\w*(?![\w.\"'=:(])")
_LABELS = {"param": "Parameters", "raises": "Raises", "ivar": "Attributes"}
_LONGEST_LINE = 100

_PYTHON = "https://docs.python.org/3/library"
_CLIENTS = {"aiohttp", "anyio", "httpcore", "httpx", "pymysql", "pytest", "redis", "requests", "trio", "urllib3"}
_KNOWN = sys.stdlib_module_names | _CLIENTS


class Reference:
    """All pages by their names, and where each documented name stands."""

    def __init__(self) -> None:
        self.pages = {path.name: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))}
        marks = {page: _MARK.findall(text) for page, text in self.pages.items()}
        by_hand = {page: _BY_HAND.findall(text) for page, text in self.pages.items()}
        self.names = [found[0] for each in (*marks.values(), *by_hand.values()) for found in each]
        self.marked = {mark[0] for found in marks.values() for mark in found}
        self.links: dict[str, str] = {}
        for page in self.pages:
            headings = dict(by_hand[page])
            for name, _, label in marks[page]:
                every = [name, *(f"{name}.{member}" for member in self.members(name))]
                headings |= {each: _heading(each, name, label) for each in every}
            seen: Counter[str] = Counter()
            for name, heading in headings.items():
                slug = _slug(heading)
                self.links[name] = f"{page}#{slug}-{seen[slug]}" if seen[slug] else f"{page}#{slug}"
                seen[slug] += 1

    def renewed(self, page: str) -> str:
        """Return the page with its entries as the docstrings are now."""
        return _ENTRY.sub(lambda match: self._entry(page, *match.groups()), self.pages[page]).rstrip() + "\n"

    def _entry(self, page: str, name: str, arguments: str | None, label: str | None) -> str:
        writer = _Writer(self, page, name)
        parts = [f"<!-- {name}{arguments or ''}{f' on {label}' if label else ''} -->"]
        if name.startswith("safeconnect.typing."):
            source, text = _types()[name.rpartition(".")[2]]
            parts += [f"### {_heading(name, name, label)}", *writer.code(source), *writer.docstring(text)]
        elif isinstance(value := pkgutil.resolve_name(name), ModuleType):
            parts += writer.docstring(value.__doc__)
        else:
            parts += [f"### {_heading(name, name, label)}", *writer.code(_signature(name, value, arguments))]
            parts += [*writer.docstring(value.__doc__), *writer.base()]
        for key, member in self.members(name).items():
            parts.append(f"#### {_heading(f'{name}.{key}', name, label)}")
            parts += [*writer.code(_signature(key, member)), *writer.docstring(_function(member).__doc__)]
        return "\n\n".join(parts) + "\n\n"

    def members(self, name: str) -> dict[str, Any]:
        """Return the methods and properties of a class of ours, without those of a base that has an entry."""
        found: dict[str, Any] = {}
        if name.startswith("safeconnect.typing."):
            return found
        try:
            cls = pkgutil.resolve_name(name)
        except ImportError:
            if not name.startswith("safeconnect.integrations."):
                raise
            return found  # its client is not installed, and its page cannot be renewed
        for base in cls.__mro__ if inspect.isclass(cls) else ():
            if base is not cls and _full_name(base) in self.marked:
                break
            for key, value in vars(base).items():
                function = _function(value)
                if key[0] != "_" and function and function.__doc__ and _is_ours(function):
                    found.setdefault(key, value)
        return found

    def resolved(self, name: str, entry: str) -> str | None:
        """Return the full name of what an entry calls by this name, if that has an entry."""
        parts = entry.split(".")
        names = [f"{entry}.{name}"]
        if name.startswith("t."):  # as annotations have it
            names = [f"safeconnect.typing.{name[2:]}"]
            name = name[2:]
        if name.partition(".")[0] not in _KNOWN:
            names += [".".join([*parts[:length], name]) for length in range(len(parts) - 1, 0, -1)]
        driver = parts[1] if parts[1] in ("asyncio", "trio") else "blocking"
        modules = [f"_persistent.{driver}", *(["doctor.facts"] if parts[1] == "doctor" else []), "typing", "events"]
        names += [name, *(f"safeconnect.{module}.{name}" for module in modules)]
        if ".integrations." in entry:  # another module for the same client
            names.append(f"{re.sub('_[a-z]+$', '', entry.rpartition('.')[0])}.{name}")
        return next((each for each in names if each in self.links), None)


class _Writer:
    """Writes the parts of one entry as Markdown."""

    def __init__(self, reference: Reference, page: str, entry: str) -> None:
        self.reference = reference
        self.page = page
        self.entry = entry

    def code(self, text: str) -> list[str]:
        """Return a signature as a block of code, and the types of ours in it with links."""
        if not text:
            return []
        names = dict.fromkeys(self.reference.resolved(name, self.entry) for name in _TYPE.findall(text))
        types = [self._link(name) for name in names if name and name != self.entry]
        code = re.sub(r"\bt\.(?=\w)", "", text)
        return [f"```python\n{code}\n```", *([f"Types: {', '.join(types)}"] if types else [])]

    def base(self) -> list[str]:
        """Return a line on the base that has an entry of its own."""
        cls = pkgutil.resolve_name(self.entry)
        names = map(_full_name, cls.__mro__[1:] if inspect.isclass(cls) else ())
        return [f"Has the members of {self._link(name)}, too." for name in names if name in self.reference.marked][:1]

    def docstring(self, text: str | None) -> list[str]:
        """Return the blocks of a docstring as Markdown."""
        blocks: list[str] = []
        kind = None
        if not text:
            return blocks
        for block in re.split(r"\n\n+|\n(?=:(?:param|raises|ivar|returns)\b)", inspect.cleandoc(text)):
            field = _FIELD.match(block)
            if field is None:
                blocks.append(f"```pycon\n{block}\n```" if block.startswith(">>>") else self._prose(block))
            elif field[1] == "returns":
                blocks.append(f"**Returns** {self._prose(_flush(field[3], ''))}")
            else:
                name = self._reference(field[2]) if field[1] == "raises" else f"`{field[2]}`"
                line = f"- {name}: {self._prose(_flush(field[3], '  '))}"
                if field[1] == kind:
                    blocks[-1] += f"\n{line}"
                else:
                    blocks += [f"**{_LABELS[field[1]]}**", line]
            kind = field and field[1]
        return blocks

    def _prose(self, text: str) -> str:
        parts = []
        end = 0
        for span in _SPAN.finditer(text):
            parts += [text[end : span.start()], f"`{span[1]}`" if span[1] else self._reference(span[2])]
            end = span.end()
        return "".join([*parts, text[end:]])

    def _reference(self, name: str) -> str:
        full = self.reference.resolved(name.removesuffix("()"), self.entry)
        if full:
            return self._link(full, name)
        url = _outside(name.removesuffix("()"))
        if url is None:
            raise LookupError(f"{self.entry}: the docstring refers to `{name}`, which is neither documented nor known")
        return f"[`{name}`]({url})" if url else f"`{name}`"

    def _link(self, full: str, text: str = "") -> str:
        return f"[`{text or full.rpartition('.')[2]}`]({self.reference.links[full].removeprefix(self.page)})"


def _heading(name: str, entry: str, label: str | None) -> str:
    """Return the name as users write it; of a class that cannot be imported, without its module."""
    module = entry.rpartition(".")[0]
    if name in sys.modules:
        return f"`{name}`"  # the page has it as a heading
    if module in ("safeconnect", "safeconnect.typing") or "._" in module:
        name = name.removeprefix(f"{module}.")
    return f"`{name}`" + (f" on {label}" if label else "")


def _flush(text: str, indent: str) -> str:
    """Indent the lines after the first one alike."""
    return re.sub(r"\n +", f"\n{indent}", text)


def _slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading, and MyST likewise."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _signature(name: str, value: Any, arguments: str | None = None) -> str:
    """Return the definition of a class, function or property, without a body."""
    short = name.rpartition(".")[2]
    if name.startswith("safeconnect.pytest_plugin."):
        return ""  # pytest calls a fixture
    if inspect.isclass(value) and value.__name__ != short:
        return f"{short} = {value.__name__}"
    if inspect.isclass(value):
        return f"class {short}{_arguments(value) if arguments is None else arguments.removesuffix('()')}"
    function = _function(value) or value
    decorator = {property: "@property\n", classmethod: "@classmethod\n", staticmethod: "@staticmethod\n"}
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{decorator.get(type(value), '')}{prefix} {short}{_arguments(function)}"


def _arguments(value: Any) -> str:
    """Return what a function takes and returns; of a class what its constructor takes, if that is of ours."""
    if inspect.isclass(value):
        if not _is_ours(value.__init__) and not _is_ours(value.__new__) and not hasattr(value, "_fields"):
            return ""
        signature = inspect.signature(value).replace(return_annotation=inspect.Signature.empty)
    else:
        signature = inspect.signature(value)
    parts = []
    is_by_keyword = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls") or _annotation(parameter.annotation).endswith("Never"):
            continue  # Never: keywords that are there to be refused
        if parameter.kind == parameter.KEYWORD_ONLY and not is_by_keyword:
            parts.append("*")
        is_by_keyword = parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        parts.append(_written(parameter))
    returned = signature.return_annotation
    returns = "" if returned is signature.empty else f" -> {_annotation(returned)}"
    line = f"({', '.join(parts)}){returns}"
    if len(line) <= _LONGEST_LINE:
        return line
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def _written(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    is_annotated = parameter.annotation is not parameter.empty
    if is_annotated:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    return f"{text} = {_default(parameter.default)}" if is_annotated else f"{text}={_default(parameter.default)}"


def _annotation(annotation: Any) -> str:
    text = getattr(annotation, "__forward_arg__", annotation)  # of a named tuple
    return text if isinstance(text, str) else inspect.formatannotation(text)


def _default(value: Any) -> str:
    """Return a default as its value is written; a mark, such as that for the default timeout, as ``...``."""
    if callable(value) and getattr(value, "__name__", "<").isidentifier():
        return str(value.__name__)
    text = json.dumps(value) if isinstance(value, str) else repr(value)
    return "..." if text.startswith("<") else text


def _function(value: Any) -> Any:
    """Return the function of a method or property; None for anything else."""
    value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    return value if inspect.isfunction(value) else None


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == "safeconnect"


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@cache
def _types() -> dict[str, tuple[str, str]]:
    """Return the definition and the description of each name of `safeconnect.typing`."""
    text = inspect.getsource(importlib.import_module("safeconnect.typing"))
    body = ast.parse(text).body
    found = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        description = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        if isinstance(node, ast.ClassDef):
            description = ast.get_docstring(node) or ""
            for each in ast.walk(node):
                if isinstance(each, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(each) and len(each.body) > 1:
                    del each.body[0]
            found[node.name] = (ast.unparse(node).replace("\n\n", "\n").replace(":\n        ...", ": ..."), description)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = (ast.get_source_segment(text, node) or "", str(description))
    return found


def _outside(name: str) -> str | None:
    """Return where a name is documented: a URL, "" if no rule tells it, None if there is no such name."""
    root = name.partition(".")[0]
    try:
        pkgutil.resolve_name(name if root in _KNOWN else f"builtins.{name}")
    except (ImportError, AttributeError):
        return None
    if root not in sys.stdlib_module_names or root == "asyncio":
        return ""
    module = name
    while not isinstance(pkgutil.resolve_name(module), ModuleType):
        module = module.rpartition(".")[0]
    return f"{_PYTHON}/{module}.html" + ("" if module == name else f"#{name}")


def main() -> None:
    """Write the pages that have changed."""
    reference = Reference()
    for page, text in reference.pages.items():
        renewed = reference.renewed(page)
        if renewed != text:
            (PAGES / page).write_text(renewed, encoding="utf-8")
            print(f"renewed docs/reference/{page}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
