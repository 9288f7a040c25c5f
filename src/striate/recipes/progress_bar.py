"""A bar for runs that are started from Python: in a terminal and in a notebook, nowhere else."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from striate.training.observer import RunStart, SilentObserver, StepInfo
from striate.units import percent


class ProgressBar(SilentObserver):
    """An observer that draws one bar on standard error, with the epoch, the loss and the last validation score."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._num_epochs = 0
        self._score = ""

    def on_start(self, start: RunStart) -> None:
        self._num_epochs = start.num_epochs
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=False)
        self._task = self._progress.add_task("training", total=start.num_steps, completed=start.step)
        self._progress.start()

    def on_step(self, info: StepInfo) -> None:
        if self._progress is not None:
            words = f"epoch {info.epoch}/{self._num_epochs}  loss {info.loss:.4f}{self._score}"
            self._progress.update(self._task, completed=info.step, description=words)

    def on_epoch(self, record: dict[str, Any]) -> None:
        accuracy = record.get("validation_accuracy")
        self._score = "" if accuracy is None else f"  validation {percent(accuracy, 1)}"
        if self._progress is not None:
            words = f"epoch {record['epoch']}/{self._num_epochs}  loss {record['train_loss']:.4f}{self._score}"
            self._progress.update(self._task, completed=record["step"], description=words)

    def on_end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def default_observer(progress: bool | None) -> SilentObserver:
    """A bar where it is asked for or, with None, where a person looks: a terminal or a notebook; else silence."""
    if progress is None:
        progress = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    return ProgressBar() if progress else SilentObserver()
