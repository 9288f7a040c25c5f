"""metrics.jsonl: one line of JSON an epoch, appended as the run goes."""

import json
import os
from pathlib import Path
from typing import Any

from striate.errors import RunError
from striate.training.checkpoints import cannot_write


class MetricsLog:
    """Appends records to a file and can go back to where a checkpoint left it. `position` is its length in bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0

    def start(self, position: int = 0) -> bool:
        """Cut the file to `position` bytes, made where it is missing; False when it was shorter than that, so that
        lines are lost.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                found = file.tell()
                file.truncate(min(position, found))
        except OSError as error:
            raise RunError(cannot_write(self.path, error)) from error
        self.position = min(position, found)
        return found >= position

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and see it to the disk; RunError, with the file as it was, when the disk is full."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            with self.path.open("r+b") as file:
                file.seek(self.position)
                file.write(line)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(cannot_write(self.path, error, len(line))) from error
        self.position += len(line)
