"""Answer with the fastest engine that gives the reference's answers: remembered, measured where that pays, or asked
for.

Nothing here imports torch until an engine needs it: an exported copy that was measured before answers without it.
"""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.engines.choosing import choose, disagreement
from striate.engines.engine import (
    AUTO,
    PRECISIONS,
    REFERENCE,
    Engine,
    EngineKind,
    check_engine_name,
    check_installed,
)
from striate.engines.engine_cache import About, EngineCache, Measured, engine_cache_of
from striate.engines.exported_engines import open_exported_engine
from striate.engines.hardware import may_have_gpu
from striate.engines.identity import model_key
from striate.engines.low_margin import LowMarginRecompute
from striate.engines.measurement import Row
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.predictions import (
    ImageLike,
    Predictions,
    answer_each,
    collect,
    name_images,
)

if TYPE_CHECKING:
    from striate.engines.bench_target import BenchTarget
    from striate.tasks.model import Model

MANY = 4096
"""Images are counted up to here; as many or more are "many"."""
WORTH_MEASURING_S = 120.0
"""A prediction that takes the reference longer than this measures the engines first, for less than half a minute."""
_USUAL = {
    "torch": REFERENCE,
    "compile": EngineKind("compile", "float32"),
    "onnxruntime": EngineKind("onnxruntime", "float32"),
    "openvino": EngineKind("openvino", "float32", "latency"),
}
"""The variant for an engine that is asked for by name and was not measured."""
_MOST_DRIFT, _MOST_SHORT_DRIFT = 1e-3, 0.2
"""Of any probability of noise, in float32 and in shorter types: larger means another network."""
_VARIANTS = {"openvino": "latency", "torch": "channels_last"}


