"""The engine cache: measurements and exported copies, kept for the next time. Imports no torch.

A folder for each model, `engines/KEY` in the cache, KEY standing for every byte of the model (engines.identity): the
exported copy, `about.json` with what is needed to use it without the model, and a `measured-MACHINE.json` for each
machine and set of versions. Whatever cannot be read, or is of another version, counts as not there.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.data.cache import cache_dir, write_atomically
from striate.data.preprocessing import Preprocessing
from striate.data.stored_values import stored_list, stored_table, stored_text
from striate.engines.engine import EngineKind
from striate.engines.hardware import machine_key, this_machine
from striate.engines.measurement import Row
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.catalogue import USUAL_TASK, make_task
from striate.tasks.task import Task

VERSION = 1
"""Of these files; raised when what they mean changes."""
ONNX_FILE, INT8_FILE = "model.onnx", "int8.onnx"
_ABOUT_FILE = "about.json"


@dataclass(frozen=True)
class About:
    """Facts needed to predict with an exported copy of a model."""

    network_name: str
    preprocessing: Preprocessing
    task: Task


@dataclass(frozen=True)
class Measured:
    """Measurements by `striate bench` on this machine. `images` says on which images."""

    rows: tuple[Row, ...]
    images: str

    def row(self, name: str, precision: str, variant: str) -> Row | None:
        """The row of this kind, if it was measured."""
        wanted = (name, precision, variant)
        return next((row for row in self.rows if (row.kind.name, row.kind.precision, row.kind.variant) == wanted), None)


@dataclass(frozen=True)
class EngineCache:
    """The folder that belongs to one model; it need not exist. `gpu` names what computes, where that is not the
    processor.
    """

    folder: Path
    gpu: str = ""

    @property
    def onnx_path(self) -> Path:
        """Where the exported copy lies, or would."""
        return self.folder / ONNX_FILE

    @property
    def int8_path(self) -> Path:
        """Where the quantised copy lies, or would."""
        return self.folder / INT8_FILE

    def copy_for(self, kind: EngineKind) -> Path:
        """The exported file that an engine of this kind runs; InputError where int8 is asked for and was never made."""
        if kind.precision != "int8":
            return self.onnx_path
        if not self.int8_path.is_file():
            raise InputError(
                "there is no 8-bit copy of this model; make and measure one with striate bench MODEL SOURCE --int8"
            )
        return self.int8_path

    def write_about(self, about: About) -> None:
        """Keep what is needed to use the exported copies, and what these look like now."""
        copies = {path.name: _look(path) for path in (self.onnx_path, self.int8_path) if path.is_file()}
        values = {
            "network_name": about.network_name,
            "class_names": list(about.task.class_names),
            "task": about.task.name,
            "task_settings": about.task.settings(),
            "preprocessing": about.preprocessing.to_json(),
        }
        _write(self.folder / _ABOUT_FILE, {**values, "copies": copies})

    def read_about(self, *, log: Log = log_nothing) -> About | None:
        """Read what `write_about` stored; None where there is nothing, or where a copy is missing or has changed
        since.
        """
        path = self.folder / _ABOUT_FILE
        values = _read(path, log)
        if values is None:
            return None
        try:
            copies = stored_table(values["copies"])
            for name, look in copies.items():
                if name not in (ONNX_FILE, INT8_FILE) or _look(self.folder / name) != look:
                    raise ValueError(f"{name} is not the copy that was written")
            if ONNX_FILE not in copies:
                return None
            names = tuple(stored_text(name) for name in stored_list(values["class_names"]))
            settings = stored_table(values.get("task_settings") or {})
            task = make_task(stored_text(values.get("task", USUAL_TASK)), names, settings)
            return About(stored_text(values["network_name"]), Preprocessing.from_json(values["preprocessing"]), task)
        except (AttributeError, KeyError, OSError, TypeError, ValueError, OverflowError, InputError) as error:
            log(_ignored(path, error))
            return None

    def write_measured(self, measured: Measured) -> None:
        """Keep what was found on this machine with these versions, in place of what was found before."""
        machine = this_machine(self.gpu)
        rows = [row.to_json() for row in measured.rows]
        _write(self._measured_path(machine), {"machine": machine, "images": measured.images, "rows": rows})

    def read_measured(self, *, log: Log = log_nothing) -> Measured | None:
        """Read the measurements of this machine with these versions; None where there is nothing."""
        machine = this_machine(self.gpu)
        path = self._measured_path(machine)
        values = _read(path, log)
        if values is None or values.get("machine") != machine:
            return None
        try:
            rows = tuple(Row.from_json(row) for row in stored_list(values["rows"]))
            return Measured(rows, stored_text(values["images"]))
        except (AttributeError, KeyError, TypeError, ValueError, InputError) as error:
            log(_ignored(path, error))
            return None

    def _measured_path(self, machine: dict[str, Any]) -> Path:
        return self.folder / f"measured-{machine_key(machine)}.json"


def engine_cache_of(key: str, gpu: str = "") -> EngineCache:
    """The folder of the model that a key of engines.identity stands for."""
    return EngineCache(cache_dir() / "engines" / key[:32], gpu)


def _write(path: Path, values: dict[str, Any]) -> None:
    """InputError where the cache cannot be written."""
    text = json.dumps({"version": VERSION, **values}, indent=1, allow_nan=False)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written ({error.strerror or error}); set STRIATE_CACHE to a folder that can"
        ) from None


def _read(path: Path, log: Log) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log(_ignored(path, error))
        return None
    return values if isinstance(values, dict) and values.get("version") == VERSION else None


def _ignored(path: Path, error: Exception) -> str:
    return f"{path} is damaged and was ignored ({' '.join(str(error).split())[:100]}); striate bench writes it anew"


def _look(path: Path) -> list[int]:
    """Size in bytes and time of the last change in ns: reading all of a large copy would take longer than running
    it.
    """
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]
