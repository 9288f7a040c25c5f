"""Search for settings: trials that are ordinary runs, the bad ones stopped early, the winner retrained and tested once."""

import dataclasses
import json
import logging
import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.data.cache import write_atomically
from striate.data.opening import Access
from striate.errors import InputError, RunError
from striate.notebook import Shown
from striate.recipes.choices import Choices
from striate.recipes.devices import check_device
from striate.recipes.prepare import prepare
from striate.recipes.train import Run, train
from striate.recipes.tuning_space import Dimension, default_space
from striate.recipes.tuning_trial import watch_trial
from striate.training.distributed.launch import Rank

STUDY_FILE, JOURNAL_FILE, SUMMARY_FILE = "study.json", "journal.log", "tune.json"
DEFAULT_TRIALS, DEFAULT_MINUTES = 20, 30.0
_HALVING = 2


@dataclass(frozen=True)
class Trial:
    """One trial: its settings, how it ended ("finished", "stopped" for one that was behind, "out of time", "failed"), its best
    validation score (None before an epoch) after so many epochs, and what it took in seconds.
    """

    number: int
    settings: dict[str, Any]
    end: str
    score: float | None
    num_epochs: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True, repr=False)
class Tuned(Shown):
    """A search that has ended: its trials, the best one's number, how much each setting mattered (fractions that sum to 1; empty
    where too few trials finished), and the winner's run with the figures on the test part, which nothing had looked at before.
    """

    path: Path
    source: str
    score_name: str
    trials: tuple[Trial, ...]
    best: int
    importances: dict[str, float]
    seconds: float
    winner: Run

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        best = next(trial for trial in self.trials if trial.number == self.best)
        return "striate search", (("path", self.path), ("trials", len(self.trials)), ("best validation", best.score))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "study": str(self.path),
            "source": self.source,
            "score": self.score_name,
            "best": self.best,
            "trials": [asdict(trial) for trial in self.trials],
            "importances": self.importances,
            "seconds": self.seconds,
            "winner": self.winner.to_json(),
        }


