"""A first signal is deferred, a second one stops at once, and no signal is lost."""

import signal
import threading
from contextlib import contextmanager

import pytest

from lad.training.interrupt import Interrupt, defer_signals, stop_on_interrupt


@pytest.fixture(autouse=True)
def _default_handler():
    """Receive SIGINT even where the tests themselves run under nohup, which ignores it."""
    with handled_by(signal.default_int_handler):
        yield


@contextmanager
def handled_by(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_first_signal_takes_effect_at_the_end_of_the_block_and_says_how_to_resume(capsys):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.number == signal.SIGINT
        done.append("step")
    assert done == ["step"]
    assert "interrupted: saving a checkpoint after this step" in capsys.readouterr().out


def test_a_second_signal_stops_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("step")
    assert not done


def test_without_a_signal_the_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with defer_signals() as interrupt:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert interrupt.number is None
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_the_first_signal_calls_on_interrupt():
    calls = []
    with pytest.raises(KeyboardInterrupt), defer_signals(lambda: calls.append("interrupted")):
        signal.raise_signal(signal.SIGINT)
        assert calls == ["interrupted"]


def test_another_thread_leaves_signals_alone():
    numbers = []

    def work() -> None:
        with defer_signals() as interrupt:
            numbers.append(interrupt.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert numbers == [None]


def test_an_ignored_signal_stays_ignored():
    with handled_by(signal.SIG_IGN), defer_signals() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.number is None


def test_the_block_ends_with_keyboard_interrupt_even_if_another_handler_ignores_the_signal():
    """An interrupted run must not count as finished."""
    received = []
    with handled_by(lambda *_: received.append("signal")), pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGINT)
    assert received == ["signal"]


def test_work_stops_before_the_next_item_after_a_signal():
    interrupt, done = Interrupt(), []
    with pytest.raises(KeyboardInterrupt):
        for item in stop_on_interrupt(range(5), interrupt):
            done.append(item)
            if item == 2:
                interrupt.number = signal.SIGINT
    assert done == [0, 1, 2]
    assert list(stop_on_interrupt(range(3), Interrupt())) == [0, 1, 2]


def test_a_single_device_stops_after_any_step(fabric):
    interrupt = Interrupt()
    assert not interrupt.agreed(fabric, step=3)
    interrupt.number = signal.SIGTERM
    assert interrupt.agreed(fabric, step=3)
