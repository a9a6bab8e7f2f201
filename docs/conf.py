"""How Sphinx makes the site of these pages: ``python -m sphinx -W --keep-going -n -b html docs SITE``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))  # the code beside these pages, installed or not

from safeconnect import __version__

project = "safeconnect"
author = copyright = "the contributors of safeconnect"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines names of modules as if they were links
html_title = f"safeconnect {version}"
html_copy_source = html_show_sourcelink = False
html_static_path = ["_site", "plots"]
html_css_files = ["site.css"]

nitpicky = True
myst_heading_anchors = 4  # as on GitHub, so that page.md#heading leads to the same place in both
copybutton_exclude = ".linenos, .gp, .go"  # of an example that shows answers, what is typed

# Files outside docs/, each with the page that includes it: on GitHub links lead to the files.
_INCLUDED = {
    "../CHANGELOG.md": "changelog.md",
    "../README.md": "index.md",
    "../.github/CONTRIBUTING.md": "contributing.md",
    "../.github/SECURITY.md": "security.md",
    "../benchmarks/README.md": "benchmarks.md",
}

# A plot, drawn for light and for dark pages. GitHub chooses by the reader's system; here the theme has a switch.
_PLOT = re.compile(r'<picture>\n(?: +<source [^>]*>\n)+ +<img src="plots/(\w+)-light.svg" alt="([^"]*)">\n</picture>')
_BOTH = "".join(
    rf'<picture class="only-{theme}"><source media="(max-width: 600px)" srcset="_static/\1-narrow-{theme}.svg">'
    rf'<img src="_static/\1-{theme}.svg" alt="\2"></picture>'
    for theme in ("light", "dark")
)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _lead_to_the_including_page)
    app.connect("source-read", _show_the_plot_of_the_theme)
    app.connect("doctree-read", _list_names)


def _list_names(app: Sphinx, page: nodes.document) -> None:
    """Put the names of the reference into objects.inv, by which other projects link to them."""
    if not app.env.docname.startswith("reference/"):
        return
    module = "safeconnect.typing." if app.env.docname == "reference/types" else "safeconnect."
    for section in page.findall(nodes.section):
        title = section[0]
        if len(title) == 1 and isinstance(title[0], nodes.literal):  # others are sections of text, or no public names
            name = title.astext()
            *_, parent, short = f"{module}{name}".split(".")
            kind = "class" if short[0].isupper() else "method" if parent[0].isupper() else "function"
            full = name if name.startswith("safeconnect.") else f"{module}{name}"
            app.env.domains.python_domain.note_object(full, kind, section["ids"][0])


def _show_the_plot_of_the_theme(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = _PLOT.sub(_BOTH, source[0])


def _lead_to_the_including_page(_app: Sphinx, page: str, source: list[str]) -> None:
    up = "../" * page.count("/")
    for file, including in _INCLUDED.items():
        source[0] = source[0].replace(f"]({up}{file}", f"]({up}{including}")
