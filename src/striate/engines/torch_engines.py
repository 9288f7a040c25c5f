"""The engines that are torch: eager in several layouts and precisions, and compiled. N images, K classes."""

import numpy as np
import torch
from torch import Tensor, nn

from striate.engines.engine import REFERENCE, Engine, EngineKind
from striate.errors import InputError
from striate.export.graph import PixelsToProbabilities
from striate.machine import has_cpp_compiler
from striate.tasks.answering import Run
from striate.tasks.classification import class_probabilities
from striate.tasks.model import Model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def open_torch(model: Model, kind: EngineKind, *, batch_size: int) -> Engine:
    """The torch or compiled engine of this kind; the model stays as it is. Compiling happens here, for `batch_size`.

    InputError where there is no C++ compiler, or the network cannot be compiled or does not run in this precision.
    """
    if kind == REFERENCE:
        return Engine(kind, model.run)
    module = InPrecision(PixelsToProbabilities(model, resize=False), _DTYPES[kind.precision])
    if kind.variant == "channels_first":
        module.is_channels_last = False
    else:
        module.network.to(memory_format=torch.channels_last)
    if kind.name == "torch":
        return Engine(kind, _eager(module))
    return Engine(kind, _compiled(module, batch_size, (*model.preprocessing.crop_size, model.preprocessing.channels)))


class InPrecision(nn.Module):
    """Pixels (N, H, W, C) uint8 -> probabilities (N, K) float32, the network between them computing in `dtype`.

    Pixels are prepared, and the softmax is taken, in float32. The network of `exact` is changed in place.
    """

    def __init__(self, exact: PixelsToProbabilities, dtype: torch.dtype) -> None:
        super().__init__()
        self.normalize, self.network, self.dtype = exact.normalize, exact.network.to(dtype), dtype
        self.temperature = exact.temperature
        self.is_channels_last = True
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # channels last in memory, as images come
        if not self.is_channels_last:
            pixels = pixels.contiguous()
        return class_probabilities(self.network(self.normalize(pixels).to(self.dtype)), self.temperature)


def _eager(module: nn.Module) -> Run:
    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answer: np.ndarray = module(torch.from_numpy(pixels)).numpy()
        return answer

    return run


def _compiled(module: nn.Module, batch_size: int, size: tuple[int, int, int]) -> Run:
    """The module compiled for batches of `batch_size` images (H, W, C), weights frozen into the code, run once.

    Smaller batches are filled up, larger ones cut into pieces: another size would be compiled anew, for half a minute.
    """
    if not has_cpp_compiler():
        raise InputError("the engine compile needs a C++ compiler; install g++, or use --engine torch")
    compiled = torch.compile(module, dynamic=False, options={"freezing": True})

    def run(pixels: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(pixels), batch_size):
            part = pixels[start : start + batch_size]
            filled = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.uint8)])
            with torch.no_grad():
                parts.append(compiled(torch.from_numpy(filled)).numpy()[: len(part)])
        return np.concatenate(parts)

    try:
        run(np.zeros((batch_size, *size), np.uint8))
    except Exception as error:  # whatever a compiler meets
        line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"the network cannot be compiled: {line[:200]}; use --engine torch") from error
    return run
