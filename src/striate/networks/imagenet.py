"""Torchvision's published ImageNet weights: address, preprocessing and class names."""

from striate.data.preprocessing import Interpolation, Preprocessing
from striate.networks.entry import Weights
from striate.units import percent

_FOLDER = "https://download.pytorch.org/models/"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
"""Mean and deviation that bring [0, 1] to [-1, 1], as Google's networks take it."""


def imagenet_preprocessing(
    *,
    resize_size: int = 256,
    crop_size: int = 224,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
    interpolation: Interpolation = "bilinear",
) -> Preprocessing:
    """Short side to `resize_size`, centre crop, RGB in [0, 1] less `mean`, divided by `std`: ImageNet's unless said."""
    return Preprocessing(
        channels=3,
        resize_size=resize_size,
        crop_size=(crop_size, crop_size),
        mean=mean,
        std=std,
        interpolation=interpolation,
    )


def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 names in the order of the outputs (WordNet ids sorted), all different, as torchvision prints them."""
    from torchvision.models import SqueezeNet1_0_Weights  # slow to import, and needed only when names are asked for

    return tuple(SqueezeNet1_0_Weights.IMAGENET1K_V1.meta["categories"])


def imagenet_weights(
    file_name: str,
    *,
    size_mib: float,
    top1: float,
    top5: float,
    name: str = "imagenet",
    preprocessing: Preprocessing | None = None,
    resize_size: int = 256,
    crop_size: int = 224,
    interpolation: Interpolation = "bilinear",
) -> Weights:
    """One of torchvision's files, whose name ends in the first digits of its SHA-256.

    `size_mib` is torchvision's own figure, rounded to a thousandth of 2**20 bytes. `preprocessing` is that of
    `imagenet_preprocessing` with the sizes and interpolation given, unless it is given itself.
    """
    return Weights(
        name=name,
        url=_FOLDER + file_name,
        size_bytes=round(size_mib * 2**20),
        sha256_prefix=file_name.removesuffix(".pth").rpartition("-")[2],
        preprocessing=preprocessing
        or imagenet_preprocessing(resize_size=resize_size, crop_size=crop_size, interpolation=interpolation),
        class_names=imagenet_class_names,
        source=f"torchvision; {percent(top1)} top-1 and {percent(top5)} top-5 on ImageNet's validation images",
    )
