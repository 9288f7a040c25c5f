"""Labels of one source as outputs of a model that was trained on another, matched by name."""

import difflib

import numpy as np

from striate.data.dataset import Dataset
from striate.errors import DataError
from striate.progress import Log, log_nothing


def map_labels(dataset: Dataset, class_names: tuple[str, ...], *, log: Log = log_nothing) -> np.ndarray:
    """The data set's labels (N,) int64 as output indices of a model with these class names, matched by name.

    Classes without images may be unknown to the model. Where a source names its classes only by number (an index
    column, folders called 0, 1, 2) and the model has no class that is called by a number, the numbers are output
    indices, and a line says so. DataError names the classes that do not fit.
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    in_use = np.unique(dataset.labels).tolist()
    names = {label: dataset.class_names[label] for label in in_use}
    unknown = [name for name in names.values() if name not in index_of]
    if not unknown:
        outputs = {label: index_of[name] for label, name in names.items()}
    elif any(name.isdecimal() for name in class_names):  # numbers that are names: 3 never stands for "the fourth"
        raise DataError(_unknown_classes_line(dataset.source, unknown, class_names))
    elif dataset.has_index_labels:
        outputs = {label: label for label in in_use}
    elif all(name.isdecimal() for name in names.values()):
        outputs = {label: int(name) for label, name in names.items()}
    else:
        raise DataError(_unknown_classes_line(dataset.source, unknown, class_names))
    if unknown:
        if wrong := [output for output in outputs.values() if output >= len(class_names)]:
            raise DataError(
                f"{dataset.source} names its classes by numbers up to {max(wrong)} "
                f"but the model has the outputs 0 to {len(class_names) - 1}"
            )
        log(f"{dataset.source} names its classes by number, the model by name: the numbers are taken as its outputs")
    mapping = np.full(len(dataset.class_names), -1, dtype=np.int64)
    mapping[list(outputs)] = list(outputs.values())
    return mapping[dataset.labels]


def _unknown_classes_line(source: str, unknown: list[str], class_names: tuple[str, ...]) -> str:
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    shown = ", ".join(repr(name) for name in unknown[:5]) + more
    near = {name: difflib.get_close_matches(name, class_names, n=1, cutoff=0.6) for name in unknown[:5]}
    hints = [f"{name!r} may be {matches[0]!r}" for name, matches in near.items() if matches]
    known = ", ".join(repr(name) for name in class_names[:5]) + (" ..." if len(class_names) > 5 else "")
    advice = "; ".join(hints) if hints else f"it knows {known}"
    return f"{source} has the classes {shown}, which the model does not know; {advice}; rename them in the source"
