"""What happens to every image between its file and the network, as a value that travels in the model file.

Two stages. On one decoded image, in uint8: resize, then centre crop. On a batch, in float: scale, order of channels, mean and
standard deviation. Training, evaluation, prediction and export share both, so that an image is always seen the same way.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.errors import InputError

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
MAX_ASPECT = 2
"""After resizing, no side is kept longer than this many times the short one: the rest, at both ends, is cut off."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    `resize` brings the short side ("short_side", aspect kept) or both sides ("stretch") to `resize_size` pixels, antialiased;
    then the centre of `crop_size` (height, width) is cut out. Pixels 0..255 are multiplied by `scale`, put in `channel_order`,
    and `mean` is subtracted and `std` divided by, one number a channel, in the units after scaling and the order after ordering.
    Raises InputError when the parts do not fit together.
    """

    channels: int
    resize_size: int
    crop_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["short_side", "stretch"] = "short_side"
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"
    channel_order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        if self.channels < 1 or not (len(self.mean) == len(self.std) == self.channels):
            raise InputError(
                f"preprocessing needs one mean and one std a channel but has {self.channels} channels, "
                f"{len(self.mean)} means and {len(self.std)} stds"
            )
        if self.resize not in ("short_side", "stretch") or self.interpolation not in _FILTERS:
            raise InputError(f"preprocessing cannot resize by {self.resize!r} with {self.interpolation!r} interpolation")
        if self.channel_order not in ("RGB", "BGR") or (self.channel_order == "BGR" and self.channels != 3):
            raise InputError(f"channel order {self.channel_order!r} does not fit {self.channels} channels")
        if min(self.crop_size) < 1 or self.resize_size < max(self.crop_size):
            raise InputError(f"a crop of {self.crop_size} pixels does not fit into images resized to {self.resize_size}")
        if not min(self.std) > 0:
            raise InputError(f"every std must be above 0 but they are {self.std}")

    def resize_image(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, C) uint8, resized and its overlong ends cut: (h, w, C) uint8. This is what gets packed."""
        height, width = image.shape[:2]
        new_height, new_width = self.resized_size(height, width)
        resized = image if (new_height, new_width) == (height, width) else self._resample(image, new_height, new_width)
        longest = MAX_ASPECT * self.resize_size
        return crop_center(resized, (min(new_height, longest), min(new_width, longest)))

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after resizing, before anything is cut; torchvision's rounding."""
        size = self.resize_size
        if self.resize == "stretch":
            return size, size
        if height <= width:
            return size, int(size * width / height)
        return int(size * height / width), size

    def to_pixels(self, image: np.ndarray) -> np.ndarray:
        """One decoded image (H, W, C) uint8 -> (crop height, crop width, C) uint8."""
        return crop_center(self.resize_image(image), self.crop_size)

    def normalize(self, images: Tensor) -> Tensor:
        """A batch (N, C, H, W) of pixels 0..255, uint8 or float -> float32 as the network wants it."""
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise InputError(
                f"expected images (N, {self.channels}, H, W) but got {tuple(images.shape)}; "
                "give pixels 0..255 with the model's number of channels"
            )
        if self.channel_order == "BGR":
            images = images.flip(1)
        shape = (1, self.channels, 1, 1)
        # one multiply-add a pixel: (pixel * scale - mean) / std
        gain = torch.tensor([self.scale / std for std in self.std], device=images.device).view(shape)
        offset = torch.tensor(
            [-mean / std for mean, std in zip(self.mean, self.std, strict=True)], device=images.device
        ).view(shape)
        return torch.addcmul(offset, images.to(torch.float32), gain)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`; InputError for unknown or missing fields."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(values) - known:
            raise InputError(f"preprocessing has unknown fields: {', '.join(sorted(unknown))}")
        try:
            tuples = {key: tuple(values[key]) for key in ("crop_size", "mean", "std")}
            return cls(**{**values, **tuples})
        except (KeyError, TypeError) as error:
            raise InputError(f"preprocessing is incomplete: {error}") from None

    def _resample(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        """Pillow's antialiased resize of (H, W, C) uint8, channel by channel where Pillow has no such mode."""
        resample = _FILTERS[self.interpolation]
        if image.shape[2] == 3:
            return np.asarray(Image.fromarray(image).resize((width, height), resample))
        planes = [Image.fromarray(image[..., c]).resize((width, height), resample) for c in range(image.shape[2])]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def crop_center(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle (h, w) of an image (H, W, C), as a view; torchvision's rounding of the offset."""
    height, width = image.shape[:2]
    top, left = round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)
    return image[top : top + size[0], left : left + size[1]]
