"""The few kinds of error that striate raises on purpose.

Each message is one line: what was expected, what came, what to do. The command line prints it and ends with exit code
2.
"""

from typing import Any


class StriateError(Exception):
    """Something the user asked for could not be met; the message says why and what to do."""


class InputError(StriateError):
    """An argument, file or image is not what the call needs."""


class DataError(StriateError):
    """A source of images cannot serve as a data set."""


class ModelFileError(StriateError):
    """A model or weights file is foreign, damaged or belongs to another network."""


class RunError(StriateError):
    """A run folder cannot be written, read or resumed."""


class NonFiniteLoss(StriateError):
    """The loss or a gradient became NaN or infinite; nothing was updated with it."""


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise InputError unless `value` is a whole number of at least `least` that 63 bits hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise InputError(f"{name} must be a whole number of at least {least} but is {value!r}")
