"""Lookups in threads: who gets which outcome, and who none."""

import contextlib
import queue
import socket
import threading

import pytest

from safeconnect._sockets import lookups

from .kit import FOUND, WAIT, Inbox, Resolver, join, start


def test_the_outcome_comes_from_a_daemon_thread():
    seen = Inbox()

    def resolver(*arguments):
        return [arguments, threading.current_thread()]

    start(resolver, ("host", 80), lambda *outcome: seen.put((*outcome, threading.current_thread())))
    (arguments, thread), error, caller = seen.outcome()
    assert arguments == ("host", 80)
    assert error is None
    assert caller is thread is not threading.current_thread()
    assert thread.daemon


def test_start_does_not_wait(resolver):
    inbox = Inbox()
    start(resolver, ("host",), inbox)
    resolver.wait_entered()
    assert inbox.empty()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)


def test_50_callers_share_one_call_and_each_owns_its_answer(resolver):
    inboxes = [Inbox() for _ in range(50)]
    for inbox in inboxes:
        start(resolver, ("host", 80), inbox)
    resolver.wait_entered()
    resolver.open.set()
    answers = [inbox.outcome()[0] for inbox in inboxes]
    assert resolver.calls == [("host", 80)]
    assert answers == [FOUND] * 50
    assert len({id(answer) for answer in [FOUND, *answers]}) == 51
    assert all(inbox.empty() for inbox in inboxes)


@pytest.mark.parametrize("answer", [[], (), iter(())], ids=["list", "tuple", "iterator"])
def test_an_empty_answer_is_an_answer_and_not_shared_either(resolver, answer):
    resolver.answer = answer
    one, other = Inbox(), Inbox()
    start(resolver, ("host",), one)
    start(resolver, ("host",), other)
    resolver.open.set()
    first, second = one.outcome(), other.outcome()
    assert first == second == ([], None)
    assert first[0] is not second[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 80), ("b", 80)),
        (("a", 80), (b"a", 80)),
        (("a", 1), ("a", True)),
        ((bytearray(b"a"),), (bytearray(b"a"),)),
    ],
    ids=["names", "str and bytes", "int and bool", "unhashable"],
)
def test_other_questions_are_other_lookups(resolver, one, other):
    inbox = Inbox()
    start(resolver, one, inbox)
    start(resolver, other, inbox)
    resolver.wait_entered(2)
    resolver.open.set()
    assert [inbox.outcome(), inbox.outcome()] == [(FOUND, None)] * 2


def test_other_resolvers_are_other_lookups_and_one_method_is_one_resolver(resolver):
    inbox = Inbox()
    start(resolver, ("host",), inbox)
    start(Resolver([1], hangs=False), ("host",), inbox)
    assert inbox.outcome() == ([1], None)
    start(resolver.__call__, ("other",), inbox)
    start(resolver.__call__, ("other",), inbox)
    resolver.wait_entered(2)
    resolver.open.set()
    assert [inbox.outcome() for _ in range(3)] == [(FOUND, None)] * 3
    assert sorted(resolver.calls) == [("host",), ("other",)]


def test_nothing_is_remembered():
    inbox = Inbox()
    resolver = Resolver(hangs=False)
    for _ in range(3):
        start(resolver, ("host",), inbox)
        inbox.outcome()
    assert len(resolver.calls) == 3


class Unfriendly(Exception):  # noqa: N818 - a name like any other
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        TimeoutError("late"),
        UnicodeEncodeError("idna", "ä", 0, 1, "label too long"),
        ExceptionGroup("both families", [OSError(1, "a")]),
        KeyboardInterrupt(),
        SystemExit(3),
        Unfriendly(1, 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_all_kinds_are_delivered(resolver, error):
    resolver.answer = error
    inboxes = [Inbox() for _ in range(3)]
    for inbox in inboxes:
        start(resolver, ("host",), inbox)
    resolver.wait_entered()
    resolver.open.set()
    errors = []
    for inbox in inboxes:
        found, got = inbox.outcome()
        assert found is None
        assert (type(got), got.args, str(got)) == (type(error), error.args, str(error))
        errors.append(got)
    # What cannot be copied is handed on as it is.
    assert len({id(got) for got in errors}) == (1 if isinstance(error, Unfriendly) else 3)


def test_what_one_caller_does_to_its_error_is_its_own(resolver):
    cause = KeyError("cause")
    resolver.answer = error = socket.gaierror(socket.EAI_FAIL, "broken")
    error.__cause__ = cause
    error.__context__ = ValueError("context")
    error.add_note("from the resolver")
    inboxes = [Inbox(), Inbox()]
    for inbox in inboxes:
        start(resolver, ("host",), inbox)
    resolver.wait_entered()
    resolver.open.set()
    one, other = (inbox.outcome()[1] for inbox in inboxes)
    before = traceback_names(other)
    with contextlib.suppress(socket.gaierror):
        raise one
    one.add_note("mine")
    assert other.__notes__ == ["from the resolver"]
    assert (other.errno, other.__cause__) == (socket.EAI_FAIL, cause)
    assert other.__suppress_context__
    assert isinstance(other.__context__, ValueError)
    assert traceback_names(other) == before == ["__call__"]  # where the resolver raised, and nothing of the pool
    assert len(traceback_names(one)) == 2


def traceback_names(error):
    names, traceback = [], error.__traceback__
    while traceback:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


def test_an_answer_that_is_none_is_an_error():
    inbox = Inbox()
    start(Resolver(None, hangs=False), ("host",), inbox)
    found, error = inbox.outcome()
    assert found is None
    assert type(error) is TypeError


def test_an_iterator_is_run_in_the_thread(resolver):
    def lazily():
        yield from resolver()

    inbox = Inbox()
    start(lazily, (), inbox)
    resolver.wait_entered()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)


