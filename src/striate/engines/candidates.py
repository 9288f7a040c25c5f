"""Candidate engines on this machine, the most promising first, and reasons against the others."""

from collections.abc import Iterable

from striate.engines.engine import AUTO, EXPORTED, REFERENCE, EngineKind, is_installed
from striate.processor import has_cpp_compiler

_READY = (  # time may run out on a large network, so what has been the fastest on most comes early
    REFERENCE,
    EngineKind("openvino", "float32", "latency"),
    EngineKind("onnxruntime", "float32"),
    EngineKind("openvino", "bfloat16", "latency"),
    EngineKind("openvino", "near-ties", "latency"),
    EngineKind("openvino", "float32", "throughput"),
    EngineKind("openvino", "bfloat16", "throughput"),
    EngineKind("openvino", "near-ties", "throughput"),
    EngineKind("torch", "float32", "channels_last"),
    EngineKind("torch", "bfloat16", "channels_last"),
    EngineKind("torch", "near-ties", "channels_last"),
    EngineKind("torch", "float32", "channels_first"),
)
_INT8 = (EngineKind("openvino", "int8", "latency"), EngineKind("onnxruntime", "int8"))
_COMPILED = (EngineKind("compile", "float32"), EngineKind("compile", "bfloat16"))


_GPU = (
    REFERENCE,
    EngineKind("torch", "float32", "graph"),
    EngineKind("torch", "float16", "graph"),
    EngineKind("torch", "bfloat16", "graph"),
    EngineKind("torch", "near-ties", "graph"),
    EngineKind("torch", "float32", "channels_last"),
    EngineKind("torch", "float16", "channels_last"),
    EngineKind("compile", "float32"),
    EngineKind("compile", "float16"),
)


def candidates(
    *, engines: Iterable[str] = (AUTO,), use_int8: bool = False, only_exact: bool = False, on_gpu: bool = False
) -> list[EngineKind]:
    """The kinds to try, in this order: the reference first, the cheap ones, what must be compiled last.

    `engines` may name some of them; the reference is always there, to compare with. `only_exact` leaves out whatever
    computes in less than float32; `on_gpu` gives those of a CUDA device, which are torch's.
    """
    kinds = [*_GPU] if on_gpu else [*_READY, *(_INT8 if use_int8 else ()), *_COMPILED]
    if only_exact:
        kinds = [kind for kind in kinds if kind.precision == "float32"]
    wanted = set(engines)
    return [kind for kind in kinds if kind == REFERENCE or AUTO in wanted or kind.name in wanted]


def why_impossible(kind: EngineKind, *, has_bf16: bool, has_own_images: bool) -> str | None:
    """Why a kind need not be tried here, in a few words; None where it can be."""
    if not is_installed(kind.name):
        extra = "onnx" if kind.name == "onnxruntime" else kind.name
        return f"not installed; pip install 'striate[{extra}]'"
    if kind.precision in ("bfloat16", "near-ties") and not has_bf16:
        return "there is no bfloat16 arithmetic here"
    if kind.precision == "near-ties" and not has_own_images:
        return "needs a SOURCE of your own images"
    if kind.name == "compile" and not has_cpp_compiler():
        return "needs a C++ compiler"
    return None


def needs_export(kinds: Iterable[EngineKind]) -> bool:
    """Whether an exported copy is needed for any of them."""
    return any(kind.name in EXPORTED and is_installed(kind.name) for kind in kinds)