@dataclass(frozen=True)
class EngineRequest:
    """A request for an engine. `precision` None leaves it to the engine: float32, or what was shown to agree with it.

    `num_images` is how many are to be answered, None where that is unknown; `device` as for `load_model`.
    """

    engine: str = AUTO
    precision: str | None = None
    batch_size: int = 32
    num_images: int | None = None
    device: str = "auto"
    download: bool = False

    def __post_init__(self) -> None:
        check_engine_name(self.engine)
        check_installed(self.engine)
        if self.precision is not None and self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)} but is {self.precision!r}")
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1 but is {self.batch_size}")

    @property
    def is_for_cpu(self) -> bool:
        """Whether the CPU is meant, as far as can be told without torch."""
        return self.device == "cpu" or (self.device == AUTO and not may_have_gpu())

    def fits(self, row: Row) -> bool:
        """Whether a measured engine is one of those asked for."""
        is_named = self.engine in (AUTO, row.kind.name)
        return is_named and (self.precision is None or row.kind.precision == self.precision)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model made ready by an engine, and one line that says which engine and why."""

    about: About
    engine: Engine
    line: str

    def answer_in_tiles(self, images: ImageLike | Iterable[ImageLike], *, log: Log = log_nothing) -> Iterator[Any]:
        """The mask of each image at its own resolution, in overlapping tiles (tasks/segmentation/tiling.py).

        InputError where the model's task labels no pixels.
        """
        from striate.tasks.segmentation.tiling import predict_in_tiles

        task = self.about.task
        if not task.labels_pixels:
            raise InputError(f"tiles are for segmentation but this model is for {task.name}; leave --tiles out")
        named = name_images(images, log=log)
        return predict_in_tiles(named, self.about.preprocessing, task.class_names, self.engine.run)

    def answer_each(
        self, images: ImageLike | Iterable[ImageLike], *, top: int = 5, batch_size: int = 32, log: Log = log_nothing
    ) -> Iterator[Any]:
        """What the model's task says of each image, or a PredictionError, in order, in memory that does not grow with
        their number.

        What is passed over in folders goes to `log`.
        """
        return answer_each(
            name_images(images, log=log),
            self.about.preprocessing,
            self.about.task,
            self.engine.run,
            top=top,
            batch_size=batch_size,
        )


def predict(
    model: "Model | str | Path",
    images: ImageLike | Iterable[ImageLike],
    *,
    engine: str = AUTO,
    precision: str | None = None,
    top: int = 5,
    batch_size: int = 32,
    device: str = "auto",
    log: Log = log_nothing,
) -> Predictions:
    """Predict images with a model, or what `load_model` takes for one, by the fastest engine known for it here.

    `engine` is "auto", "torch", "compile", "onnxruntime" or "openvino". "auto" takes what
    `striate.bench` (or a long prediction) found to name the same best class on every image tried; elsewhere two classes
    within rounding of each other (3e-7 in float32, more in 16 bits) may change places. Raises InputError for an engine
    that is not installed or cannot run the network.

    `precision` is "float32", "bfloat16" or "float16", by default what is measured and allowed; the `top` most probable
    classes are given.
    """
    request = EngineRequest(engine, precision, batch_size, count_images(images), device)
    predictor = make_ready(model, request, log=log)
    return collect(predictor.answer_each(images, top=top, batch_size=batch_size, log=log))


def open_engine(
    model: "Model | str | Path",
    engine: str = AUTO,
    *,
    precision: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    log: Log = log_nothing,
) -> Engine:
    """The engine that `predict` would use for many images, to call yourself or to hand to `Model.predict(run=...)`.

    `engine` and `precision` are as for `predict`.
    """
    return make_ready(model, EngineRequest(engine, precision, batch_size, None, device), log=log).engine


def make_ready(model: "Model | str | Path", request: EngineRequest, *, log: Log = log_nothing) -> Predictor:
    """The engine that is asked for, or the fastest eligible one that is remembered for this model here, ready to
    answer.

    An exported copy that was measured before is used without loading the model or importing torch, unless an engine
    that needs torch is sooner done. Raises like `load_model`, and InputError where the engine cannot be had.
    """
    if request.is_for_cpu and isinstance(model, (str, Path)) and (key := model_key(model)):
        predictor = _from_cache(engine_cache_of(key), request, log)
        if predictor is not None:
            return predictor
    return _with_model(model, request, log)


def count_images(images: ImageLike | Iterable[ImageLike]) -> int | None:
    """Count the images, at most MANY; None for an iterator."""
    if isinstance(images, Iterator):
        return None
    return len(list(islice(name_images(images), MANY)))


def _from_cache(engine_cache: EngineCache, request: EngineRequest, log: Log) -> Predictor | None:
    """The remembered engine, where that needs no torch; None where another way must be gone."""
    measured = engine_cache.read_measured(log=log)
    row = None if measured is None else _pick(measured, request, is_torch_there="torch" in sys.modules)
    if row is None or row.kind.needs_torch:
        return None
    about = engine_cache.read_about(log=log)
    if about is None:
        return None
    try:
        return Predictor(about, _open_copy(engine_cache, row), _line_of(row, request))
    except InputError as error:
        log(f"the remembered engine {row.kind} fails ({error}); going the reference")
        return None


def _open_copy(engine_cache: EngineCache, row: Row) -> Engine:
    """The engine of a row on the exported copy."""
    if row.kind.precision != "near-ties":
        return open_exported_engine(engine_cache.copy_for(row.kind), row.kind)
    quick, slow = (
        open_exported_engine(engine_cache.onnx_path, dataclasses.replace(row.kind, precision=precision)).run
        for precision in ("bfloat16", "float32")
    )
    return Engine(row.kind, LowMarginRecompute(quick, slow, row.gap or 0.0))


def _pick(measured: Measured, request: EngineRequest, *, is_torch_there: bool) -> Row | None:
    """The row that is asked for: of eligible ones the soonest done. A precision named outright need not be eligible."""
    rows = [row for row in measured.rows if request.fits(row)]
    found = choose(rows, request.batch_size, num_images=request.num_images, is_torch_there=is_torch_there)
    if found is not None or request.engine == AUTO:
        return found
    precision = request.precision or "float32"
    named = [row for row in rows if row.kind.precision == precision and row.problem is None and row.agreement]
    return max(named, key=lambda row: _speed(row, request), default=None)


def _speed(row: Row, request: EngineRequest) -> float:
    """Images a second at the batch size asked for; 0 where an engine was compared but not timed."""
    timing = row.timing(request.batch_size)
    return timing.images_per_s if timing else 0.0


def _with_model(model: "Model | str | Path", request: EngineRequest, log: Log) -> Predictor:
    """The same with the model loaded."""
    from striate.engines.bench_target import bench_target_of

    device = "cpu" if request.is_for_cpu else request.device
    target = bench_target_of(model, device=device, download=request.download, log=log)
    device_type = target.model.device.type
    if device_type != "cpu" and (device_type != "cuda" or request.engine not in (AUTO, "torch", "compile")):
        return _on_device(target, request)
    measured = target.engine_cache.read_measured(log=log)
    row = None if measured is None else _pick(measured, request, is_torch_there=True)
    if row is not None:
        predictor = _reopened(target, row, request, log)
        if predictor is not None and (isinstance(model, (str, Path)) or _is_still_right(predictor, target)):
            return predictor
    if request.engine == AUTO and request.precision in (None, "float32"):
        return _measured_now(target, request, log) or _reference(target, request)
    return _unmeasured(target, request, log)


def _on_device(target: "BenchTarget", request: EngineRequest) -> Predictor:
    if request.engine not in (AUTO, "torch") or request.precision not in (None, "float32"):
        raise InputError(
            f"the engine {request.engine} does not compute on {target.model.device}, where the model is; add --device "
            "cpu"
        )
    return Predictor(target.about, Engine(REFERENCE, target.model.run), f"computed by torch on {target.model.device}")


def _reopened(target: "BenchTarget", row: Row, request: EngineRequest, log: Log) -> Predictor | None:
    """A remembered engine, opened again; None, and told, where that fails."""
    try:
        return Predictor(target.about, target.open_row(row, request.batch_size), _line_of(row, request))
    except InputError as error:
        log(f"the remembered engine {row.kind} fails ({error}); going the reference")
        return None


def _measured_now(target: "BenchTarget", request: EngineRequest, log: Log) -> Predictor | None:
    """The fastest engine after measuring, where there are so many images that it pays; else None."""
    from striate.engines.benching import exact_kinds, measure_target, quick_plan
    from striate.engines.measuring import time_batches
    from striate.engines.samples import built_in_samples

    if request.num_images is None or request.num_images < 2 * request.batch_size:
        return None
    if target.model.preprocessing.channels not in (1, 3):
        return None
    samples = built_in_samples(target.model.preprocessing, target.model.task)
    plan = quick_plan(min(request.batch_size, 32))
    once = time_batches(target.model.run, samples.pixels, 4, dataclasses.replace(plan, repeats=1))
    if request.num_images / once.images_per_s < WORTH_MEASURING_S:
        return None
    log("many images and nothing remembered for this model here: measuring the engines first, for half a minute")
    measure_target(target, samples, exact_kinds(target.model.device), plan, log=log)
    measured = target.engine_cache.read_measured(log=log)
    row = None if measured is None else _pick(measured, request, is_torch_there=True)
    return None if row is None else _reopened(target, row, request, log)


def _reference(target: "BenchTarget", request: EngineRequest) -> Predictor:
    on_gpu = "" if target.model.device.type == "cpu" else " --device cuda"
    hint = (
        f"; striate bench MODEL{on_gpu} measures what is faster"
        if (request.num_images or 0) > request.batch_size
        else ""
    )
    place = "" if target.model.device.type == "cpu" else f" on {target.model.device}"
    line = f"computed by {REFERENCE}{place}, unmeasured{hint}"
    return Predictor(target.about, Engine(REFERENCE, target.model.run), line)


def _unmeasured(target: "BenchTarget", request: EngineRequest, log: Log) -> Predictor:
    """The engine that is named, compared with the reference on built-in photos before it answers."""
    from striate.engines.measuring import agreement
    from striate.engines.samples import built_in_samples

    kind = _named_kind(request)
    if kind.precision == "near-ties":
        raise InputError("near-ties must be settled on your own images first; run striate bench MODEL SOURCE")
    if not kind.needs_torch:
        target.export(log)
    engine = target.open(kind, request.batch_size)
    if kind == REFERENCE:
        return Predictor(target.about, engine, f"computed by {kind}, as asked")
    try:
        pixels = built_in_samples(target.model.preprocessing, target.model.task).pixels[::4]
    except InputError:
        return Predictor(target.about, engine, f"computed by {kind}, as asked, not compared with torch")
    found = agreement(engine.run(pixels), target.model.run(pixels), target.model.task, is_own=False)
    row = Row(kind, agreement=found)
    _remember_unless_measured(target, row)
    return Predictor(target.about, engine, f"computed by {kind}, as asked{_warning(row)}")


def _named_kind(request: EngineRequest) -> EngineKind:
    """The kind that an engine's name and precision stand for where nothing was measured."""
    if request.engine == AUTO:
        raise InputError(
            f"nothing is remembered of {request.precision} for this model here; run striate bench MODEL SOURCE, or "
            "name an engine"
        )
    if request.precision in (None, "float32"):
        return _USUAL[request.engine]
    if request.engine == "onnxruntime" and request.precision != "int8":
        raise InputError(
            f"onnxruntime does not compute in {request.precision}; choose float32 or int8, or another engine"
        )
    if request.engine in ("torch", "compile") and request.precision == "int8":
        raise InputError(f"{request.engine} does not compute in int8 here; choose onnxruntime or openvino")
    return EngineKind(request.engine, request.precision or "float32", _VARIANTS.get(request.engine, ""))


