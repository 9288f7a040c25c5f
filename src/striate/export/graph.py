"""The way of an image through a model, from raw pixels to probabilities, as one module that exporters can follow."""

import copy
import inspect

import torch
from torch import Tensor, nn

from striate.data.mean_image import decode_mean_image
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.export.resampling import ResizeAndCrop
from striate.networks.given import plain_for
from striate.tasks.model import Model


class PixelsToProbabilities(nn.Module):
    """Pixels (N, H, W, C) uint8 -> probabilities (N, K) float32: what `Model` does, in evaluation mode.

    With `resize` images of any size are resized and cropped inside; without, H x W is `preprocessing.crop_size`, what
    `Preprocessing.to_pixels` gives. The network is a copy on the CPU, so that the model stays as it is. Raises
    InputError where the network takes anything but one batch of images.
    """

    def __init__(self, model: Model, *, resize: bool) -> None:
        super().__init__()
        _check_one_input(model)
        self.resize = ResizeAndCrop(model.preprocessing) if resize else None
        self.normalize = Normalize(model.preprocessing)
        self.task = model.task
        self.temperature = model.temperature
        self.network_name = model.network_name
        self.network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        pixels = plain_for(self.network_name, images.permute(0, 3, 1, 2).to(torch.float32))  # (N, C, H, W)
        if self.resize is not None:
            pixels = self.resize(pixels)
        return self.task.readout(self.network(self.normalize(pixels)), self.temperature)


class Normalize(nn.Module):
    """`Preprocessing.normalize` with its numbers as buffers: pixels (N, C, h, w) float32 -> the network's input."""

    gain: Tensor
    offset: Tensor
    mean_image: Tensor | None

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        shape = (1, preprocessing.channels, 1, 1)
        gains = [preprocessing.scale / std for std in preprocessing.std]
        offsets = [-mean / std for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)]
        self.register_buffer("gain", torch.tensor(gains, dtype=torch.float32).view(shape))
        self.register_buffer("offset", torch.tensor(offsets, dtype=torch.float32).view(shape))
        self.register_buffer("mean_image", _mean_pixels(preprocessing))
        self.is_reversed = preprocessing.channel_order == "BGR"

    def forward(self, pixels: Tensor) -> Tensor:
        if self.mean_image is not None:
            pixels = pixels - self.mean_image
        if self.is_reversed:
            pixels = pixels.flip(1)
        return torch.addcmul(self.offset, pixels, self.gain)


def _mean_pixels(preprocessing: Preprocessing) -> Tensor | None:
    """The mean image (C, h, w) float32, where there is one."""
    if preprocessing.mean_image is None:
        return None
    pixels = decode_mean_image(preprocessing.mean_image, preprocessing.crop_size, preprocessing.channels)
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)


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
