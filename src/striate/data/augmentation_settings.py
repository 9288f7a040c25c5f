"""The settings of random augmentation, checked when made; a value that is read without torch."""

import math
from dataclasses import dataclass

from striate.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of training images; off by default. InputError for values out of range.

    `crop_scale` (low, high): random resized crop of that share of the area, aspect 3/4 to 4/3; None for the centre
    crop. `crop_size` (height, width): what training sees, where that is less than what evaluation does; random crops
    then keep its aspect to within an eighth. `flip`: left and right change places in half of the images; while
    training, in each image every other epoch. `shift_px`: largest shift in each direction, the border filled by
    reflection. `rotation_degrees`: largest turn either way. `brightness`, `contrast`, `saturation`: largest relative
    change; `hue` in turns of the colour circle (<= 0.5). `pca_color`: standard deviation of AlexNet's noise along the
    principal colours (0.1 in the paper). `cutout_px`: side of a square set to the image's mean colour
    (arXiv:1708.04552; its centre may lie anywhere, so it may stick out). `mixup`: alpha of the Beta distribution
    (arXiv:1710.09412), 0 for none.
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
    crop_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.crop_scale is not None and not (
            len(self.crop_scale) == 2 and 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1
        ):
            raise InputError(
                f"crop_scale must be two shares of the area, 0 < low <= high <= 1, but is {self.crop_scale}"
            )
        if self.crop_size is not None and (
            self.crop_scale is None
            or len(self.crop_size) != 2
            or not all(type(side) is int and side >= 1 for side in self.crop_size)
        ):
            raise InputError(
                f"crop_size must be a height and a width in pixels, beside a crop_scale, but is {self.crop_size}"
            )
        for name in ("shift_px", "brightness", "contrast", "saturation", "pca_color", "cutout_px", "mixup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0 and finite but is {getattr(self, name)}")
        for name in ("shift_px", "cutout_px"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} must be a whole number of pixels but is {getattr(self, name)}")
        for name, high in (("hue", 0.5), ("rotation_degrees", 180)):
            if not 0 <= getattr(self, name) <= high:
                raise InputError(f"{name} must lie in [0, {high:g}] but is {getattr(self, name)}")
