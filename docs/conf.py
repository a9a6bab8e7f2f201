"""How Sphinx makes the site of these pages: ``python -m sphinx -W --keep-going -n -b html docs SITE``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path[:0] = [
    str(Path(__file__).parents[1]),  # the code beside these pages, installed or not
    str(Path(__file__).parent / "_site"),
]

from safeconnect import __version__  # noqa: E402 - from the path above

project = "safeconnect"
author = copyright = "the contributors of safeconnect"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "names"]
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines names of modules as if they were links
html_title = f"safeconnect {version}"
html_copy_source = html_show_sourcelink = False
html_static_path = ["_site", "plots"]
html_css_files = ["site.css"]

nitpicky = True
nitpick_ignore = {
    ("py:class", "Kind"),  # type variables: they stand for what the caller gives
    ("py:class", "Protocol"),
    ("py:class", "Result"),
    ("py:class", "Socket"),
}
default_role = "py:obj"  # `name` in a docstring is a reference
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
myst_heading_anchors = 3  # as on GitHub, so that page.md#heading leads to the same place in both
copybutton_exclude = ".linenos, .gp, .go"  # of an example that shows answers, what is typed

# Files outside docs/, each with the page that includes it: on GitHub links lead to the files.
_INCLUDED = {
    "../CHANGELOG.md": "changelog.md",
    "../README.md": "index.md",
    "../.github/CONTRIBUTING.md": "contributing.md",
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


def _show_the_plot_of_the_theme(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = _PLOT.sub(_BOTH, source[0])


def _lead_to_the_including_page(_app: Sphinx, page: str, source: list[str]) -> None:
    up = "../" * page.count("/")
    for file, including in _INCLUDED.items():
        source[0] = source[0].replace(f"]({up}{file}", f"]({up}{including}")
