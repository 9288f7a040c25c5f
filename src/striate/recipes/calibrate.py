"""Calibrate a model where it lies: the file rewritten, and, for a run, its figures and report as well."""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from striate.data.opening import Access
from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import DataError, InputError, RunError
from striate.evaluation.conformal import ConformalFit, fit_conformal
from striate.evaluation.temperature_scaling import CalibrationMetrics, Fit, calibrate, calibration_metrics
from striate.export.exporting import stale_exports
from striate.networks.given import NetworkSource
from striate.progress import log_nothing
from striate.recipes.run_folder import read_run
from striate.recipes.train import re_evaluate
from striate.tasks.model import load_model, save_model
from striate.weights.model_file import MAX_TEMPERATURE, MIN_TEMPERATURE, MODEL_FILE


@dataclass(frozen=True)
class Calibrated:
    """Where the model lies, its temperature now, and what was found, None where the temperature was given; `test`: how
    it fared before and fares after on the test part of its own data, where there is one; `report` is that of a run.
    Nothing was written, and `path` is None, where the images ask for no other temperature than it had.
    """

    path: Path | None
    temperature: float
    fit: Fit | None
    test: tuple[CalibrationMetrics, CalibrationMetrics] | None
    report: Path | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        test = None if self.test is None else dict(zip(("before", "after"), map(asdict, self.test), strict=True))
        return {
            "model": self.path and str(self.path),
            "temperature": self.temperature,
            "fit": self.fit and self.fit.to_json(),
            "test": test,
            "report": self.report and str(self.report),
        }


def calibrate_file(
    ref: str | Path,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    temperature: float | None = None,
    out: Path | None = None,
    device: str = "auto",
    access: Access | None = None,
    network: NetworkSource | None = None,
) -> Calibrated:
    """Fit a temperature for the model that `ref` names (as for `load_model`), or take the one given (1 undoes), and
    write the model to `out`, or in its place.

    In place, a run gets its figures and report anew where its images are still there; else a line says so. Raises as
    `calibrate` does; InputError where there is no file to write to, RunError for a run that is not finished.

    `temperature` in [0.01, 100] is taken as it is, in place of fitting one.
    """
    access = access or Access()
    folder = Path(ref)
    path = out or (folder / MODEL_FILE if folder.is_dir() else folder)
    if out is not None and out.is_dir():
        raise InputError(f"{out} is a folder; name the file that the calibrated model is to be written to")
    if temperature is not None and not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise InputError(f"temperature must lie in [{MIN_TEMPERATURE:g}, {MAX_TEMPERATURE:g}] but is {temperature:g}")
    model = load_model(ref, network=network, device=device, download=access.download, log=access.log)
    if out is None and not path.is_file():
        raise InputError(f"{ref} is no file that could be rewritten; say with --out where the calibrated model goes")
    is_run = out is None and (folder / RUN_FILE).is_file()
    if is_run and read_run(folder)["status"] != "finished":
        raise RunError(f"{folder} is not finished, and would go on without it; first: striate train --resume {folder}")
    fit = test = None
    if temperature is not None:
        provenance = {key: value for key, value in model.provenance.items() if key != "calibration"}
        calibrated = replace(model, temperature=temperature, provenance=provenance)
    else:
        calibrated, fit = calibrate(model, source, split=split, access=access)
        if source is None and fit.split == "validation":
            quiet = replace(access, log=log_nothing)
            with suppress(DataError):  # no test part
                before, after = calibration_metrics(
                    model, "test", (fit.temperature_before, fit.temperature), access=quiet
                )
                test = before, after
        if not fit.is_change and out is None:
            return Calibrated(None, model.temperature, fit, test, None)
    save_model(calibrated, path)
    report = _new_report(folder, device, access, network) if is_run else None
    for export in stale_exports(folder, calibrated.temperature) if is_run else ():
        to = {".onnx": "onnx", ".xml": "openvino"}.get(export.suffix, "torch")
        access.log(f"{export} still answers at the temperature before; again: striate export {folder} --to {to}")
    return Calibrated(path, calibrated.temperature, fit, test, report)


def store_sets(
    ref: str | Path,
    coverage: float,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    access: Access | None = None,
) -> tuple[Path, ConformalFit]:
    """Find the threshold for sets of a coverage and keep it in the model file, so that `predict` needs no images for
    it.

    The model is written to `out`, or in its place; the path and what was found come back. Raises as `fit_conformal`
    does; InputError where there is no file to write to.

    `coverage` in (0, 1) is how often sets shall hold the right class.
    """
    access = access or Access()
    path = out or (Path(ref) / MODEL_FILE if Path(ref).is_dir() else Path(ref))
    if path.is_dir() or (out is None and not path.is_file()):
        raise InputError(f"{ref} is no file that could be rewritten; say with --out where the model goes")
    model = load_model(ref, device=device, download=access.download, log=access.log)
    fit = fit_conformal(model, coverage, source, split=split, access=access)
    known = [ConformalFit.from_json(each) for each in model.provenance.get("conformal", ()) or ()]
    kept = [each.to_json() for each in known if each and (each.coverage, each.method) != (coverage, fit.method)]
    provenance = {**model.provenance, "conformal": [*kept, fit.to_json()]}
    save_model(replace(model, provenance=provenance), path)
    return path, fit


def _new_report(run: Path, device: str, access: Access, network: NetworkSource | None) -> Path | None:
    """The model is calibrated by now, so images of the run's own that are gone are told and no error."""
    try:
        return re_evaluate(run, device=device, access=access, network=network).report_path
    except (DataError, RunError) as error:
        access.log(f"the run's figures and report stay as they were: {error}")
        return None