def tune(
    source: str | Path,
    choices: Choices | None = None,
    *,
    folder: str | Path = "tuned",
    space: tuple[Dimension, ...] | None = None,
    num_trials: int = DEFAULT_TRIALS,
    minutes: float = DEFAULT_MINUTES,
    device: str = "auto",
    access: Access | None = None,
) -> Tuned:
    """Search the settings of `space` for the best validation score, what `choices` says held fixed.

    The first trial takes the settings a run would take by itself; half of the trials are drawn at random, in log space where the space
    says so, the others near what did well (a tree-structured Parzen estimator, Bergstra et al. 2011). Each is a process of its own and an
    ordinary run; it is stopped early where successive halving (arXiv:1810.05934) finds it behind. The search ends after `num_trials`
    or `minutes`, and goes on where it was if the folder holds one that was killed. The test part is looked at once, by the winner, which
    is trained again. Raises InputError where Optuna is not installed or the folder holds another search; RunError where no trial succeeds.
    """
    optuna = _optuna()
    access, choices, folder = access or Access(), choices or Choices(), Path(folder)
    if num_trials < 1 or not minutes > 0:
        raise InputError(f"a search needs at least one trial and some minutes but has {num_trials} and {minutes:g}")
    prepared = prepare(str(source), choices, access, check_device(device, choices.precision, Rank()))
    recipe, score = prepared.recipe, prepared.task.score_name
    space = space or default_space(recipe)
    choices = dataclasses.replace(choices, epochs=recipe.epochs)
    _check_folder(folder, prepared.data.fingerprint, space, choices)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL_FILE)))
    study = optuna.create_study(
        study_name="striate",
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(n_startup_trials=max(2, num_trials // 2), seed=recipe.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, math.ceil(recipe.epochs / _HALVING**3)), reduction_factor=_HALVING
        ),
    )
    began_at = time.monotonic()
    deadline = began_at + 60 * minutes
    wanted = {
        "source": str(source),
        "device": device,
        "data_dir": None if access.data_dir is None else str(access.data_dir),
    }
    _take_up(optuna, study)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(_usual_settings(space, recipe))
    states = optuna.trial.TrialState
    while _num_ended(study, states) < num_trials and (time.monotonic() < deadline or not _num_ended(study, states)):
        trial = study.ask()
        settings = {dimension.name: _suggest(trial, dimension) for dimension in space}
        place = folder / trial.user_attrs.get("folder", f"trial-{trial.number:03d}")
        trial.set_user_attr("folder", place.name)
        trial_choices = {**{k: v for k, v in asdict(choices).items() if v is not None}, **settings}
        started_at = time.monotonic()

        def is_bad(epoch: int, best: float, trial: Any = trial) -> bool:
            trial.report(best, epoch)
            return bool(trial.should_prune())

        stop_at = math.inf if _num_ended(study, states) == 0 else deadline
        end, scores, reason = watch_trial(place, {**wanted, "choices": trial_choices}, score, is_bad, stop_at)
        for name, value in (("end", end), ("seconds", time.monotonic() - started_at), ("reason", reason)):
            trial.set_user_attr(name, value)
        trial.set_user_attr("epochs", len(scores))
        trial.set_user_attr("score", max(scores, default=None))
        if end == "failed" or not scores:
            study.tell(trial, state=states.FAIL)
        elif end == "finished":
            study.tell(trial, max(scores))
        else:
            study.tell(trial, state=states.PRUNED)
        access.log(_line(trial.number, end, scores, settings, reason))
    trials = _trials(study)
    finished = [trial for trial in trials if trial.end == "finished" and trial.score is not None]
    if not finished:
        why = next((trial.reason for trial in trials if trial.reason), "give it more minutes")
        raise RunError(f"no trial of {folder} was trained to its end: {why}")
    best = max(finished, key=lambda trial: (trial.score, -trial.number))
    winner = train(
        source, dataclasses.replace(choices, **best.settings), run=_new_folder(folder), device=device, access=access
    )
    seconds = sum(trial.seconds for trial in trials)
    importances = _importances(optuna, study)
    tuned = Tuned(folder, str(source), score, trials, best.number, importances, round(seconds, 1), winner)
    write_atomically(folder / SUMMARY_FILE, json.dumps(tuned.to_json(), indent=1).encode())
    return tuned


def _optuna() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        raise InputError("searching needs Optuna: pip install 'striate[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna


def _check_folder(folder: Path, fingerprint: str, space: tuple[Dimension, ...], choices: Choices) -> None:
    """Make the folder, or make sure that it holds this very search."""
    described = {
        "fingerprint": fingerprint,
        "space": {dimension.name: dimension.to_json() for dimension in space},
        "choices": {name: value for name, value in asdict(choices).items() if value is not None},
    }
    path = folder / STUDY_FILE
    if path.is_file():
        if json.loads(path.read_bytes()) != json.loads(json.dumps(described)):
            raise InputError(f"{folder} holds a search of other data, settings or space; name another folder")
        return
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is no search; name a new folder")
    try:
        write_atomically(path, json.dumps(described, indent=1).encode())
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; name another folder") from None


def _take_up(optuna: Any, study: Any) -> None:
    """Trials that were running when the search was killed go on, as new ones with the same settings in the same folder."""
    for trial in study.get_trials(deepcopy=True, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params and "folder" in trial.user_attrs:
            study.enqueue_trial(trial.params, user_attrs={"folder": trial.user_attrs["folder"]})


def _usual_settings(space: tuple[Dimension, ...], recipe: Any) -> dict[str, Any]:
    """What a run takes by itself, of the settings that the space has, where it lies within."""
    found = {}
    for dimension in space:
        value = getattr(recipe, dimension.name, getattr(recipe.optimizer, dimension.name, None))
        inside = (
            value in dimension.choices
            if dimension.choices
            else (isinstance(value, int | float) and dimension.low <= value <= dimension.high)
        )
        if inside:
            found[dimension.name] = value
    return found


def _suggest(trial: Any, dimension: Dimension) -> Any:
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, dimension.choices)
    if dimension.is_whole:
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=dimension.is_log)
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.is_log)


def _num_ended(study: Any, states: Any) -> int:
    """Trials that ended by themselves or were stopped; one that failed counts too, one that was killed with the search does not."""
    ended = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.FAIL))
    return sum("end" in trial.user_attrs for trial in ended)


def _trials(study: Any) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            number=trial.number,
            settings=dict(trial.params),
            end=trial.user_attrs["end"],
            score=trial.user_attrs.get("score"),
            num_epochs=trial.user_attrs.get("epochs", 0),
            seconds=round(trial.user_attrs.get("seconds", 0.0), 1),
            reason=trial.user_attrs.get("reason", ""),
        )
        for trial in study.get_trials(deepcopy=False)
        if "end" in trial.user_attrs
    )


def _importances(optuna: Any, study: Any) -> dict[str, float]:
    """How much of the spread of scores each setting explains; empty where there are too few trials to say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError, ImportError):
        return {}
    return {name: float(value) for name, value in found.items()}


def _new_folder(folder: Path) -> Path:
    """folder/winner, or winner-2 and so on where a search that went on has one already."""
    number = 1
    while (path := folder / ("winner" if number == 1 else f"winner-{number}")).exists():
        number += 1
    return path


def _line(number: int, end: str, scores: list[float], settings: dict[str, Any], reason: str) -> str:
    named = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
    best = f"{100 * max(scores):.2f} %" if scores else "no epoch"
    return f"trial {number}: {best} after {len(scores)} epochs, {end}{f' ({reason})' if reason else ''}: {named}"
