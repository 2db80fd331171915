"""A first signal is noted, a second one stops at once, and none is swallowed."""

import signal
import threading

import pytest

from lad.stopping import finishing_the_step


def test_an_interrupt_waits_for_the_end_of_the_block_and_then_happens():
    done = []
    with pytest.raises(KeyboardInterrupt), finishing_the_step() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT
        done.append("step")
    assert done == ["step"]


def test_a_second_one_stops_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), finishing_the_step():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("step")
    assert not done


def test_without_a_signal_all_is_as_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with finishing_the_step() as request:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert request.number is None
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_what_is_asked_for_happens_with_the_first_signal():
    happened = []
    with pytest.raises(KeyboardInterrupt), finishing_the_step(lambda: happened.append("told")):
        signal.raise_signal(signal.SIGINT)
        assert happened == ["told"]


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def work() -> None:
        with finishing_the_step() as request:
            seen.append(request.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
