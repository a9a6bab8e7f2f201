"""The threads of a server begin whatever interrupts the thread that starts them."""

import _thread
import threading

import pytest

from safeconnect.testing import _base

from .. import interrupting, support

pytestmark = support.linux_only


@pytest.mark.parametrize("kind", ["lines", "calls"])
def test_none_hangs_whose_start_is_interrupted(kind):
    def start():
        _base.start_thread(threading.Thread(target=ran.append, args=[True], name="of this test", daemon=True))

    def check(_):
        after = threading.Thread(target=lambda: None, daemon=True)
        after.start()
        after.join(10)
        assert not after.is_alive()

    ran = []
    assert interrupting.at_every_point(start, check, kind=kind) > 0
    support.wait_until(lambda: not [each for each in threading.enumerate() if each.name == "of this test"])
    assert ran


def test_no_thread_can_be_had(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        _base.start_thread(threading.Thread(target=pytest.fail))


def test_not_even_the_one_that_starts_it(monkeypatch):
    def start(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        _base.start_thread(threading.Thread(target=pytest.fail))
