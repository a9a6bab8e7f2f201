"""The documentation tells the truth: every Python block is run."""

import re

import pytest

import safeconnect

from .. import namespace
from ..namespace import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST_FILE = re.compile(r"^# (test_\w+\.py)$", re.MULTILINE)
IMPORT = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
CLIENTS = {"aiohttp", "httpcore", "httpx", "paramiko", "pymysql", "redis", "requests", "urllib3", "websockets"}

pytest_plugins = "pytester"
pytestmark = pytest.mark.skipif(not PAGES[0].exists(), reason="the documentation is not beside these tests")


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page, capsys):
    names = {"__name__": page.stem}
    text = page.read_text()
    for client in CLIENTS & {name for block in BLOCK.findall(text) for name in IMPORT.findall(block)}:
        pytest.importorskip(client, reason=f"{page.name} shows {client}, which is not installed")
    try:
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            exec(compile("\n" * line + block[1], str(page), "exec"), names)
    finally:
        safeconnect.uninstall()
        names.clear()


@pytest.mark.slow
def test_the_test_files_that_are_shown_pass(pytester):
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text())]
    files = {name[1]: block for block in blocks if (name := TEST_FILE.match(block))}
    assert "test_fetch.py" in files
    for name, block in files.items():
        (pytester.path / name).write_text(block)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *files)
    done.assert_outcomes(passed=sum(block.count("\ndef test_") for block in files.values()))


def test_the_printed_traceback_is_a_real_one():
    code = """
        import runpy, traceback
        try:
            runpy.run_module("tests.docs.three_addresses", run_name="__main__")
        except TimeoutError as error:
            print("".join(traceback.format_exception_only(error)))
    """
    printed = without_times(namespace.run(code)).strip()
    assert "127.0.0.8:5432: timed out after" in printed
    assert f"\n{printed}\n```" in without_times((ROOT / "docs/usage.md").read_text())


def without_times(text):
    return re.sub(r"after [\d.]+ (s|ms|µs)", "after a time", text)


def test_the_printed_answers_are_the_real_ones():
    if (
        str(safeconnect.ephemeral_ports()) != "32768-60999"
        or not safeconnect.self_connect_exposure("::1", 80).prevented
    ):
        pytest.skip("the page shows the answers of a Linux with its default range and the per-socket option")
    text = (ROOT / "docs/self-connect.md").read_text()
    for port in (40000, 5432):
        assert f"\n{safeconnect.self_connect_exposure('127.0.0.1', port)}\n" in text
