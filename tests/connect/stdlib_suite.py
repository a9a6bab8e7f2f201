"""Run CPython's own tests with `safeconnect.install()` in force, and tell its failures from the interpreter's.

    python tests/connect/stdlib_suite.py [-u walltime] [test_ftplib test_socket.BasicTCPTest2 ...]

One line per name goes to standard output, what the tests themselves print to standard error. What fails is run once
more in a fresh interpreter without safeconnect: a test that fails there, too, is printed as ``baseline`` and is held
against the interpreter or the machine. Any other that fails a second time with safeconnect is printed as ``ours``.

A name passes only where connects really went through safeconnect. An audit hook counts them, so that the function
under test is the very one that users get, not a wrapper around it. The same hook refuses every address that is not
loopback; the tests that need the world outside ask for the ``network`` resource, which is never granted.

Exit code: 1 where something failed with safeconnect alone, never connected through it, put another function in its
place or tried to leave loopback; 5 where everything was skipped, as pytest has it; otherwise 0.
"""

import argparse
import contextlib
import faulthandler
import ipaddress
import socket
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from types import FrameType

NAMES = (
    "test_socket.NetworkConnectionNoServer",
    "test_socket.NetworkConnectionAttributesTest",
    "test_socket.NetworkConnectionBehaviourTest",
    "test_socket.BasicTCPTest2",
    "test_socket.SendfileUsingSendTest",
    "test_socket.SendfileUsingSendfileTest",
    "test_ftplib",
    "test_imaplib",
    "test_poplib",
    "test_smtplib",
    "test_httplib",
    "test_httpservers",
    "test_xmlrpc",
    "test_urllib2_localnet",
    "test_socketserver",
)
# What may be granted of regrtest's -u: tests that take long, on loopback all the same.
RESOURCES = ("walltime",)
# A name that takes longer hangs; the run then ends with the stacks of all threads.
HANG_SECONDS = 100

FAILED, NOTHING_RAN = 1, 5

_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_BASELINE_MARK = "failed without: "


class OffLoopbackError(RuntimeError):
    """A test was about to send to another machine."""


class Watch:
    """The audit hook: counts the connects that safeconnect makes, and refuses to leave loopback."""

    def __init__(self) -> None:
        self.connects = 0
        self.refusals = 0
        self._code: object = None

    def install(self) -> None:
        """Put safeconnect in place and count from now on."""
        import safeconnect  # not at the top: the baseline runs without it

        safeconnect.install()
        self._code = safeconnect.create_connection.__code__

    def still_installed(self) -> bool:
        """Whether no test has left another function in the place of ours."""
        return getattr(socket.create_connection, "__code__", None) is self._code

    def __call__(self, event: str, args: tuple) -> None:
        """Judge one event of the interpreter's."""
        if event not in _SENDS:
            return
        if not _is_loopback(args[1]):
            self.refusals += 1
            raise OffLoopbackError(f"{event} to {args[1]!r}")
        if event == "socket.connect" and self._code in _codes(sys._getframe(1)):
            self.connects += 1


@dataclass(frozen=True)
class Outcome:
    """What became of one name."""

    run: int = 0
    passed: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()
    skip_reason: str = ""
    connects: int = 0
    refusals: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.run} run, {self.failures} failures, {self.errors} errors, {self.skipped} skipped, "
            f"{self.connects} connects, {self.seconds:.1f} s"
        )


class _Result(unittest.TextTestResult):
    """Counts the tests that passed: ``testsRun`` holds the skipped ones, too, in some versions."""

    passed = 0

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().addSuccess(test)
        self.passed += 1


def main(arguments: list[str] | None = None) -> int:
    """Run the names given, or all of them, and return the exit code."""
    options = _parse(arguments)
    watch = Watch()
    sys.addaudithook(watch)
    if options.without:
        return _run_without(options.names, options.use, watch)
    watch.install()
    verdicts = {_run_with(name, options.use, watch) for name in options.names}
    if verdicts - {"ok", "skipped"}:
        return FAILED
    return 0 if "ok" in verdicts else NOTHING_RAN


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, help="modules of the test package, or classes in them")
    parser.add_argument("-u", "--use", action="append", default=[], choices=RESOURCES, help="grant a resource")
    parser.add_argument("--without", action="store_true", help="leave safeconnect out and print what fails")
    return parser.parse_args(arguments)


