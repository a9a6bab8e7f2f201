"""Ports among processes: eight workers of pytest-xdist with fifty each, all at the same time."""

import pytest

pytestmark = pytest.mark.slow

pytest_plugins = "pytester"

WORKERS, EACH = 8, 50

SESSION = """
    import pathlib
    import time
    import pytest

    @pytest.mark.parametrize("worker", range({workers}))
    def test_ports(worker, {factory}):
        ports = [int({factory}()) for _ in range({each})]
        folder = pathlib.Path({folder!r})
        (folder / f"{{worker}}.new").write_text(" ".join(map(str, ports)))
        (folder / f"{{worker}}.new").rename(folder / f"{{worker}}.txt")
        until = time.monotonic() + 60
        while len(list(folder.glob("*.txt"))) < {workers}:  # the others have theirs
            assert time.monotonic() < until
            time.sleep(0.01)
"""


def ports_of(pytester, folder, factory):
    """All ports that the workers were given."""
    folder.mkdir()
    pytester.makepyfile(SESSION.format(workers=WORKERS, each=EACH, folder=str(folder), factory=factory))
    arguments = ("-p", "no:cacheprovider", "-n", str(WORKERS), "-o", "asyncio_default_fixture_loop_scope=function")
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=WORKERS)
    return [int(port) for path in folder.glob("*.txt") for port in path.read_text().split()]


def test_no_port_is_given_twice(pytester, tmp_path):
    ports = ports_of(pytester, tmp_path / "ours", "safeconnect_port_factory")
    assert len(ports) == len(set(ports)) == WORKERS * EACH


def test_beside_pytest_asyncio(pytester, tmp_path):
    """Its ports are free when it looks, and given back: another process may be given the same."""
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
    ports = ports_of(pytester, tmp_path / "theirs", "unused_tcp_port_factory")
    print(f"{len(ports) - len(set(ports))} of {len(ports)} ports were given twice")
    assert len(ports) == WORKERS * EACH