def test_a_done_that_raises_is_reported_and_keeps_no_other_from_its_outcome(resolver, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))

    def closed(found, error):
        raise SystemExit("loop is closed")

    inbox = Inbox()
    for done in [closed, inbox, closed, inbox]:
        start(resolver, ("host",), done)
    resolver.open.set()
    assert [inbox.outcome(), inbox.outcome()] == [(FOUND, None)] * 2
    join(lookups._process.pool)
    assert [str(error) for error in reported] == ["loop is closed"] * 2


def test_a_done_may_start_and_cancel():
    inbox = Inbox()
    handles = queue.SimpleQueue()

    def done(found, error):
        handles.get(timeout=WAIT).cancel()
        start(Resolver(found, hangs=False), ("next",), inbox)

    handles.put(start(Resolver(hangs=False), ("host",), done))
    assert inbox.outcome() == (FOUND, None)


# -- cancel


def test_who_cancels_is_not_called_and_the_others_are(resolver):
    cancelled, inbox = Inbox(), Inbox()
    handle = start(resolver, ("host",), cancelled)
    start(resolver, ("host",), inbox)
    resolver.wait_entered()
    handle.cancel()
    handle.cancel()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)
    join(lookups._process.pool)
    assert cancelled.empty()


def leave_by_cancel(handles):
    handles[0].cancel()


def leave_by_letting_go(handles):
    """As a caller does that is interrupted between the lookup's start and whatever was to hold it."""
    handles.clear()


@pytest.mark.parametrize("leave", [leave_by_cancel, leave_by_letting_go])
def test_a_lookup_that_all_left_takes_nobody_in(resolver, leave):
    gone, inbox = Inbox(), Inbox()
    handles = [lookups.start(resolver, ("host",), gone)]
    resolver.wait_entered()
    leave(handles)
    start(resolver, ("host",), inbox)
    resolver.wait_entered()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)
    assert len(resolver.calls) == 2
    join(lookups._process.pool)
    assert gone.empty()


def test_cancel_after_the_outcome_does_nothing():
    inbox = Inbox()
    handle = start(Resolver(hangs=False), ("host",), inbox)
    assert inbox.outcome() == (FOUND, None)
    handle.cancel()
    join(lookups._process.pool)
    assert inbox.empty()


def test_cancel_waits_for_a_done_that_is_running():
    entered, go_on = threading.Event(), threading.Event()
    order = queue.SimpleQueue()

    def done(found, error):
        entered.set()
        assert go_on.wait(WAIT)
        order.put("done")

    def cancel():
        handle.cancel()
        order.put("cancelled")

    handle = start(Resolver(hangs=False), ("host",), done)
    assert entered.wait(WAIT)
    canceller = threading.Thread(target=cancel)
    canceller.start()
    # A done that takes its time holds up its own canceller only.
    inbox = Inbox()
    start(Resolver(hangs=False), ("other",), inbox)
    assert inbox.outcome() == (FOUND, None)
    assert order.empty()
    go_on.set()
    canceller.join()
    assert [order.get(timeout=WAIT), order.get(timeout=WAIT)] == ["done", "cancelled"]


def test_no_done_after_cancel_in_a_race():
    late = []
    for _ in range(300):
        gone = threading.Event()
        resolver = Resolver()

        def done(found, error, gone=gone):
            if gone.is_set():
                late.append(found)

        handle = start(resolver, ("host",), done)
        resolver.open.set()
        handle.cancel()
        gone.set()
    join(lookups._process.pool)
    assert late == []
