"""Callbacks of a training run: for a live display, TensorBoard, or nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from striate.training.checks import CheckResult


@dataclass(frozen=True)
class RunStart:
    """The start of a session of training. `step` updates and `epoch` epochs are already done: above 0 when the run is
    resumed.

    In an epoch's line the score is called "train_" and "validation_" with `score_name`; `score_label` is for people.
    `keeps_latest` of the epochs within a standard error of the best score (see `best_epoch`).
    """

    num_epochs: int
    num_steps: int
    steps_per_epoch: int
    num_train: int
    num_validation: int
    epoch: int
    step: int
    score_name: str = "accuracy"
    score_label: str = "accuracy"
    keeps_latest: bool = False


@dataclass(frozen=True)
class StepInfo:
    """Where a run stands after an update. `epoch` and `step` count from 1; `loss` and `score` are the means over the
    epoch so far.

    `images_per_s` and `eta_s` (seconds to the end of the run, validation included) are those of this session.
    """

    epoch: int
    step: int
    loss: float
    score: float
    learning_rate: float
    grad_norm: float
    images_per_s: float
    eta_s: float


class Observer(Protocol):
    """Hears of a run as it goes; called in the training thread, so it should be quick."""

    def on_start(self, start: RunStart) -> None:
        """Before the first update."""
        ...

    def on_checks(self, checks: tuple[CheckResult, ...]) -> None:
        """After the sanity checks, when there were any."""
        ...

    def on_step(self, info: StepInfo) -> None:
        """After an update; at most some ten times a second."""
        ...

    def on_epoch(self, record: dict[str, Any]) -> None:
        """After an epoch's validation, with its line of metrics.jsonl."""
        ...

    def on_notice(self, line: str) -> None:
        """Something the user should see."""
        ...

    def on_end(self) -> None:
        """The run has ended, was interrupted, or failed."""
        ...


class SilentObserver:
    """Hears everything and does nothing; also a base for observers that want to hear only some things."""

    def on_start(self, start: RunStart) -> None: ...

    def on_checks(self, checks: tuple[CheckResult, ...]) -> None: ...

    def on_step(self, info: StepInfo) -> None: ...

    def on_epoch(self, record: dict[str, Any]) -> None: ...

    def on_notice(self, line: str) -> None: ...

    def on_end(self) -> None: ...


class Observers:
    """Several observers as one; they hear everything in the order given."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)

    def on_start(self, start: RunStart) -> None:
        for observer in self.observers:
            observer.on_start(start)

    def on_checks(self, checks: tuple[CheckResult, ...]) -> None:
        for observer in self.observers:
            observer.on_checks(checks)

    def on_step(self, info: StepInfo) -> None:
        for observer in self.observers:
            observer.on_step(info)

    def on_epoch(self, record: dict[str, Any]) -> None:
        for observer in self.observers:
            observer.on_epoch(record)

    def on_notice(self, line: str) -> None:
        for observer in self.observers:
            observer.on_notice(line)

    def on_end(self) -> None:
        for observer in self.observers:
            observer.on_end()
