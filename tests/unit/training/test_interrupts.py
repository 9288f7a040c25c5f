import signal
import threading

import pytest

from striate.training.interrupts import catching_stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_request_and_the_old_handler_comes_back(number):
    before = signal.getsignal(number)
    with catching_stop_requests() as request:
        assert not request.is_set
        signal.raise_signal(number)
        assert request.is_set
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_does_not_wait():
    def ask_twice():
        with catching_stop_requests():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ask_twice()


def test_in_another_thread_nothing_is_caught():
    seen = []

    def work():
        with catching_stop_requests() as request:
            seen.append((request.is_set, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
