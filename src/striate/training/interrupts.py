"""Ctrl-C and SIGTERM as a question that the loop asks between steps, instead of an exception anywhere."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the user has asked the run to stop. A second Ctrl-C does not wait: it raises KeyboardInterrupt at
    once.
    """

    def __init__(self) -> None:
        self.is_set = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        if self.is_set:
            signal.default_int_handler(number, frame)
        self.is_set = True


@contextmanager
def catching_stop_requests() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM set the request; the handlers from before come back. Outside the main thread nothing is
    caught.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, request.on_signal)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
