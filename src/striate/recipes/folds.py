"""Cross-validation: as many ordinary runs as folds, each tested on the part that the others train on, kept under one
folder.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.opening import Access, with_lasting_edits
from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import InputError, RunError
from striate.notebook import Shown
from striate.recipes.choices import Choices
from striate.recipes.run_folder import EVALUATION_FILE, check_run_dir, make_numbered_run_dir, make_run_dir, write_json
from striate.recipes.run_lock import locking_run
from striate.recipes.train import resume, train
from striate.recipes.tuning_trial import access_from_json, describe_access
from striate.reports.folds_page import write_folds_page
from striate.tasks.catalogue import TASKS
from striate.tasks.intervals import fraction_of
from striate.training.observer import Observer

FOLDS_FILE, SUMMARY_FILE = "folds.json", "cross_validation.json"
_FORMAT = 1


@dataclass(frozen=True)
class FoldResult:
    """One fold: its run, the score on its own part of the images (a fraction), and how many images it trained on and
    was tested on.
    """

    fold: int
    run: str
    score: float
    num_images: int
    num_train: int
    best_epoch: int | None
    elapsed_s: float


@dataclass(frozen=True, repr=False)
class CrossValidation(Shown):
    """The folds that are done, in order; `status` is "finished" where all are, else "interrupted".

    `mean` and `spread` (standard deviation between folds, with n - 1) are of the folds' scores; for a classifier
    `pooled` is the fraction of all images that are classified correctly by the run that did not train on them, with
    Wilson's 95 % `interval`.
    """

    path: Path
    source: str
    status: str
    score_name: str
    num_folds: int
    group_by: str | None
    folds: tuple[FoldResult, ...]
    per_class: tuple[dict[str, Any], ...] = ()
    pooled: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float | None:
        """Of the scores of the folds that are done, each counted alike."""
        return float(np.mean([each.score for each in self.folds])) if self.folds else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the scores between folds; None for fewer than two."""
        return float(np.std([each.score for each in self.folds], ddof=1)) if len(self.folds) > 1 else None

    @property
    def page_path(self) -> Path:
        return self.path / "report.html"

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate cross-validation", (
            ("path", self.path),
            ("folds", f"{len(self.folds)} of {self.num_folds}"),
            (f"mean {self.score_name}", self.mean),
            ("standard deviation", self.spread),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "folder": str(self.path),
            "source": self.source,
            "status": self.status,
            "score": self.score_name,
            "num_folds": self.num_folds,
            "group_by": self.group_by,
            "mean": self.mean,
            "spread": self.spread,
            "pooled": self.pooled,
            "interval": self.interval,
            "folds": [asdict(each) for each in self.folds],
            "per_class": list(self.per_class),
            "report": str(self.page_path) if self.status == "finished" else None,
        }


def cross_validate(
    source: str | Path,
    choices: Choices | None = None,
    *,
    num_folds: int = 5,
    run: str | Path | None = None,
    run_checks: bool = True,
    measure: bool = True,
    robustness: bool = True,
    device: str = "auto",
    access: Access | None = None,
    observer: Observer | None = None,
) -> CrossValidation:
    """Train `num_folds` runs on a source, each evaluated on a part that it did not train on; together the parts are all
    of it.

    The folds are stratified by class; with `choices.group_by` no group is in two of them. They lie in `run`
    (runs/SOURCE-folds-NUMBER by default) as fold-1, fold-2, ..., ordinary runs that differ in their images alone. A
    test part that the source gives is left aside; a validation part that it gives serves every fold. After Ctrl-C or a
    kill `resume_folds` goes on in the fold that was being trained. Raises as `train` does.

    `run_checks`, `measure` and `robustness` are as for `train`; sanity checks are run in the first fold alone.
    """
    access, choices = access or Access(), choices or Choices()
    if isinstance(num_folds, bool) or not isinstance(num_folds, int) or num_folds < 2:
        raise InputError(f"folds must be at least 2 but are {num_folds!r}")
    if run is not None:
        check_run_dir(Path(run))
    folder = make_numbered_run_dir(str(source), "folds") if run is None else make_run_dir(Path(run))
    path, access = Path(source), with_lasting_edits(source, access)
    settings = {
        "format": _FORMAT,
        "source": str(path.absolute()) if path.exists() else str(source),
        "num_folds": num_folds,
        "choices": {name: value for name, value in asdict(choices).items() if value is not None},
        "access": describe_access(access),
        "device": device,
        "run_checks": run_checks,
        "measure": measure,
        "robustness": robustness,
    }
    write_json(folder / FOLDS_FILE, settings)
    return _go_on(folder, settings, device, access, observer)


