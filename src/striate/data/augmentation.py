"""Random changes to whole batches of training images, as a value and as a function of that value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """What happens at random to training images; every default is "nothing".

    `crop_scale` (low, high): random resized crop of that share of the area, aspect 3/4 to 4/3; None for the centre crop.
    `shift_px`: largest shift in each direction, the border filled by reflection. `rotation_degrees`: largest turn either way.
    `brightness`, `contrast`, `saturation`: largest relative change; `hue` in turns of the colour circle (<= 0.5).
    `pca_color`: standard deviation of AlexNet's noise along the principal colours. `cutout_px`: side of a square set to the mean.
    `mixup`: alpha of the Beta distribution (arXiv:1710.09412), 0 for none.
    """

    crop_scale: tuple[float, float] | None = None
    flip: bool = False
    shift_px: int = 0
    rotation_degrees: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    pca_color: float = 0.0
    cutout_px: int = 0
    mixup: float = 0.0
