"""How many outputs a network has for a task: what a model file must agree with before anything is built from it."""

from striate.errors import InputError

TASKS = ("classification", "localization", "detection", "segmentation")
"""The tasks that a model file may be for."""
NUM_BOX_OUTPUTS = 4


def num_outputs(task: str, num_classes: int, output: str = "softmax") -> int:
    """Outputs for so many classes: K for their scores (one for two classes with "sigmoid"), and four for a box.

    With a box a single class needs no score; a detector has a score for each, and a segmenter.
    InputError for a single sigmoid with other than two classes, or with a box.
    """
    if output == "sigmoid" and (task != "classification" or num_classes != 2):
        reason = f"there are {num_classes}" if task == "classification" else f"the task is {task}"
        raise InputError(f"a single sigmoid output tells two classes apart but {reason}; use softmax")
    if task == "classification":
        return 1 if output == "sigmoid" else num_classes
    if task in ("detection", "segmentation"):
        return num_classes
    return NUM_BOX_OUTPUTS + (num_classes if num_classes > 1 else 0)


def fits_outputs(task: str, num_classes: int, outputs: int) -> bool:
    """Whether a network with so many outputs can be for so many classes."""
    if task == "classification":
        return num_classes == max(2, outputs)  # a single output tells two classes apart
    return outputs == num_outputs(task, num_classes)
