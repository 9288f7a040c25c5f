"""A pack that lies whole on a device: batches are picked there, and nothing is copied to it step by step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from striate.data.packed import PackedImages, PreparedImages
from striate.data.preprocessing import center
from striate.data.sampling import check_usable
from striate.data.to_device import send

LARGEST_SHARE = 4
"""At most one part in so many of the memory that is free on a device is for images."""


@dataclass(frozen=True, eq=False)
class ResidentImages:
    """Images of one size: `pixels` (rows, C, H, W) uint8 on a device, of which image i of `packed` is row `rows[i]`."""

    packed: PackedImages
    pixels: Tensor
    rows: np.ndarray

    def batch(self, indices: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The centre (height, width) = `size` of each image: uint8 (n, C, height, width) on the device, contiguous;
        what `read_batch` gives.
        """
        check_usable(self.packed, indices)
        rows = send(torch.from_numpy(self.rows[indices]), self.pixels.device)
        height, width = self.pixels.shape[2:]
        return self.pixels[(rows, slice(None), *center((height, width), size))].contiguous()


def place_on(packed: PreparedImages, device: torch.device, limit_bytes: int) -> ResidentImages | None:
    """The images on `device`; None for a stream, images of several sizes, and more than `limit_bytes`."""
    if not isinstance(packed, PackedImages) or packed.size_bytes > limit_bytes or packed.uniform_shape is None:
        return None
    height, width = packed.uniform_shape
    images = torch.tensor(packed.pixels.reshape(-1, height, width, packed.channels), device=device)
    rows = packed.offsets // (height * width * packed.channels)
    return ResidentImages(packed, images.permute(0, 3, 1, 2).contiguous(), rows)


def room_on(device: torch.device) -> int:
    """Bytes that images may take on `device`; none but on CUDA, since only there a copy is needed and can be saved."""
    return torch.cuda.mem_get_info(device)[0] // LARGEST_SHARE if device.type == "cuda" else 0
