"""A first signal is noted, a second one stops at once, and none is swallowed."""

import signal
import threading
from contextlib import contextmanager

import pytest

from lad.training.interrupt import defer_signals


@pytest.fixture(autouse=True)
def _interrupts_are_heard():
    """Also where the tests themselves run under nohup."""
    with handled_by(signal.default_int_handler):
        yield


@contextmanager
def handled_by(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_the_block_and_then_happens():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT
        done.append("step")
    assert done == ["step"]


def test_a_second_one_stops_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("step")
    assert not done


def test_without_a_signal_all_is_as_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with defer_signals() as request:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert request.number is None
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_what_is_asked_for_happens_with_the_first_signal():
    happened = []
    with pytest.raises(KeyboardInterrupt), defer_signals(lambda: happened.append("told")):
        signal.raise_signal(signal.SIGINT)
        assert happened == ["told"]


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def work() -> None:
        with defer_signals() as request:
            seen.append(request.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_a_signal_that_is_ignored_stays_so():
    with handled_by(signal.SIG_IGN), defer_signals() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.number is None


def test_a_signal_that_somebody_else_swallows_ends_the_block_all_the_same():
    """A run that was asked to stop must not pass for finished."""
    heard = []
    with handled_by(lambda *_: heard.append("signal")), pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGINT)
    assert heard == ["signal"]
