"""An inference engine, by name, precision and variant. Imports no torch."""

import os
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from striate.data.parallel import num_processors
from striate.data.stored_values import stored_table, stored_text
from striate.errors import InputError
from striate.tasks.predictions import ForwardFn

ENGINES = ("torch", "compile", "onnxruntime", "openvino")
AUTO = "auto"
PRECISIONS = ("float32", "bfloat16", "float16", "near-ties", "int8")
"""near-ties: bfloat16 first, and again in float32 where the two best classes are close (engines.near_ties). float16 is
for GPUs.
"""
EXPORTED = ("onnxruntime", "openvino")
"""These run an exported copy of the model and need no torch."""
_PACKAGES = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "openvino")}


@dataclass(frozen=True, order=True)
class EngineKind:
    """One way of computing. `variant` is a layout (torch: "plain", "channels_first", "channels_last"; "graph" is the
    last, replayed by a GPU as CUDA graphs) or OpenVINO's hint ("latency", "throughput"); empty where there is only one.
    """

    name: str
    precision: str = "float32"
    variant: str = ""

    def __post_init__(self) -> None:
        if self.name not in ENGINES or self.precision not in PRECISIONS:
            raise InputError(
                f"there is no engine {self.name!r} of precision {self.precision!r}; "
                f"engines are {', '.join(ENGINES)}, precisions {', '.join(PRECISIONS)}"
            )

    @property
    def needs_torch(self) -> bool:
        """Whether torch must be imported to use it."""
        return self.name not in EXPORTED

    @property
    def is_for_one_batch_size(self) -> bool:
        """Whether it is made for a single batch size, which a smaller batch is filled up to."""
        return self.name == "compile"

    def __str__(self) -> str:
        """ "openvino bfloat16 (latency)" """
        variant = f" ({self.variant.replace('_', ' ')})" if self.variant else ""
        return f"{self.name} {self.precision}{variant}"

    def to_json(self) -> dict[str, str]:
        """{"name", "precision", "variant"}"""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "EngineKind":
        """The inverse of `to_json`; InputError, TypeError or ValueError for anything else."""
        return cls(**{key: stored_text(value) for key, value in stored_table(values).items()})


REFERENCE = EngineKind("torch", "float32", "plain")
"""The reference that all others are measured against: `Model.run`."""


@dataclass(frozen=True, eq=False)
class Engine:
    """An engine ready for one model: `run` takes pixels (N, H, W, C) uint8 and gives probabilities (N, K) float32."""

    kind: EngineKind
    run: ForwardFn


def check_engine_name(name: str) -> None:
    """InputError unless it is "auto" or an engine's name."""
    if name != AUTO and name not in ENGINES:
        raise InputError(f"engine must be one of {', '.join((AUTO, *ENGINES))} but is {name!r}")


def is_installed(name: str) -> bool:
    """Whether the engine's package can be imported, found out without importing it."""
    return name not in _PACKAGES or find_spec(_PACKAGES[name][0]) is not None


def check_installed(name: str) -> None:
    """InputError, naming what to install, where the engine's package is missing."""
    if not is_installed(name):
        package, extra = _PACKAGES[name]
        raise InputError(
            f"the engine {name} needs the package {package}; install it with pip install 'striate[{extra}]'"
        )


def num_threads() -> int:
    """Number of threads for every engine: OMP_NUM_THREADS, else one for each processor of this process."""
    chosen = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(chosen) if chosen.isdecimal() and int(chosen) > 0 else num_processors()
