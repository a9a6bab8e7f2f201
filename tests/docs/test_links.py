"""Links between the pages lead to files and headings that are there, read on GitHub or as a site."""

import re
from collections import Counter

import pytest

from ..namespace import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("docs/**/*.md")]
)
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]\n]*\]\((?!\w+:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
IMAGE = re.compile(r"<(?:img|source)[^>]* (?:src|srcset)=\"(?!\w+:)([^\"]+)\"")
INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)

pytestmark = pytest.mark.skipif(not PAGES, reason="the documentation is not beside these tests")


def anchors(page):
    """What GitHub, and MyST as docs/conf.py sets it up, make of the headings."""
    text = page.read_text()
    included = INCLUDE.search(text)
    if included:
        return anchors(page.parent / included[1])
    return {anchor for anchor, _ in anchors_of(text)}


def anchors_of(text):
    """Each anchor with its heading."""
    seen = Counter()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug, heading
        seen[slug] += 1


def broken(page):
    text = FENCE.sub("", page.read_text())
    for target in [*LINK.findall(SPAN.sub("``", text)), *IMAGE.findall(text)]:
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            yield f"{target}: there is no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    links = "[1](#a-b-c) [2](#twice-1) [3](#twice-2) [4](gone.md) [5](page.md#no)"
    page.write_text(f"# A `b` C!\n\n## Twice\n\n## Twice\n{links}\n")
    assert list(broken(page)) == [
        "#twice-2: there is no such heading",
        "gone.md: there is no such file",
        "page.md#no: there is no such heading",
    ]


def test_every_page_stands_in_a_table_of_contents():
    docs = ROOT / "docs"
    toctree = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    listed = [
        (page.parent / line).with_suffix(".md").relative_to(docs)
        for page in docs.glob("**/*.md")
        for tree in toctree.findall(page.read_text())
        for line in tree.split("\n")
        if line and not line.startswith(":")
    ]
    pages = [page.relative_to(docs) for page in docs.glob("**/*.md") if page != docs / "index.md"]
    assert sorted(listed) == sorted(pages)
