"""The engines that are torch: eager in several layouts and precisions, and compiled. N images, K classes."""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.to_device import send
from striate.engines.engine import REFERENCE, Engine, EngineKind
from striate.errors import InputError
from striate.export.graph import PixelsToProbabilities
from striate.networks.restore import exact_float32
from striate.processor import has_cpp_compiler
from striate.tasks.model import Model
from striate.tasks.predictions import ForwardFn
from striate.training.randomness import renew_streams

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MOST_GRAPHS = 4  # of as many sizes of batches; each keeps its own memory


def open_torch(model: Model, kind: EngineKind, *, batch_size: int) -> Engine:
    """The torch or compiled engine of this kind, where the model is; that stays as it is. Compiling happens here, for
    `batch_size`.

    InputError where there is no C++ compiler, or the network cannot be compiled or does not run in this precision.
    """
    if kind == REFERENCE:
        return Engine(kind, model.run)
    module = PixelsToProbabilities(model, resize=False, dtype=_DTYPES[kind.precision]).to(model.device)
    module.layout = kind.variant if kind.variant == "channels_first" else "given"
    if module.layout == "given":
        module.network.to(memory_format=torch.channels_last)
    if kind.variant == "graph":
        return Engine(kind, Graphs(module, model.device))
    if kind.name == "torch":
        return Engine(kind, _eager(module, model.device))
    size = (*model.preprocessing.crop_size, model.preprocessing.channels)
    return Engine(kind, _compiled(module, batch_size, size, model.device))


def _eager(module: nn.Module, device: torch.device) -> ForwardFn:
    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad(), exact_float32():
            answer: np.ndarray = module(send(torch.from_numpy(pixels), device)).cpu().numpy()
        return answer

    return run


class Graphs:
    """A module whose kernels a CUDA device replays at once, a CUDA graph for each size of batch that it has seen of
    late.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        if device.type != "cuda":
            raise InputError(f"CUDA graphs need a CUDA device but the model is on {device}; use --engine torch")
        self.module = module
        self.device = device
        self.graphs: OrderedDict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = OrderedDict()

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, H, W, C) uint8 -> probabilities (N, K) float32."""
        images = torch.from_numpy(pixels).pin_memory()
        if pixels.shape not in self.graphs:
            while len(self.graphs) >= _MOST_GRAPHS:
                self.graphs.popitem(last=False)
            self.graphs[pixels.shape] = self._captured(images)
        self.graphs.move_to_end(pixels.shape)
        graph, given, found = self.graphs[pixels.shape]
        given.copy_(images, non_blocking=True)
        graph.replay()
        answer: np.ndarray = found.cpu().numpy()
        return answer

    def _captured(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The graph, and where in memory it expects the pixels and leaves the answers."""
        given = images.to(self.device)
        with exact_float32():
            for _ in range(2):  # libraries set themselves up, which no graph may hold
                self.module(given)
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    found = self.module(given)
            except RuntimeError as error:
                renew_streams(self.device)
                reason = str(error).splitlines()[0][:200]
                raise InputError(f"the network cannot be a CUDA graph: {reason}; use --engine torch") from error
        return graph, given, found


def _compiled(module: nn.Module, batch_size: int, size: tuple[int, int, int], device: torch.device) -> ForwardFn:
    """The module compiled for batches of `batch_size` images (H, W, C), weights frozen into the code, run once.

    Smaller batches are filled up, larger ones cut into pieces: another size would be compiled anew, for half a minute.
    """
    if not has_cpp_compiler():
        raise InputError("the engine compile needs a C++ compiler; install g++, or use --engine torch")
    options: dict[str, Any] = {"freezing": True, "triton.cudagraphs": device.type == "cuda"}
    compiled = torch.compile(module, dynamic=False, options=options)

    def run(pixels: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(pixels), batch_size):
            part = pixels[start : start + batch_size]
            filled = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.uint8)])
            with torch.no_grad(), exact_float32():
                parts.append(compiled(send(torch.from_numpy(filled), device)).cpu().numpy()[: len(part)])
        return np.concatenate(parts)

    try:
        run(np.zeros((batch_size, *size), np.uint8))
    except Exception as error:  # whatever a compiler meets
        line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"the network cannot be compiled: {line[:200]}; use --engine torch") from error
    return run
