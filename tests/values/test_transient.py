"""is_transient: the table of errors that pass by themselves."""

import errno
import socket
import ssl

import pytest

from safeconnect.errors import PortsExhaustedError, SelfConnectError
from safeconnect.retry import is_transient


class GroupedGaiError(socket.gaierror):
    pass


def win32(number):
    class WindowsError(OSError):
        winerror = number

    return WindowsError(errno.EINVAL, "as Python shows a Win32 code it does not know")


POSIX = [
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETRESET, errno.ETIMEDOUT, errno.EADDRNOTAVAIL, errno.EADDRINUSE),
    *(errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS),
]
WINSOCK = [10004, 10035, 10048, 10049, 10050, 10051, 10052, 10053, 10054, 10055, 10060, 10061, 10064, 10065]
TRANSIENT = [
    *(TimeoutError(), TimeoutError("timed out"), ConnectionResetError("lost"), ConnectionAbortedError()),
    *(BrokenPipeError(), ConnectionRefusedError(), SelfConnectError(errno.ECONNREFUSED, "itself")),
    PortsExhaustedError(errno.EADDRNOTAVAIL, "all taken"),
    *(OSError(number, errno.errorcode[number]) for number in POSIX),
    *(OSError(number, "Winsock") for number in WINSOCK),
    *(win32(number) for number in (121, 64, 1231, 1232, 1236)),
    socket.gaierror(socket.EAI_AGAIN, "try again"),
    *(socket.gaierror(number, "EAI_AGAIN") for number in (-3, 2, 11002)),
    *(GroupedGaiError(-3, "EAI_AGAIN"), socket.herror(2, "TRY_AGAIN"), socket.herror(11002, "TRY_AGAIN")),
    ExceptionGroup("", [ValueError(), TimeoutError()]),
    ExceptionGroup("", [OSError(errno.EAFNOSUPPORT, ""), ExceptionGroup("", [OSError(errno.ENETUNREACH, "")])]),
]
PERMANENT = [
    *(
        OSError(number, errno.errorcode[number])
        for number in (errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT, errno.EINVAL)
    ),
    *(OSError(number, errno.errorcode[number]) for number in (errno.EMFILE, errno.ENFILE, errno.EBADF, errno.EISCONN)),
    *(OSError(number, errno.errorcode[number]) for number in (errno.EALREADY, errno.EINPROGRESS)),
    *(OSError(number, "Winsock") for number in (10013, 10022, 10024, 10047, 11001, 11002)),
    *(OSError(number, "no errno") for number in (-3, 121, 1231, 1232, 1236)),
    *(win32(number) for number in (87, 5)),
    *(OSError(), OSError("no number"), ConnectionError(), InterruptedError(), BlockingIOError(), PermissionError()),
    socket.gaierror(socket.EAI_NONAME, "no such name"),
    *(socket.gaierror(number, "EAI_NONAME") for number in (-2, 8, 11001)),
    # Numbers that are transient ones as errno: EINTR, EAGAIN (EAI_SYSTEM on BSD), EPIPE, and Winsock's.
    *(socket.gaierror(number, "") for number in (4, 11, 32, -11, errno.ETIMEDOUT, errno.ECONNREFUSED, 10060, 10061)),
    *(GroupedGaiError(errno.EAGAIN, ""), socket.gaierror("no number")),
    *(socket.herror(number, "") for number in (1, 3, 4, -3, errno.EAGAIN)),
    *(ssl.SSLError(number, "") for number in (1, 2, 4, 11, errno.ETIMEDOUT)),
    *(ssl.SSLCertVerificationError(1, ""), ssl.SSLEOFError(8, "")),
    *(ValueError(), TypeError(), UnicodeError(), RuntimeError(), KeyboardInterrupt(), SystemExit()),
    ExceptionGroup("", [ValueError(), OSError(errno.EACCES, "")]),
    BaseExceptionGroup("", [KeyboardInterrupt(), TimeoutError()]),
]
REFUSED = [
    *(ConnectionRefusedError(), OSError(errno.ECONNREFUSED, ""), OSError(10061, "")),
    *(SelfConnectError(errno.ECONNREFUSED, "itself"), ExceptionGroup("", [ConnectionRefusedError()])),
]


class TestIsTransient:
    @pytest.mark.parametrize("error", TRANSIENT, ids=repr)
    def test_transient(self, error):
        assert is_transient(error) is True

    @pytest.mark.parametrize("error", PERMANENT, ids=repr)
    def test_permanent(self, error):
        assert is_transient(error) is False

    @pytest.mark.parametrize("error", REFUSED, ids=repr)
    def test_refused_is_a_matter_of_taste(self, error):
        assert is_transient(error) is True
        assert is_transient(error, refused=True) is True
        assert is_transient(error, refused=False) is False

    @pytest.mark.parametrize("refused", [True, False])
    def test_the_flag_touches_nothing_else(self, refused):
        assert is_transient(ConnectionResetError(), refused=refused)
        assert is_transient(ExceptionGroup("", [ConnectionRefusedError(), TimeoutError()]), refused=refused)
        assert not is_transient(PermissionError(), refused=refused)

    def test_no_number_outside_the_table_is_transient(self):
        known = {*POSIX, *WINSOCK, errno.ESHUTDOWN}  # Python makes a BrokenPipeError of ESHUTDOWN, as it does of EPIPE
        assert {n for n in range(-50, 12000) if is_transient(OSError(n, ""))} == known
        assert {n for n in range(-50, 12000) if is_transient(socket.gaierror(n, ""))} == {-3, 2, 11002}