def _is_still_right(predictor: Predictor, target: "BenchTarget") -> bool:
    """Whether an engine answers two images of noise as the model in memory does, whose code no key can stand for."""
    preprocessing = target.model.preprocessing
    shape = (2, *preprocessing.crop_size, preprocessing.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    difference = np.abs(predictor.engine.run(pixels) - target.model.run(pixels)).max()
    return bool(difference <= (_MOST_DRIFT if predictor.engine.kind.precision == "float32" else _MOST_SHORT_DRIFT))


def _remember_unless_measured(target: "BenchTarget", row: Row) -> None:
    """Keep that an engine named outright was compared, so that it need not be again; "auto" passes untimed ones
    over.
    """
    measured = target.engine_cache.read_measured()
    rows = () if measured is None else measured.rows
    if all(row.kind != each.kind for each in rows):
        images = "built-in photos" if measured is None else measured.images
        target.engine_cache.write_measured(Measured((*rows, row), images))


def _line_of(row: Row, request: EngineRequest) -> str:
    timing = row.timing(
        request.batch_size if request.num_images is None else min(request.batch_size, max(1, request.num_images))
    )
    speed = f", {timing.images_per_s:.0f} images/s at batch {timing.batch_size} when measured" if timing else ""
    return f"computed by {row.kind}{speed}{_warning(row)}"


def _warning(row: Row) -> str:
    """A warning on how this engine's predictions may differ; empty for float32 that agreed."""
    found = row.agreement
    if found is None or (row.kind.precision == "float32" and disagreement(row) is None):
        return ""
    return (
        f"; best class as by torch float32 on {found.num_equal} of {found.num_images} images compared, "
        f"probabilities within {found.max_difference:.2g}"
    )
