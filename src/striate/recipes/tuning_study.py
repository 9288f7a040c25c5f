"""The study of a search: its journal on the disk, what is tried next, and how each trial ended."""

import json
import logging
import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.opening import Access
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.recipes.tuning_space import Dimension
from striate.recipes.tuning_trial import watch_trial
from striate.training.recipe import Recipe
from striate.units import percent

JOURNAL_FILE = "journal.log"
_HALVING = 2
_LEAST_TRIALS = 4
"""So many trials must have finished before anything is said of what mattered."""


@dataclass(frozen=True)
class Trial:
    """One trial: its settings, how it ended ("finished", "stopped" for one that was behind, "out of time", "failed"),
    its best validation score (None before an epoch) after so many epochs, and what it took in seconds.
    """

    number: int
    settings: dict[str, Any]
    end: str
    score: float | None
    num_epochs: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Search:
    """A study of Optuna's in a folder, and what its trials vary and are measured by."""

    study: Any
    states: Any
    folder: Path
    space: tuple[Dimension, ...]
    score: str
    access: Access

    def run_trials(self, choices: Choices, wanted: dict[str, Any], num_trials: int, deadline: float) -> None:
        """Trials one after the other until there are enough, or time.monotonic() is past the deadline."""
        while (num_ended := self.num_ended()) < num_trials and (time.monotonic() < deadline or not num_ended):
            trial = self.study.ask()
            settings = {dimension.name: _suggest(trial, dimension) for dimension in self.space}
            own_choices = {**{k: v for k, v in asdict(choices).items() if v is not None}, **settings}
            self._run_trial(trial, settings, {**wanted, "choices": own_choices}, deadline if num_ended else math.inf)

    def _run_trial(self, trial: Any, settings: dict[str, Any], wanted: dict[str, Any], stop_at: float) -> None:
        place = self.folder / trial.user_attrs.get("folder", f"trial-{trial.number:03d}")
        trial.set_user_attr("folder", place.name)
        started_at = time.monotonic()

        def is_bad(epoch: int, best: float) -> bool:
            trial.report(best, epoch)
            return bool(trial.should_prune())

        end, scores, reason = watch_trial(place, wanted, self.score, is_bad, stop_at)
        for name, value in (("end", end), ("seconds", time.monotonic() - started_at), ("reason", reason)):
            trial.set_user_attr(name, value)
        trial.set_user_attr("epochs", len(scores))
        trial.set_user_attr("score", max(scores, default=None))
        if end == "failed" or not scores:
            self.study.tell(trial, state=self.states.FAIL)
        elif end == "finished":
            self.study.tell(trial, max(scores))
        else:
            self.study.tell(trial, state=self.states.PRUNED)
        self.access.log(_line(trial.number, end, scores, settings, reason))

    def num_ended(self) -> int:
        """Trials that ended by themselves or were stopped; one that failed counts too, one that was killed with the
        search does not.
        """
        ended = self.study.get_trials(
            deepcopy=False, states=(self.states.COMPLETE, self.states.PRUNED, self.states.FAIL)
        )
        return sum("end" in trial.user_attrs for trial in ended)

    def trials(self) -> tuple[Trial, ...]:
        """Those that ended."""
        return tuple(
            Trial(
                number=trial.number,
                settings={name: _read(value) for name, value in trial.params.items()},
                end=trial.user_attrs["end"],
                score=trial.user_attrs.get("score"),
                num_epochs=trial.user_attrs.get("epochs", 0),
                seconds=round(trial.user_attrs.get("seconds", 0.0), 1),
                reason=trial.user_attrs.get("reason", ""),
            )
            for trial in self.study.get_trials(deepcopy=False)
            if "end" in trial.user_attrs
        )


def open_study(optuna: Any, folder: Path, recipe: Recipe, num_trials: int) -> Any:
    """The study whose journal lies in the folder, or a new one; what was running when it was killed is to be tried
    next.

    What is drawn depends on the seed and on how many trials there are, so that one that goes on does not draw the same
    again.
    """
    path = folder / JOURNAL_FILE
    try:
        study = optuna.create_study(
            study_name="striate",
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path))),
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=max(1, math.ceil(recipe.epochs / _HALVING**3)), reduction_factor=_HALVING
            ),
        )
        num_before = len(study.get_trials(deepcopy=False))
    except OSError as error:
        raise InputError(f"{path} cannot be used: {error.strerror or error}; name another folder") from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); name another folder") from None
    seed = int(np.random.SeedSequence((recipe.seed, num_before)).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=max(2, num_trials // 2), seed=seed)
    _take_up(optuna, study)
    return study


def import_optuna() -> Any:
    """Optuna, quiet. InputError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        raise InputError("searching needs Optuna: pip install 'striate[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna


def _take_up(optuna: Any, study: Any) -> None:
    """Trials that were running when the search was killed go on, as new ones with the same settings in the same
    folder.
    """
    for trial in study.get_trials(deepcopy=True, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params and "folder" in trial.user_attrs:
            study.enqueue_trial(trial.params, user_attrs={"folder": trial.user_attrs["folder"]})


def _write(value: Any) -> Any:
    """A choice as Optuna stores it: words, numbers and truth values as they are, a pair as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    """The inverse of `_write`; no setting's word begins with a bracket."""
    return tuple(json.loads(value)) if isinstance(value, str) and value.startswith("[") else value


def as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as Optuna stores them."""
    return {name: _write(value) for name, value in settings.items()}


def _suggest(trial: Any, dimension: Dimension) -> Any:
    if dimension.choices:
        return _read(trial.suggest_categorical(dimension.name, [_write(choice) for choice in dimension.choices]))
    if dimension.is_whole:
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=dimension.is_log)
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.is_log)


def importances(optuna: Any, study: Any) -> dict[str, float]:
    """How much of the spread of scores each setting explains; empty where too few trials finished to say, or all scored
    alike.
    """
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    scores = [trial.value for trial in finished]
    if len(scores) < _LEAST_TRIALS or min(scores) == max(scores):
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError, ImportError):
        return {}
    fractions = {name: float(value) for name, value in found.items()}
    return fractions if all(map(math.isfinite, fractions.values())) and any(fractions.values()) else {}


def _line(number: int, end: str, scores: list[float], settings: dict[str, Any], reason: str) -> str:
    named = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
    best = percent(max(scores)) if scores else "no epoch"
    return f"trial {number}: {best} after {len(scores)} epochs, {end}{f' ({reason})' if reason else ''}: {named}"
