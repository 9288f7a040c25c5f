"""One self-contained HTML page about a run: what came out, how far to trust it, and how it was made.

Everything on it comes from the run folder: run.json, metrics.jsonl, evaluation.json and mistakes/*.png. The page
needs no script and no network, and follows light, dark, phone and print.
"""

import base64
import json
import math
import shlex
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from markupsafe import Markup

from striate.data.cache import write_atomically
from striate.data.dataset import SPLITS
from striate.errors import RunError
from striate.reports import figures
from striate.reports.corruptions_panel import CORRUPTIONS_FILE, EXAMPLES_FOLDER, corruption_values
from striate.reports.epoch_records import read_epochs
from striate.reports.page import page_environment
from striate.tasks.catalogue import TASKS, USUAL_TASK
from striate.training.recipe import Recipe

REPORT_FILE = "report.html"
MAX_MATRIX_CLASSES = 30
MAX_OPEN_CLASSES = 20
NUM_CONFUSIONS = 20


def write_report(run_dir: str | Path) -> Path:
    """Write report.html into a run folder, replacing an older one, and give its path.

    A run that has not been evaluated, or not finished an epoch, gets the parts there are. Raises RunError with one
    line where the folder is no run, holds a damaged file, or cannot be written.
    """
    run_dir = Path(run_dir)
    run = _read_json(run_dir, "run.json")
    if run is None:
        raise RunError(f"{run_dir} is not a run: it has no run.json; name the folder that `striate train` made")
    evaluation = _read_json(run_dir, "evaluation.json")
    epochs, num_damaged = read_epochs(run_dir / "metrics.jsonl")
    try:
        page = _render(run_dir, run, epochs, num_damaged, evaluation)
    except (KeyError, TypeError, AttributeError, ValueError, TemplateError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{run_dir} was not written by this version of striate, or is damaged: {reason}") from error
    path = run_dir / REPORT_FILE
    try:
        write_atomically(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _render(
    run_dir: Path,
    run: dict[str, Any],
    epochs: list[dict[str, Any]],
    num_damaged: int,
    evaluation: dict[str, Any] | None,
) -> str:
    environment = page_environment(
        {
            "duration": duration,
            "number": number,
            "moment": moment,
            "rows": _setting_rows,
            "pyrepr": repr,
            "shell": shell,
            "made_by": made_by,
            "last_part": last_part,
        }
    )
    task = TASKS[(run.get("task") or {"name": USUAL_TASK})["name"]]
    best_epoch = (run.get("best") or {}).get("epoch")
    charts = {
        "loss": Markup(figures.loss_curves(epochs, best_epoch)),
        "accuracy": Markup(figures.accuracy_curves(epochs, best_epoch, task.score_name, task.train_score_name)),
        "rate": Markup(figures.rate_curve(epochs)),
    }
    return environment.get_template("report.html.jinja").render(
        run=run,
        run_dir=str(run_dir),
        name=run_dir.resolve().name,
        epochs=epochs,
        num_damaged=num_damaged,
        evaluation=evaluation,
        charts=charts,
        task=task,
        mistakes=_mistakes(run_dir, evaluation) if evaluation else [],
        correct=_mistakes(run_dir, evaluation, "correct") if evaluation else [],
        least_certain=_mistakes(run_dir, evaluation, "least_certain") if evaluation else [],
        **(_class_values(evaluation) if evaluation and task.has_probabilities else {}),
        inside=_inside(run_dir),
        robustness=_robustness(run_dir),
        without_network=_without_network(run_dir),
        corruptions=_corruptions(run_dir),
        counts=_counts(run),
        unusual=_unusual_settings(run["recipe"]),
        max_matrix_classes=MAX_MATRIX_CLASSES,
        broken=[_name_and_reason(entry) for entry in run["data"].get("broken", [])],
        max_open_classes=MAX_OPEN_CLASSES,
    )


def _read_json(run_dir: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file of the run, None where there is no such file."""
    path = run_dir / name
    try:
        parsed = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise RunError(f"{run_dir} is not a run but a file; name the folder that `striate train` made") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from None
    if not isinstance(parsed, dict) or not parsed:
        raise RunError(f"{path} is damaged: a JSON object with entries was expected")
    return parsed


def _class_values(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What is shown beside the figures of a task whose outputs are probabilities of classes."""
    return {
        "reliability": Markup(figures.reliability_chart(evaluation["calibration"])),
        "selective_chart": _selective_chart(evaluation),
        "baseline": _baseline(evaluation),
        "chance": _chance(evaluation),
        "matrix": _matrix(evaluation),
        "confusions": evaluation["most_confused"][:NUM_CONFUSIONS],
        "weakest": _weakest(evaluation),
    }


def _selective_chart(evaluation: dict[str, Any]) -> Markup | None:
    """The risk-coverage curve of an evaluation that has one."""
    selective = evaluation.get("selective")
    return Markup(figures.risk_coverage_chart(selective["curve"])) if selective else None


def _baseline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The accuracy of always predicting the most common class."""
    commonest = max(evaluation["per_class"], key=lambda figures: figures["support"])
    return {"name": commonest["name"], "accuracy": commonest["support"] / evaluation["num_images"]}


def _chance(evaluation: dict[str, Any]) -> str:
    """In words, where the accuracy cannot be told from always giving the commonest answer; else empty."""
    low, high = evaluation["top1_interval"]
    baseline = _baseline(evaluation)
    if low > baseline["accuracy"]:
        return ""
    worse = "below" if high < baseline["accuracy"] else "no better than"
    return (
        f"That is {worse} always answering {baseline['name']}, the commonest class: as far as these images tell, it "
        "has learnt nothing."
    )


def _unusual_settings(recipe: dict[str, Any]) -> dict[str, str]:
    """Settings of a recipe, flat, that differ from what a recipe has where nothing is chosen."""
    usual = dict(_setting_rows(json.loads(json.dumps(Recipe(network="", epochs=1, batch_size=1).to_json()))))
    return {name: value for name, value in _setting_rows(recipe) if usual.get(name) != value}


def _matrix(evaluation: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Rows of the confusion matrix with shares for colouring; None where there are too many classes to show."""
    confusion, names = evaluation["confusion"], evaluation["class_names"]
    if confusion is None or len(names) > MAX_MATRIX_CLASSES:
        return None
    rows = []
    for name, row in zip(names, confusion, strict=True):
        total = sum(row) or 1
        rows.append({"name": name, "cells": [{"count": cell, "share": cell / total} for cell in row]})
    return rows


def _mistakes(run_dir: Path, evaluation: dict[str, Any], kind: str = "mistakes") -> list[dict[str, Any]]:
    """The worst mistakes, or the examples of a kind, each with its picture as a data URI; None where the picture is
    missing or outside the run.
    """
    entries = evaluation.get(kind, []) if kind == "mistakes" else (evaluation.get("examples") or {}).get(kind, [])
    return [{**entry, "uri": _picture(run_dir, kind, entry.get("picture", ""))} for entry in entries]


def _robustness(run_dir: Path) -> dict[str, Any] | None:
    """What robustness/run_panel.py wrote, with its chart; None for a run without it."""
    panel = _read_json(run_dir, "robustness.json")
    if panel is None or not panel.get("curve"):
        return panel
    points = [(255 * point["epsilon"], point["accuracy"]) for point in panel["curve"]]
    return {**panel, "chart": Markup(figures.robustness_curve(points, math.nan))}


def _corruptions(run_dir: Path) -> dict[str, Any] | None:
    """What `evaluate --corruptions` measured, its examples as data URIs; None for a run without it."""
    panel = _read_json(run_dir, CORRUPTIONS_FILE)
    if panel is None:
        return None
    examples = [
        {**each, "uri": _picture(run_dir, EXAMPLES_FOLDER, each.get("picture", ""))}
        for each in panel.get("examples", [])
    ]
    return {**corruption_values(panel), "examples": examples}


def _without_network(run_dir: Path) -> dict[str, Any] | None:
    """The best of what baselines/run_panel.py wrote, with how many images it was fitted on; None for a run without
    it.
    """
    panel = _read_json(run_dir, "baselines.json")
    if panel is None or not panel.get("baselines"):
        return None
    best = max(panel["baselines"], key=lambda each: each["accuracy"])
    return {**panel, "best": best}


def _inside(run_dir: Path) -> dict[str, Any] | None:
    """What explanation/run_panel.py wrote, its pictures as data URIs; None for a run without it."""
    panel = _read_json(run_dir, "inside.json")
    if panel is None:
        return None
    looked_at, filters = panel.get("looked_at") or {"images": []}, panel.get("filters")
    for image in looked_at["images"]:
        for kind in ("answered", "right"):
            image[f"{kind}_uri"] = _picture(run_dir, "inside", image.get(kind, ""))
    uri = _picture(run_dir, "inside", filters["picture"]) if filters else None
    return {
        "units": None,
        "sanity": None,
        **panel,
        "looked_at": looked_at,
        "filters": filters and {**filters, "uri": uri},
    }


def _picture(run_dir: Path, folder: str, name: Any) -> str | None:
    """A PNG of the run's own folder as a data URI; None where it is missing or lies elsewhere."""
    picture = (run_dir / str(name)).resolve()
    if picture.parent != (run_dir / folder).resolve() or picture.suffix != ".png":
        return None
    try:
        return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    except OSError:
        return None


def _weakest(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """The up to three classes whose images were found least often, where any was missed."""
    missed = [figures for figures in evaluation["per_class"] if figures["recall"] is not None and figures["recall"] < 1]
    return sorted(missed, key=lambda figures: figures["recall"])[:3]


def _counts(run: dict[str, Any]) -> dict[str, Any]:
    """Images by class and split: the splits that have any, a row a class, and the sums."""
    counts = run["data"].get("counts", {})
    splits = [split for split in SPLITS if sum(counts.get(split, {}).values())]
    rows = [{"name": name, "cells": [counts[split].get(name, 0) for split in splits]} for name in run["class_names"]]
    return {"splits": splits, "rows": rows, "sums": [sum(counts[split].values()) for split in splits]}


def _name_and_reason(entry: Any) -> dict[str, str]:
    """A broken file as {"name", "reason"}, from a pair or a mapping."""
    if isinstance(entry, dict):
        return {"name": str(entry.get("name", entry.get("path", "?"))), "reason": str(entry["reason"])}
    name, reason = entry
    return {"name": str(name), "reason": str(reason)}


def _setting_rows(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) of every setting, those of nested parts as "part.name"."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _setting_rows(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(part) for part in value)
    return str(value)


def number(value: float | None, digits: int = 3) -> str:
    """A measured number to a few significant digits, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """A span of time as people say it: "48 s", "3 min 20 s", "2 h 5 min"."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(text: str) -> str:
    """A moment as "2026-11-23 18:20", of one in ISO form."""
    return text.replace("T", " ")[:16]


def made_by(words: list[str], source: str) -> str:
    """The command, or the call from Python, that really made a run; `words` are those the process was started with."""
    program = words[0].replace("\\", "/").rpartition("/")[2]
    if program.removesuffix(".exe") == "striate":
        return shlex.join(["striate", *words[1:]])
    if program == "__main__.py":
        return shlex.join(["python", "-m", "striate", *words[1:]])
    return f"striate.train({source!r}, ...)   # called from Python: {program or 'interactively'}"


def shell(words: list[str]) -> str:
    """A command as one would type it; the program is called striate however it was started."""
    return shlex.join(["striate", *words[1:]])


def last_part(source: str) -> str:
    """The name at the end of a path, or the source itself where it is no path."""
    return source.replace("\\", "/").rstrip("/").rpartition("/")[2] or source