def resume_folds(
    folder: str | Path, *, device: str = "auto", access: Access | None = None, observer: Observer | None = None
) -> CrossValidation:
    """Go on with a cross-validation that was stopped or killed; the folds that are done are left as they are.

    Raises RunError where the folder holds none.
    """
    folder = Path(folder)
    settings = read_folds(folder)
    access = access or Access()
    stored = access_from_json(settings["access"])
    stored = replace(stored, data_dir=access.data_dir or stored.data_dir, log=access.log, track=access.track)
    return _go_on(folder, settings, settings["device"] if device == "auto" else device, stored, observer)


def is_cross_validation(folder: str | Path) -> bool:
    """Whether a folder holds a cross-validation."""
    return (Path(folder) / FOLDS_FILE).is_file()


def read_folds(folder: Path) -> dict[str, Any]:
    """What folds.json says. RunError where it is missing, damaged or of another format."""
    path = folder / FOLDS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        Choices(**_tuples(settings["choices"]))
        if (
            settings["format"] == _FORMAT
            and int(settings["num_folds"]) >= 2
            and {"source", "device", "access"} <= settings.keys()
        ):
            return dict(settings)
    except FileNotFoundError:
        raise RunError(f"{folder} is no cross-validation: it has no {FOLDS_FILE}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    raise RunError(f"{path} is damaged or was not written by this version of striate, which reads format {_FORMAT}")


def _go_on(
    folder: Path, settings: dict[str, Any], device: str, access: Access, observer: Observer | None
) -> CrossValidation:
    """Train every fold that is not finished, one after the other, and sum up."""
    num_folds, choices = settings["num_folds"], Choices(**_tuples(settings["choices"]))
    with locking_run(folder):
        for fold in range(1, num_folds + 1):
            place = folder / f"fold-{fold}"
            if _is_done(place):
                continue
            access.log(f"fold {fold} of {num_folds}")
            if (place / RUN_FILE).is_file():
                done = resume(place, device=device, access=access, observer=observer)
            else:
                done = train(
                    settings["source"],
                    replace(choices, num_folds=num_folds, fold=fold),
                    run=place,
                    run_checks=settings["run_checks"] and fold == 1,
                    measure=settings["measure"],
                    robustness=settings["robustness"],
                    device=device,
                    access=access,
                    observer=observer,
                )
            if done.status != "finished":
                return sum_up(folder, "interrupted")
        found = sum_up(folder, "finished")
        write_json(folder / SUMMARY_FILE, found.to_json())
        write_folds_page(found.to_json(), found.page_path)
    return found


def sum_up(folder: Path, status: str) -> CrossValidation:
    """What the folds that are done come to."""
    settings = read_folds(folder)
    rows, figures, score_name = [], [], "score"
    for fold in range(1, settings["num_folds"] + 1):
        place = folder / f"fold-{fold}"
        if not _is_done(place):
            continue
        described, evaluation = _read(place / RUN_FILE), _read(place / EVALUATION_FILE)
        task = TASKS[described["recipe"]["task"]]
        score_name = task.score_name
        best = described.get("best") or {}
        rows.append(
            FoldResult(
                fold=fold,
                run=str(place),
                score=_score(evaluation, score_name),
                num_images=int(evaluation["num_images"]),
                num_train=sum(described["data"]["counts"]["train"].values()),
                best_epoch=best.get("epoch"),
                elapsed_s=float(described["elapsed_s"]),
            )
        )
        figures.append(evaluation)
    return CrossValidation(
        path=folder,
        source=settings["source"],
        status=status,
        score_name=score_name,
        num_folds=settings["num_folds"],
        group_by=settings["choices"].get("group_by"),
        folds=tuple(rows),
        **_pooled(figures),
    )


def _is_done(place: Path) -> bool:
    """Whether a fold's run is finished and evaluated."""
    try:
        described = json.loads((place / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return described.get("status") == "finished" and (place / EVALUATION_FILE).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error}; delete that fold's folder to train it again") from None


def _score(evaluation: dict[str, Any], score_name: str) -> float:
    value = evaluation.get(score_name, evaluation.get("top1_accuracy"))
    return 0.0 if value is None else float(value)


def _pooled(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For a classifier the figures of all folds together, as if of one test part; nothing for other tasks."""
    if not figures or not all("top1_accuracy" in each and "confusion" in each for each in figures):
        return {}
    num_images = sum(each["num_images"] for each in figures)
    share = fraction_of(sum(round(each["top1_accuracy"] * each["num_images"]) for each in figures), num_images)
    per_class = []
    for rows in zip(*(each["per_class"] for each in figures), strict=True):
        support = sum(row["support"] for row in rows)
        right = sum(round((row["recall"] or 0) * row["support"]) for row in rows)
        recalls = [row["recall"] for row in rows if row["support"]]
        per_class.append(
            {
                "name": rows[0]["name"],
                "support": support,
                "recall": right / support if support else None,
                "spread": float(np.std(recalls, ddof=1)) if len(recalls) > 1 else None,
            }
        )
    return {"pooled": share.value, "interval": share.interval, "per_class": tuple(per_class)}


def _tuples(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in choices.items()}
