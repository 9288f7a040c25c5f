"""Maps brought to the size of the images they explain."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def enlarge(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, h, w) or (N, C, h, w) resized bilinearly to (height, width) = `size`, pixel centres aligned as by torch.

    Class activation maps are enlarged so, as Grad-CAM's authors do.
    """
    planes = maps[:, None] if maps.ndim == 3 else maps
    resized = F.interpolate(planes.float(), size=tuple(size), mode="bilinear", align_corners=False)
    return resized[:, 0] if maps.ndim == 3 else resized
