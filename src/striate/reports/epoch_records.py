"""The epochs of a run's metrics.jsonl, as far as they can be read."""

import json
import math
from pathlib import Path
from typing import Any

from striate.errors import RunError

_REQUIRED = ("epoch", "train_loss", "validation_loss")
_FIGURES = ("train_accuracy", "validation_accuracy", "learning_rate", "images_per_s", "elapsed_s")
_LONGEST_LINE = 100_000


def read_epochs(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of epochs in order, and how many lines are damaged; a last line that a killed run has torn is not
    counted.

    A line costs only itself: one that is no JSON, or whose figures are no numbers, is left out. Raises RunError where
    the file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    records: dict[int, dict[str, Any]] = {}
    num_damaged = 0
    for number, line in enumerate(lines, start=1):
        record = _parsed(line)
        if record is None:
            num_damaged += number < len(lines)
        elif record.get("kind") == "epoch":
            if _is_whole(record):
                records[record["epoch"]] = dict.fromkeys(_FIGURES) | record
            else:
                num_damaged += 1
    return [records[epoch] for epoch in sorted(records)], num_damaged


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line; None where there is none."""
    if len(line) > _LONGEST_LINE:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _is_whole(record: dict[str, Any]) -> bool:
    """Whether an epoch's record has all it needs, and every figure it has is a finite number."""
    epoch = record.get("epoch")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 1 <= epoch <= 10**9:
        return False
    given = [record.get(name) for name in (*_REQUIRED, *_FIGURES)]
    return all(name in record for name in _REQUIRED) and all(_is_number(value) for value in given if value is not None)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e300
    )
