"""The few kinds of error that striate raises on purpose.

Each message is one line: what was expected, what came, what to do. The command line prints it and ends with exit code
2.
"""


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
