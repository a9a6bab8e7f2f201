"""Verdict: which error a connect ends with, and the lines that tell how it went."""

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The more an error says about the target, the higher it ranks; anything not named is a matter of local set-up.
_ANSWER, _SILENCE, _NO_WAY, _LOCAL = 3, 2, 1, 0
_RANKS = {
    errno.ECONNREFUSED: _ANSWER,
    errno.ECONNRESET: _ANSWER,
    errno.ETIMEDOUT: _SILENCE,
    errno.ENETUNREACH: _NO_WAY,
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETDOWN: _NO_WAY,
}


def rank(error: OSError) -> int:
    """How much the error says about the target: an answer over silence over no way there over local set-up."""
    if error.errno is None:
        return _SILENCE if isinstance(error, TimeoutError) else _LOCAL
    return _RANKS.get(error.errno, _LOCAL)


def choose(errors: "Sequence[OSError]") -> OSError:
    """The error to raise for all of them: the highest rank, and of equals the last, as the standard library does."""
    best = errors[0]
    for error in errors[1:]:
        if rank(error) >= rank(best):
            best = error
    return best


def conclude(
    errors: "Sequence[OSError]", story: "Sequence[str]", all_errors: bool
) -> "OSError | ExceptionGroup[OSError]":
    """What to raise: the chosen error with the whole story, or all errors, each with its own line of it."""
    if all_errors:
        for error, line in zip(errors, story, strict=True):
            error.add_note(line)
        return ExceptionGroup("create_connection failed", errors)
    chosen = choose(errors)
    for line in story:
        chosen.add_note(line)
    return chosen


def note(target: object, source: object, error: OSError, seconds: float) -> str:
    """One line of the story: the address tried, from where, what happened, after how long."""
    start = f" from {endpoint(source)}" if source else ""
    return f"{endpoint(target)}{start}: {error} after {duration(seconds)}"


def endpoint(name: object) -> str:
    """A socket address as people write it: ``127.0.0.1:80``, ``[::1]:80``."""
    if not (isinstance(name, tuple) and len(name) >= 2):
        return str(name)
    host = name[0].decode("latin-1") if isinstance(name[0], (bytes, bytearray)) else str(name[0])
    if len(name) == 4 and name[3] and "%" not in host:
        host = f"{host}%{name[3]}"
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
