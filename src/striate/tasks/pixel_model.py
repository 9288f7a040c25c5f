"""One differentiable module from pixels to outputs: normalisation, network and temperature.

N images, C channels, H x W pixels, K classes. Images are uint8 in 0..255, or floats in [0, 1].
"""

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
    it gives. The network is the one passed in, not a copy, and mode and gradients are the caller's business. Raises
    InputError for images of another shape; values are not checked.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing)
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, run the network, divide logits by the temperature."""
        outputs = self.network(self.normalize(images.float() if images.dtype == torch.uint8 else images * 255))
        if not isinstance(outputs, WithAuxiliary | Tensor) or (isinstance(outputs, Tensor) and outputs.ndim != 2):
            return outputs
        logits = class_logits(outputs).float()
        return logits if self.temperature == 1 else logits / self.temperature


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
