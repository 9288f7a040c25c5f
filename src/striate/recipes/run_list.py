"""The runs below a folder, and what differs between two of them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import RunError
from striate.recipes.run_folder import EVALUATION_FILE, read_run
from striate.tasks.catalogue import TASKS, USUAL_TASK


@dataclass(frozen=True)
class RunRow:
    """One run: its `score`, that of its task, with the 95 % `interval` on `split` (None before it is evaluated),
    `elapsed_s` of training. `accuracy` is the score of a classifier, None for other tasks.
    """

    path: str
    network: str
    source: str
    status: str
    started_at: str
    elapsed_s: float
    split: str | None
    task: str
    score_label: str
    score: float | None
    accuracy: float | None
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class RunList:
    """Runs, the newest first, and the folders that look like runs and cannot be read, each with its reason."""

    runs: tuple[RunRow, ...]
    damaged: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        damaged = [{"path": path, "reason": reason} for path, reason in self.damaged]
        return {"runs": [row.to_json() for row in self.runs], "damaged": damaged}


def list_runs(folder: str | Path = "runs") -> RunList:
    """The runs in a folder, one level or two below it. A damaged one is named and costs nothing else. RunError where
    the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(
            f"there is no folder {folder}; name the one in which runs lie, or train one: striate train digits"
        )
    found = sorted(
        {path.parent for pattern in (RUN_FILE, f"*/{RUN_FILE}", f"*/*/{RUN_FILE}") for path in folder.glob(pattern)}
    )
    rows, damaged = [], []
    for path in found:
        try:
            rows.append(describe_row(path))
        except RunError as error:
            damaged.append((str(path), str(error)))
    return RunList(tuple(sorted(rows, key=lambda row: row.started_at, reverse=True)), tuple(damaged))


def describe_row(run_dir: Path) -> RunRow:
    """What one run's folder says in short. RunError where it cannot be read."""
    described = read_run(run_dir)
    figures = _figures(run_dir)
    try:
        task = TASKS[(described.get("task") or {"name": USUAL_TASK})["name"]]
        score, interval = task.score_in(figures) if figures else (None, None)
        return RunRow(
            path=str(run_dir),
            network=str(described["network"]["name"]),
            source=str(described["source"]),
            status=str(described["status"]),
            started_at=str(described["started_at"]),
            elapsed_s=float(described["elapsed_s"]),
            split=str(figures["split"]) if figures else None,
            task=task.name,
            score_label=task.score_label,
            score=score,
            accuracy=score if task.score_name == "accuracy" else None,
            interval=interval,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{run_dir / RUN_FILE} is damaged: {type(error).__name__} {error}") from None


def differing_settings(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    """Settings of recipe, data and preprocessing in which two runs differ, by name; RunError where one cannot be
    read.
    """
    one, other = (_settings(read_run(run_dir)) for run_dir in (first, second))
    return {
        name: (one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }


def _settings(described: dict[str, Any]) -> dict[str, Any]:
    kept = {name: described[name] for name in ("source", "recipe", "preprocessing", "class_names")}
    kept["data"] = {"fingerprint": described["data"].get("fingerprint"), "images": described["data"].get("num_images")}
    kept["network"] = {"num_params": described["network"].get("num_params")}
    return _flat(kept)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _figures(run_dir: Path) -> dict[str, Any]:
    try:
        figures = json.loads((run_dir / EVALUATION_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return figures if isinstance(figures, dict) else {}
