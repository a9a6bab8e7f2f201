"""Run Python with a filter of system calls in which the kernel answers setsockopt() of one option by itself.

That is what a sandbox does (seccomp(2)). ``python -m tests.seccomp ENOPROTOOPT -m pytest`` runs the tests on a kernel
without IP_LOCAL_PORT_RANGE; 0 in place of the name is a kernel that accepts the option and ignores it.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# linux/audit.h and asm/unistd.h: the name of the machine, and its setsockopt.
_MACHINES = {"x86_64": (0xC000003E, 54), "aarch64": (0xC00000B7, 208)}
_IP_LOCAL_PORT_RANGE = 51
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
# linux/bpf_common.h: load a word of the call's data, jump if equal, return.
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def unavailable():
    """Why there is no such filter here, or None."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return f"the filter of system calls is written for Linux on {' and '.join(_MACHINES)}"
    return None


def answer(code, option=_IP_LOCAL_PORT_RANGE):
    """Let setsockopt(fd, IPPROTO_IP, option, ...) fail with the code from now on, in this process and its children.

    0: it succeeds, and nothing is set.
    """
    arch, call = _MACHINES[platform.machine()]
    program = [
        # offsets in struct seccomp_data: the call, the machine, and from 16 on the arguments, 8 bytes each
        (_LOAD, 0, 0, 4), (_EQUAL, 0, 7, arch),
        (_LOAD, 0, 0, 0), (_EQUAL, 0, 5, call),
        (_LOAD, 0, 0, 24), (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, 32), (_EQUAL, 0, 1, option),
        (_RETURN, 0, 0, _ERROR | code),
        (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip
    code_of_filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filter_ = struct.pack("HP", len(program), ctypes.addressof(code_of_filter))
    libc = ctypes.CDLL(None, use_errno=True)
    zeros = [ctypes.c_ulong(0)] * 3
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *zeros) or libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), filter_, *zeros[:2]
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")


if __name__ == "__main__":
    answer(int(getattr(errno, sys.argv[1], 0)))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
