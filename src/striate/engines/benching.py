"""`striate bench`: measure every engine for one model, say which may be used and which is fastest, remember it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from striate.data.opening import Access
from striate.engines.bench_target import BenchTarget, bench_target_of
from striate.engines.candidates import candidates, needs_export, why_impossible
from striate.engines.choosing import choose, why_not
from striate.engines.engine import AUTO, EXPORTED, REFERENCE, EngineKind, check_engine_name, check_installed
from striate.engines.engine_cache import Measured
from striate.engines.hardware import this_machine
from striate.engines.measurement import Row
from striate.engines.measuring import CALIBRATING, SLOW_NETWORK_S, Plan, measure
from striate.engines.quantising import write_int8
from striate.engines.run_off import run_off
from striate.engines.samples import Samples, built_in_samples, own_samples
from striate.errors import InputError, StriateError
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.model import Model
from striate.training.precision import has_fast_bf16

MOST_IMAGES = 500


@dataclass(frozen=True)
class Bench:
    """The measured engines of a model. `choices` has what "auto" takes at each measured batch size; `gpu` names what
    computed, where that was no processor.
    """

    network_name: str
    images: str
    num_images: int
    batch_sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    choices: dict[int, EngineKind]
    gpu: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; each row with "why_not", the reason why "auto" may not use it, or null."""
        return {
            "network": self.network_name,
            "images": self.images,
            "num_images": self.num_images,
            "batch_sizes": list(self.batch_sizes),
            "machine": this_machine(self.gpu),
            "rows": [{**row.to_json(), "why_not": why_not(row)} for row in self.rows],
            "auto": {str(size): kind.to_json() for size, kind in self.choices.items()},
        }


def bench(
    model: Model | str | Path,
    source: str | Path | None = None,
    *,
    engines: Sequence[str] = (AUTO,),
    plan: Plan | None = None,
    use_int8: bool = False,
    most_images: int = MOST_IMAGES,
    device: torch.device | str = "cpu",
    access: Access | None = None,
) -> Bench:
    """Measure the engines of a model on `device`, on images of a source or on built-in photos, and remember the result.

    With a SOURCE of your own, 16-bit engines can become eligible (engines.choosing), and the table has accuracies where
    the labels are the model's. Without a `plan` nothing new is begun after 90 s, or up to 300 where a slow network
    needs them to judge 16 bits. `engines` names those to measure, all by default. Raises InputError for a name that is
    none, or for a named engine that is not installed. A Model is measured where it is, whatever `device` says.

    At most `most_images` of the source are predicted; `use_int8` measures 8-bit engines too, which are never taken
    unasked.
    """
    access = access or Access()
    for name in engines:
        check_engine_name(name)
        check_installed(name)
    if most_images < 1:
        raise InputError(f"images must be at least 1 but is {most_images}")
    target = bench_target_of(model, device=device, download=access.download, log=access.log)
    samples = samples_for(target.model, source, most_images, access)
    on_gpu = target.model.device.type == "cuda"
    if on_gpu and (use_int8 or set(engines) - {AUTO, "torch", "compile"}):
        raise InputError(
            "on a CUDA device torch and compile are measured, in 32 and 16 bits; add --device cpu for the other engines"
        )
    kinds = candidates(engines=engines, use_int8=use_int8, on_gpu=on_gpu)
    plan = plan or Plan(longest_s=SLOW_NETWORK_S)
    return measure_target(target, samples, kinds, plan, log=access.log, track=access.track)


def samples_for(model: Model, source: str | Path | None, most: int, access: Access) -> Samples:
    """Images of the source, or the built-in ones without."""
    if source is None:
        return built_in_samples(model.preprocessing, model.task)
    return own_samples(source, model.preprocessing, model.task, most=most, access=access)


def measure_target(
    target: BenchTarget,
    samples: Samples,
    kinds: Sequence[EngineKind],
    plan: Plan,
    *,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> Bench:
    """The same once the model is loaded and the images are read."""
    device = target.model.device
    if device.type not in ("cpu", "cuda"):
        raise InputError(
            f"engines are measured on a CPU or a CUDA device but the model is on {device}; move it with to('cpu')"
        )
    problems = _prepare(target, samples, kinds, log)
    has_bf16 = has_fast_bf16(device)

    def reason(kind: EngineKind) -> str | None:
        impossible = why_impossible(kind, has_bf16=has_bf16, has_own_images=samples.is_own)
        if kind.precision == "near-ties" and not target.model.task.has_probabilities:
            return f"low-margin predictions are of classes, and this model is for {target.model.task.name}"
        return impossible or problems.get("int8" if kind.precision == "int8" else kind.name)

    memory = None if device.type == "cpu" else partial(torch.cuda.memory_reserved, device)
    rows = measure(kinds, target.open, samples, plan, why_not=reason, memory=memory, log=log, track=track)
    rows = run_off(rows, target.open_row, samples, plan)
    kept = _earlier(target, rows)
    num_images = _num_compared(rows, len(samples.pixels))
    description = f"{num_images} images: {samples.description}"
    target.engine_cache.write_measured(Measured((*rows, *kept), description))
    choices = {size: row.kind for size in plan.batch_sizes if (row := choose((*rows, *kept), size)) is not None}
    return Bench(
        target.model.network_name,
        samples.description,
        num_images,
        plan.batch_sizes,
        tuple(rows),
        choices,
        target.engine_cache.gpu,
    )


def _num_compared(rows: Sequence[Row], num_images: int) -> int:
    """Number of images that the reference predicted."""
    found = next((row.agreement for row in rows if row.kind == REFERENCE), None)
    return num_images if found is None else found.num_images


def _earlier(target: BenchTarget, rows: Sequence[Row]) -> list[Row]:
    """Rows of engines that this measurement did not ask for."""
    measured = target.engine_cache.read_measured()
    kinds = {row.kind for row in rows}
    return [] if measured is None else [row for row in measured.rows if row.kind not in kinds]


def _prepare(target: BenchTarget, samples: Samples, kinds: Sequence[EngineKind], log: Log) -> dict[str, str]:
    """Make the exported copies; gives back, by engine or "int8", why one could not be made."""
    if not needs_export(kinds):
        return {}
    try:
        target.export(log)
    except StriateError as error:
        return dict.fromkeys((*EXPORTED, "int8"), str(error))
    if any(kind.precision == "int8" for kind in kinds):
        log("quantising to 8 bits on these images")
        try:
            write_int8(target.engine_cache.onnx_path, target.engine_cache.int8_path, samples.pixels[CALIBRATING])
            target.engine_cache.write_about(target.about)
        except StriateError as error:
            return {"int8": str(error)}
    return {}


def exact_kinds(device: torch.device) -> list[EngineKind]:
    """Those that a long prediction measures for itself: float32 only, nothing that must be compiled."""
    return [kind for kind in candidates(only_exact=True, on_gpu=device.type == "cuda") if kind.name != "compile"]


def quick_plan(batch_size: int) -> Plan:
    """The measurement plan of a long prediction."""
    return dataclasses.replace(Plan(), batch_sizes=(batch_size,), repeats=5, batch_s=1.0, budget_s=20.0)
