"""The sdist and the wheel: the same bytes from each build, one version, and an sdist that passes its own tests."""

import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec

import pytest

import safeconnect

from ..namespace import ROOT

BUILD = "import sys; from hatchling import build; build.build_sdist(sys.argv[1]); build.build_wheel(sys.argv[1])"
EPOCH = 1_700_000_000
# They read the code and the pages that are beside them, and use sockets. All others are collected only.
PART = ["tests/docs/test_architecture.py", "tests/docs/test_links.py", "tests/connect/test_connect.py"]


def test_the_version_is_that_of_the_metadata():
    try:
        version = importlib.metadata.version("safeconnect")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("safeconnect is not installed")
    assert version == safeconnect.__version__


def build(tree, into):
    """Build both in the tree; return the sdist and the wheel."""
    env = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run([sys.executable, "-c", BUILD, into], cwd=tree, env=env, check=True, stdout=subprocess.DEVNULL)
    return next(into.glob("*.tar.gz")), next(into.glob("*.whl"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    if not (ROOT / "pyproject.toml").exists() or not (ROOT / "safeconnect").exists():
        pytest.skip("the sources are not beside these tests")
    work = tmp_path_factory.mktemp("distribution")
    waste = shutil.ignore_patterns("__pycache__", ".*cache", ".venv", ".git", ".hypothesis", "build", "dist", "site")
    shutil.copytree(ROOT, work / "tree", ignore=waste)
    return build(work / "tree", work)


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """The tree of the sdist, at another place and with other times and modes of its files."""
    work = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built[0]) as archive:
        archive.extractall(work, filter="data")
    (tree,) = work.iterdir()
    for path in tree.rglob("*"):
        os.utime(path, (EPOCH + 12_345, EPOCH + 12_345))
        path.chmod(path.stat().st_mode & ~0o077)
    return tree


@pytest.mark.slow
def test_builds_are_reproducible_also_from_the_sdist(built, unpacked, tmp_path):
    for first, second in zip(built, build(unpacked, tmp_path), strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), first.name


@pytest.mark.slow
def test_both_have_the_version_and_the_times_asked_for(built):
    with tarfile.open(built[0]) as sdist, zipfile.ZipFile(built[1]) as wheel:
        assert {member.mtime for member in sdist} == {EPOCH}
        (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        described = [
            sdist.extractfile(f"safeconnect-{safeconnect.__version__}/PKG-INFO").read(),
            wheel.read(name),
        ]
    assert [email.message_from_bytes(each)["Version"] for each in described] == [safeconnect.__version__] * 2


def pytest_in(tree, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.slow
def test_the_sdist_passes_its_own_tests(unpacked):
    pytest_in(unpacked, *PART)


@pytest.mark.slow
def test_the_sdist_has_all_tests_and_what_they_import(unpacked):
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")}
    assert {path.relative_to(unpacked) for path in (unpacked / "tests").rglob("*.py")} == files
    pytest_in(unpacked, "--collect-only")
