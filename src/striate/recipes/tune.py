"""Search for settings: trials that are ordinary runs, the bad ones stopped early, the winner retrained and tested
once.
"""

import dataclasses
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.data.cache import write_atomically
from striate.data.opening import Access, OpenedData, with_lasting_edits
from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import InputError, RunError
from striate.notebook import Shown
from striate.recipes.choices import Choices
from striate.recipes.devices import check_device
from striate.recipes.prepare import prepare
from striate.recipes.run_folder import EVALUATION_FILE
from striate.recipes.run_lock import LOCK_FILE, locking_run
from striate.recipes.train import Run, resume, train
from striate.recipes.tuning_space import Dimension, default_space, usual_settings
from striate.recipes.tuning_study import Search, Trial, as_stored, import_optuna, importances, open_study
from striate.recipes.tuning_trial import describe_access
from striate.training.distributed.launch import Rank

STUDY_FILE, SUMMARY_FILE = "study.json", "tune.json"
DEFAULT_TRIALS, DEFAULT_MINUTES = 20, 30.0


@dataclass(frozen=True, repr=False)
class Tuned(Shown):
    """A search that has ended: its trials, the best one's number, how much each setting mattered (fractions that sum to
    1; empty where too few trials finished), and the winner's run with the figures on the test part. `num_winners`: so
    many runs of this search have looked at the test part, the last one among them; more than one where a search went on
    after it had ended.
    """

    path: Path
    source: str
    score_name: str
    trials: tuple[Trial, ...]
    best: int
    importances: dict[str, float]
    seconds: float
    winner: Run
    num_winners: int = 1

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
            "num_winners": self.num_winners,
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

    The first trial takes the settings a run would take by itself; half of the trials are drawn at random, in log space
    where the space says so, the others near what did well (a tree-structured Parzen estimator, Bergstra et al. 2011).
    Each is a process of its own and an ordinary run; it is stopped early where successive halving (arXiv:1810.05934)
    finds it behind. The search ends after `num_trials` or `minutes`, whatever the first trial takes, and goes on where
    it was if the folder holds one that was killed. The test part is looked at once, by the winner, which is trained
    again, or resumed where that was interrupted. After Ctrl-C there the winner's status is "interrupted". Raises
    InputError where Optuna is not installed or the folder holds another search; RunError where no trial succeeds, or
    another process searches in the folder.

    `folder` holds the search: its journal, a run for each trial, and the page.
    """
    optuna = import_optuna()
    access, choices, folder = with_lasting_edits(source, access or Access()), choices or Choices(), Path(folder)
    if num_trials < 1 or not minutes > 0:
        raise InputError(f"a search needs at least one trial and some minutes but has {num_trials} and {minutes:g}")
    prepared = prepare(str(source), choices, access, check_device(device, choices.precision, Rank()))
    recipe, task = prepared.recipe, prepared.task
    space = space or default_space(recipe, len(prepared.splits.train), smooths_labels=task.smooths_labels)
    choices = dataclasses.replace(choices, epochs=recipe.epochs)
    _check_folder(folder, prepared.data, space, choices)
    try:
        with locking_run(folder):
            study = open_study(optuna, folder, recipe, num_trials)
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(as_stored(usual_settings(space, recipe)))
            wanted = {"source": str(source), "device": device, "access": describe_access(access)}
            search = Search(study, optuna.trial.TrialState, folder, space, task.score_name, access)
            search.run_trials(choices, wanted, num_trials, time.monotonic() + 60 * minutes)
            return _finish(optuna, search, source, choices, device)
    except KeyboardInterrupt:
        access.log(f"the search stopped and is kept in {folder}; the same command goes on with it")
        raise


def _finish(optuna: Any, search: Search, source: str | Path, choices: Choices, device: str) -> Tuned:
    """The search with its winner trained and tested; a winner that was begun before, with the same settings, is
    resumed.
    """
    folder, access, trials = search.folder, search.access, search.trials()
    finished = [trial for trial in trials if trial.end == "finished" and trial.score is not None]
    if not finished:
        why = next((trial.reason for trial in trials if trial.reason), "give it more minutes")
        raise RunError(f"no trial of {folder} was trained to its end: {why}")
    best = max(finished, key=lambda trial: (trial.score, -trial.number))
    winners = search.study.user_attrs.get("winners", [])
    if winners and winners[-1]["trial"] == best.number and (folder / winners[-1]["folder"] / RUN_FILE).is_file():
        winner = resume(folder / winners[-1]["folder"], device=device, access=access)
    else:
        place = _new_folder(folder)
        winners = [*winners, {"trial": best.number, "folder": place.name}]
        search.study.set_user_attr("winners", winners)
        winner = train(source, dataclasses.replace(choices, **best.settings), run=place, device=device, access=access)
    tuned = Tuned(
        path=folder,
        source=str(source),
        score_name=search.score,
        trials=trials,
        best=best.number,
        importances=importances(optuna, search.study),
        seconds=round(sum(trial.seconds for trial in trials), 1),
        winner=winner,
        num_winners=sum((folder / each["folder"] / EVALUATION_FILE).is_file() for each in winners),
    )
    if winner.status == "finished":
        write_atomically(folder / SUMMARY_FILE, json.dumps(tuned.to_json(), indent=1).encode())
    return tuned


def _check_folder(folder: Path, data: OpenedData, space: tuple[Dimension, ...], choices: Choices) -> None:
    """Make the folder, or make sure that it holds this very search."""
    described = {
        "fingerprint": data.fingerprint,
        **({"edits": data.edits.to_json()} if data.edits else {}),
        "space": {dimension.name: dimension.to_json() for dimension in space},
        "choices": {name: value for name, value in asdict(choices).items() if value is not None},
    }
    path = folder / STUDY_FILE
    try:
        if path.is_file():
            if json.loads(path.read_bytes()) != json.loads(json.dumps(described)):
                raise InputError(f"{folder} holds a search of other data, settings or space; name another folder")
            return
        if folder.exists() and (not folder.is_dir() or any(each.name != LOCK_FILE for each in folder.iterdir())):
            raise InputError(f"{folder} exists and is no search; name a new folder")
        write_atomically(path, json.dumps(described, indent=1).encode())
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; name another folder") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; name another folder") from None


def _new_folder(folder: Path) -> Path:
    """folder/winner, or winner-2 and so on where a search that went on has one already."""
    number = 1
    while (path := folder / ("winner" if number == 1 else f"winner-{number}")).exists():
        number += 1
    return path
