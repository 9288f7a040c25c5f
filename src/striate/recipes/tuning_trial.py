"""One trial of a search, in a process of its own: an ordinary run that is not evaluated on the test part."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.errors import RunError, StriateError
from striate.recipes.run_lock import locking_run
from striate.training.distributed.launch import end_with_input, start_python

if TYPE_CHECKING:
    from striate.data.opening import Access

TRIAL_FILE = "trial.json"
_ENDING_S = 30.0
_POLL_S = 0.1


def describe_access(access: "Access") -> dict[str, Any]:
    """What a trial needs to see the same data as the search, as plain values."""
    return {
        "data_dir": None if access.data_dir is None else str(access.data_dir),
        "download": access.download,
        "max_pixels": access.max_pixels,
        "columns": access.columns.to_json(),
        "ignore_index": access.ignore_index,
        "edits": access.edits.to_json(),
    }


def access_from_json(values: dict[str, Any]) -> "Access":
    """The inverse of `describe_access`."""
    from striate.data.edits import edits_from_json
    from striate.data.opening import Access
    from striate.data.readers.columns import columns_from_json

    columns, edits = columns_from_json(values["columns"]), edits_from_json(values.get("edits"))
    return Access(**{**values, "columns": columns, "edits": edits})


def run_trial(folder: str) -> None:
    """Train what `trial.json` in the folder says, or go on with it; the process ends with code 2 and one line on an
    error, and with code 1 where it was stopped.
    """
    from striate.data.readers.folder_walk import RUN_FILE
    from striate.recipes.choices import Choices
    from striate.recipes.train import resume, train

    end_with_input()
    place = Path(folder)
    wanted = json.loads((place / TRIAL_FILE).read_text(encoding="utf-8"))
    access = access_from_json(wanted["access"])
    run = place / "run"
    try:
        if (run / RUN_FILE).is_file():
            _wait_until_free(run)
            resume(run, device=wanted["device"], access=access, progress=False)
        else:
            train(
                wanted["source"], Choices(**wanted["choices"]), run=run, run_checks=False, measure=False,
                robustness=False,
                device=wanted["device"], access=access, progress=False, evaluate_best=False,
            )  # fmt: skip
    except StriateError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(1)


def _wait_until_free(run: Path) -> None:
    """Wait until the trial of a search that was killed, which ends by itself, has left the run. RunError where it does
    not.
    """
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            with locking_run(run):
                return
        except RunError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_S)


def watch_trial(
    folder: Path, wanted: dict[str, Any], score: str, is_bad: Callable[[int, float], bool], deadline: float
) -> tuple[str, list[float], str]:
    """Run a trial in a process of its own and follow its epochs: how it ended, its validation scores, and the line of
    an error.

    It is stopped, as by Ctrl-C, once `is_bad(epoch, best score so far)` or at the `deadline` (time.monotonic()). Ends
    are "finished", "stopped", "out of time" and "failed". Raises RunError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRIAL_FILE).write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        log = (folder / "log.txt").open("wb")
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror}; free some space, or name another folder"
        ) from None
    code = "import sys; from striate.recipes.tuning_trial import run_trial; run_trial(sys.argv[1])"
    with log:
        process = start_python(["-c", code, str(folder)], output=log)
        end = "finished"
        seen = 0
        try:
            while True:
                has_ended = process.poll() is not None
                scores = read_scores(folder / "run" / "metrics.jsonl", score)
                for epoch in range(seen, len(scores)):
                    if end == "finished" and is_bad(epoch + 1, max(scores[: epoch + 1])) and not has_ended:
                        end = "stopped"
                seen = len(scores)
                if end == "finished" and time.monotonic() > deadline and not has_ended:
                    end = "out of time"
                if has_ended or end != "finished":
                    break
                time.sleep(_POLL_S)
        finally:
            _end(process)
    if end == "finished" and process.returncode != 0:
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "failed", scores, lines[-1] if lines else f"ended with code {process.returncode}"
    return end, scores, ""


def read_scores(path: Path, score: str) -> list[float]:
    """The validation scores of the epochs in a metrics.jsonl, in order; a line that is only half written yet is left
    out.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: dict[int, float] = {}
    for line in lines:
        try:
            record = json.loads(line)
            if record.get("kind") == "epoch":
                found[int(record["epoch"])] = float(record[f"validation_{score}"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return [found[epoch] for epoch in sorted(found)]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Have the trial stop between two updates, with a checkpoint; kill it where it does not."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
            try:
                process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()
