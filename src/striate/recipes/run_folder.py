"""The run folder on disk: made once, described by run.json, never overwritten by another run."""

import json
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from striate.data.cache import make_folder, write_atomically
from striate.data.dataset import SPLITS
from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import RunError
from striate.recipes.run_lock import LOCK_FILE

FORMAT = 1
SPLITS_FILE, EVALUATION_FILE = "splits.json", "evaluation.json"
_TRIES = 10_000


def _plain(name: str) -> str:
    """Characters that every file system accepts."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def check_run_dir(wanted: Path) -> None:
    """Raise RunError where a folder holds anything already, or could not be written; nothing is left behind."""
    try:
        if wanted.exists() and (not wanted.is_dir() or any(path.name != LOCK_FILE for path in wanted.iterdir())):
            if not wanted.is_dir():
                raise RunError(f"{wanted} is a file, and a run is a folder; choose another with --run")
            is_run = (wanted / RUN_FILE).is_file()
            going_on = f"go on with it by `striate train --resume {wanted}` or " if is_run else ""
            raise RunError(
                f"the run folder {wanted} exists already and is not empty; {going_on}choose another with --run"
            )
        parent = next(path for path in (wanted, *wanted.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _unwritable(wanted, error) from None


def make_run_dir(wanted: Path) -> Path:
    """Make the folder asked for, empty. Raises RunError as `check_run_dir` does."""
    check_run_dir(wanted)
    try:
        make_folder(wanted)
    except OSError as error:
        raise _unwritable(wanted, error) from None
    return wanted


def make_numbered_run_dir(source: str, network: str) -> Path:
    """Make the first free runs/SOURCE-NETWORK-NUMBER below the working directory. Raises RunError where that fails."""
    stem = _plain(Path(source).resolve().stem if Path(source).exists() else source) or "run"
    network = _plain(network)  # a library's have a colon
    try:
        for number in range(1, _TRIES):
            path = Path("runs") / f"{stem}-{network}-{number}"
            with suppress(FileExistsError):
                path.mkdir(parents=True)
                return path
    except OSError as error:
        raise RunError(f"runs/ cannot be written: {error.strerror}; choose a folder with --run") from None
    raise RunError(f"runs/ holds {_TRIES} runs of this name; choose a folder with --run")


def read_run(run_dir: Path) -> dict[str, Any]:
    """Read run.json. Raises RunError where there is none or it is not one of ours."""
    path = run_dir / RUN_FILE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{run_dir} is not a run: it has no {RUN_FILE}; if it was killed before training began, start it again"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    needed = {"recipe", "data", "source", "network", "preprocessing", "machine", "class_names", "versions", "notices"}
    if not isinstance(described, dict) or described.get("format") != FORMAT or needed - described.keys():
        raise RunError(f"{path} is damaged or was not written by this version of striate, which reads format {FORMAT}")
    return described


def read_splits(run_dir: Path) -> dict[str, list[str]]:
    """What the images of every split are called. RunError where the file is missing or damaged."""
    path = run_dir / SPLITS_FILE
    try:
        splits = json.loads(path.read_bytes())
        return {name: [str(each) for each in splits[name]] for name in SPLITS}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document in one stroke. Raises RunError where that fails."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    try:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; free some space and resume the run") from None


def _unwritable(folder: Path, error: OSError) -> RunError:
    if isinstance(error, NotADirectoryError):
        file = next((path for path in folder.parents if path.is_file()), folder)
        return RunError(f"{file} is a file, so no run folder can be made below it; choose another with --run")
    return RunError(f"the run folder {folder} cannot be written: {error.strerror}; choose another with --run")