def _run_with(name: str, resources: Iterable[str], watch: Watch) -> str:
    """Run one name with safeconnect, print its lines and return the verdict on it."""
    outcome = _run(name, resources, watch)
    baseline = _baseline(name, resources) if outcome.failed else set()
    if not baseline.issuperset(outcome.failed):  # once more: some of these tests fail on a busy machine
        outcome = _run(name, resources, watch)
    verdict = _verdict(outcome, baseline, watch)
    print(f"{name}: {verdict}: {outcome}")
    if outcome.skip_reason:
        print(f"  skipped: {outcome.skip_reason}")
    for test in outcome.failed:
        print(f"  {'baseline' if test in baseline else 'ours'}: {test}")
    sys.stdout.flush()
    return verdict


def _verdict(outcome: Outcome, baseline: set[str], watch: Watch) -> str:
    if not watch.still_installed():
        return "REPLACED"
    if outcome.refusals:
        return "LEFT LOOPBACK"
    if not baseline.issuperset(outcome.failed):
        return "FAILED"
    if not outcome.passed and not outcome.failed:
        return "skipped"
    return "ok" if outcome.connects else "NOT EXERCISED"


def _run_without(names: Iterable[str], resources: Iterable[str], watch: Watch) -> int:
    failed = [test for name in names for test in _run(name, resources, watch).failed]
    for test in failed:
        print(_BASELINE_MARK + test)
    return FAILED if failed else 0


def _baseline(name: str, resources: Iterable[str]) -> set[str]:
    """The tests that fail without safeconnect, too."""
    print(f"--- {name} without safeconnect:", file=sys.stderr, flush=True)
    grants = [f"--use={resource}" for resource in resources]
    command = [sys.executable, __file__, "--without", *grants, name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    return {line.removeprefix(_BASELINE_MARK) for line in lines if line.startswith(_BASELINE_MARK)}


def _run(name: str, resources: Iterable[str], watch: Watch) -> Outcome:
    # Not at the top: nothing of the tests may be loaded before safeconnect is in place.
    from test import support

    support.verbose = False
    # test_socketserver asks for the network as a whole and then uses loopback and Unix sockets only; whatever would
    # leave loopback is refused all the same.
    support.use_resources = (*resources, "network") if name == "test_socketserver" else tuple(resources)
    connects, refusals, began = watch.connects, watch.refusals, monotonic()
    with _surroundings():
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName(_full(name))
        except unittest.SkipTest as reason:
            return Outcome(skipped=1, skip_reason=str(reason))
        result = unittest.TextTestRunner(verbosity=0, resultclass=_Result).run(suite)
        support.gc_collect()
        support.reap_children()
    return Outcome(
        run=result.testsRun,
        passed=result.passed,
        failures=len(result.failures) + len(result.unexpectedSuccesses),
        errors=len(result.errors),
        skipped=len(result.skipped),
        failed=tuple(dict.fromkeys(_failed(result))),
        skip_reason="" if result.passed else "; ".join(sorted({reason for _, reason in result.skipped})),
        connects=watch.connects - connects,
        refusals=watch.refusals - refusals,
        seconds=monotonic() - began,
    )


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """A directory for the files that tests leave behind, standard output kept for the figures, and a time limit."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
            contextlib.chdir(directory),
            contextlib.redirect_stdout(sys.stderr),
        ):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _full(name: str) -> str:
    """The standard library's tests are called as regrtest calls them; other names are taken as they are."""
    return f"test.{name}" if name.startswith("test_") else name


def _failed(result: unittest.TestResult) -> Iterator[str]:
    troubled = [test for test, _ in result.failures + result.errors] + result.unexpectedSuccesses
    for test in troubled:
        # A subtest is known by its parameters, ports among them, which differ from run to run.
        yield getattr(test, "test_case", test).id()


def _codes(frame: FrameType | None) -> Iterator[object]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _is_loopback(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path, or sendmsg() on a connected socket
    host = address[0]
    if host in {"", "localhost"}:  # the empty host is this one (imaplib's default)
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
