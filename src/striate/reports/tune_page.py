"""A search as one self-contained page: every trial, which settings mattered, what it cost, and the winner's test."""

from pathlib import Path
from typing import Any

from striate.reports.page import page_environment, write_page
from striate.tasks.catalogue import TASKS
from striate.version import __version__


def tune_page(found: dict[str, Any]) -> str:
    """The page as text, of what `Tuned.to_json` gives."""
    environment = page_environment(
        {
            "number": lambda value: f"{value:.3g}" if isinstance(value, float) else str(value),
        }
    )
    trials = sorted(found["trials"], key=lambda trial: -(trial["score"] or 0))
    names = sorted({name for trial in trials for name in trial["settings"]})
    evaluation = found["winner"]["evaluation"]
    task = next((each for each in TASKS.values() if each.score_name == found["score"]), None)
    figure, interval = task.score_in(evaluation) if evaluation and task else (None, None)
    page: str = environment.get_template("tune.html.jinja").render(
        found=found,
        trials=trials,
        names=names,
        figure=figure,
        interval=interval,
        label=task.score_label if task else found["score"],
        version=__version__,
    )
    return page


def write_tune_page(found: dict[str, Any], path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, tune_page(found))
