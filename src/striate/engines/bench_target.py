"""The model that engines compute for: loaded, with its place in the cache, and its exported copy made when first
needed.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from striate.engines.engine import Engine, EngineKind
from striate.engines.engine_cache import About, EngineCache, engine_cache_of
from striate.engines.exported_engines import open_exported_engine
from striate.engines.identity import content_key, model_key
from striate.engines.low_margin import LowMarginRecompute
from striate.engines.measurement import Row
from striate.engines.torch_engines import open_torch
from striate.errors import InputError
from striate.export.onnx_file import write_onnx
from striate.networks.given import code_digest
from striate.progress import Log, log_nothing
from striate.tasks.model import Model, gpu_name, load_model


@dataclass(frozen=True, eq=False)
class BenchTarget:
    """A model and where its copies and measurements are kept."""

    model: Model
    engine_cache: EngineCache

    @property
    def about(self) -> About:
        """The description stored beside an exported copy."""
        return About(self.model.network_name, self.model.preprocessing, self.model.task)

    def export(self, log: Log = log_nothing) -> None:
        """Make the exported copy unless it is there. InputError where the network cannot be exported."""
        if self.engine_cache.read_about() is not None:
            return
        log(f"exporting {self.model.network_name} once, for the engines that run a copy of it")
        self.engine_cache.int8_path.unlink(missing_ok=True)
        try:
            write_onnx(self.model, self.engine_cache.onnx_path, resize=False)
        except OSError as error:
            raise InputError(
                f"{self.engine_cache.folder} cannot be written ({error.strerror or error}); set STRIATE_CACHE to a "
                "folder that can"
            ) from None
        self.engine_cache.write_about(self.about)

    def open(self, kind: EngineKind, batch_size: int) -> Engine:
        """The engine of this kind for this model, exported first where it must be. Not for low-margin predictions: see
        `open_row`.
        """
        if kind.needs_torch:
            return open_torch(self.model, kind, batch_size=batch_size)
        self.export()
        return open_exported_engine(self.engine_cache.copy_for(kind), kind)

    def open_row(self, row: Row, batch_size: int) -> Engine:
        """The engine that a row of measurements is about."""
        if row.kind.precision != "near-ties":
            return self.open(row.kind, batch_size)
        quick = self.open(dataclasses.replace(row.kind, precision="bfloat16"), batch_size)
        slow = self.open(dataclasses.replace(row.kind, precision="float32"), batch_size)
        return Engine(row.kind, LowMarginRecompute(quick.run, slow.run, row.gap or 0.0))


def bench_target_of(
    model: Model | str | Path,
    *,
    device: torch.device | str = "cpu",
    download: bool = False,
    log: Log = log_nothing,
) -> BenchTarget:
    """A model, or what `load_model` takes for one, and its place in the cache. Raises like `load_model`."""
    loaded = model if isinstance(model, Model) else load_model(model, device=device, download=download, log=log)
    key = None if isinstance(model, Model) else model_key(model)
    return BenchTarget(loaded, engine_cache_of(key or _key_of(loaded), gpu_name(loaded.device)))


def _key_of(model: Model) -> str:
    """The key of a model in memory: everything that is known of it, its modules as they print, and its weights."""
    parts = {
        "network": model.network_name,
        "config": model.network_config,
        "class_names": model.class_names,
        "preprocessing": model.preprocessing.to_json(),
        "temperature": model.temperature,
        "task": [model.task.name, model.task.settings()],
        "modules": repr(model.network),
        "type": f"{type(model.network).__module__}.{type(model.network).__qualname__}",
        "code": code_digest(model.network),
    }
    state = [
        (f"{name} {tensor.dtype} {tuple(tensor.shape)}", tensor.detach().cpu().contiguous().view(-1).view(torch.uint8))
        for name, tensor in model.network.state_dict().items()
        if isinstance(tensor, torch.Tensor)
    ]
    return content_key(parts, [(name, data.numpy().tobytes()) for name, data in state])
