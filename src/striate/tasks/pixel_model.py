"""The one forward pass from pixels to outputs: normalisation, network and temperature, differentiable.

N images, C channels, H x W pixels, K classes. Images are uint8 in 0..255, or floats in [0, 1]. Pixels in 0..255 are
prepared as they are in training, bit for bit, by `Preprocessing.normalize`, which takes half the time of the module
that gradients go through.
"""

from typing import Any

import torch
from torch import Tensor, nn

from striate.data.mean_image import decode_mean_image
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.classification.logits import class_logits


class PixelModel(nn.Module):
    """Images (N, C, H, W), uint8 in 0..255 or float in [0, 1] -> what the network outputs, differentiable by float
    images.

    A classifier's output is its logits (N, K) float32, divided by `temperature`; a network for another task gives what
    it gives. The network is the one passed in, not a copy, and mode and gradients are the caller's business; the
    numbers of the normalisation are put where its parameters are. `is_plain` gives the network images in PyTorch's
    plain layout, which one from Python may count on. Raises InputError for images of another shape; values are not
    checked.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        temperature: float = 1.0,
        is_plain: bool = False,
    ) -> None:
        super().__init__()
        place = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        self.normalize = Normalize(preprocessing).to(place)
        self.preprocessing = preprocessing
        self.network = network
        self.temperature = temperature
        self.is_plain = is_plain

    def inputs(self, images: Tensor) -> Tensor:
        """What the network is given for images: (N, C, H, W), normalised."""
        if images.dtype == torch.uint8:
            return network_inputs(self.preprocessing, images, is_plain=self.is_plain).to(self.normalize.gain.dtype)
        return self.normalize(plain_layout(images) * 255 if self.is_plain else images * 255)

    def outputs(self, images: Tensor) -> Any:
        """What the network gives for images, as it is."""
        return self.network(self.inputs(images))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, run the network, divide logits by the temperature."""
        outputs = self.outputs(images)
        if not isinstance(outputs, WithAuxiliary | Tensor) or (isinstance(outputs, Tensor) and outputs.ndim != 2):
            return outputs
        logits = class_logits(outputs).float()
        return logits if self.temperature == 1 else logits / self.temperature


def network_inputs(preprocessing: Preprocessing, pixels: Tensor, *, is_plain: bool = False) -> Tensor:
    """Pixels (N, C, H, W) uint8 -> what the network is given, (N, C, H, W) float32; `is_plain` as for PixelModel."""
    return preprocessing.normalize(plain_layout(pixels) if is_plain else pixels)


def plain_layout(images: Tensor) -> Tensor:
    """A copy of images (N, C, H, W), one channel of a row after another in memory, as PyTorch's own tensors lie."""
    return images.clone(memory_format=torch.contiguous_format)


class Normalize(nn.Module):
    """`Preprocessing.normalize` with its numbers as buffers: pixels (N, C, H, W) float in [0, 255] -> the network's
    input.
    """

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
        self.channels = preprocessing.channels
        self.is_reversed = preprocessing.channel_order == "BGR"

    def forward(self, pixels: Tensor) -> Tensor:
        """Subtract the mean image, order the channels, scale and shift each."""
        if pixels.ndim != 4 or pixels.shape[1] != self.channels:
            raise InputError(
                f"expected images (N, {self.channels}, H, W) but got {tuple(pixels.shape)}; "
                "give pixels with the model's number of channels"
            )
        if self.mean_image is not None:
            pixels = pixels - self.mean_image
        if self.is_reversed:
            pixels = pixels.flip(1)
        return torch.addcmul(self.offset, pixels, self.gain)


def _mean_pixels(preprocessing: Preprocessing) -> Tensor | None:
    """The mean image (C, H, W) float32, where there is one."""
    if preprocessing.mean_image is None:
        return None
    pixels = decode_mean_image(preprocessing.mean_image, preprocessing.crop_size, preprocessing.channels)
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)
