"""The way of an image through a model, from raw pixels to probabilities, as one module that exporters can follow."""

import copy
import inspect

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.export.resampling import ResizeAndCrop
from striate.networks.given import EXTERNAL
from striate.tasks.model import Model
from striate.tasks.pixel_model import Normalize, plain_layout


class PixelsToProbabilities(nn.Module):
    """Pixels (N, H, W, C) uint8 -> probabilities (N, K) float32: what `Model` does, in evaluation mode.

    With `resize` images of any size are resized and cropped inside; without, H x W is `preprocessing.crop_size`, what
    `Preprocessing.to_pixels` gives. The network is a copy on the CPU, so that the model stays as it is, and computes in
    `dtype`; pixels are prepared, and probabilities taken, in float32. Raises InputError where the network takes
    anything but one batch of images.

    Not a PixelModel, whose images are (N, C, H, W), but its normalisation: the one whose numbers travel in a program.
    """

    def __init__(self, model: Model, *, resize: bool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        _check_one_input(model)
        self.resize = ResizeAndCrop(model.preprocessing) if resize else None
        self.normalize = Normalize(model.preprocessing)
        self.task = model.task
        self.temperature = model.temperature
        self.layout = "plain" if model.network_name == EXTERNAL else "given"
        self.network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False).to(dtype)
        self.dtype = dtype
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # (N, C, H, W), channels last in memory as images come
        if self.layout == "plain":
            pixels = plain_layout(pixels)
        elif self.layout == "channels_first":  # grey images are both, and convolved faster as they come
            pixels = pixels.contiguous()
        if self.resize is not None:
            pixels = self.resize(pixels)
        inputs = self.normalize(pixels)
        return self.task.readout(
            self.network(inputs if self.dtype == torch.float32 else inputs.to(self.dtype)), self.temperature
        )


def _check_one_input(model: Model) -> None:
    parameters = inspect.signature(model.network.forward).parameters.values()
    needed = [
        each.name for each in parameters if each.default is each.empty and each.kind <= each.POSITIONAL_OR_KEYWORD
    ]
    if len(needed) > 1:
        raise InputError(
            f"{model.network_name} takes {len(needed)} inputs ({', '.join(needed)}) but an exported model takes one "
            "batch of images; wrap it in a module that makes the others itself"
        )
