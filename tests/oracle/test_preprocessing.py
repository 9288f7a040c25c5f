"""Preprocessing against torchvision's v2 transforms on Pillow images, with random shapes and with real photos."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from striate.data.preprocessing import Interpolation, Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_chain(preprocessing: Preprocessing) -> v2.Compose:
    size = preprocessing.resize_size
    return v2.Compose(
        [
            v2.Resize(
                [size, size] if preprocessing.resize == "stretch" else size,
                interpolation=v2.InterpolationMode[preprocessing.interpolation.upper()],
            ),
            v2.CenterCrop(list(preprocessing.crop_size)),
            v2.PILToTensor(),
        ]
    )


def both(preprocessing: Preprocessing, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """The pixels (C, H, W) that we make of an image, and that torchvision makes."""
    pillow = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
    ours = torch.from_numpy(preprocessing.to_pixels(image).copy()).permute(2, 0, 1)
    return ours, torchvision_chain(preprocessing)(pillow)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", ["short_side", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_same_pixels_as_torchvision(channels: int, resize: str, interpolation: Interpolation) -> None:
    """Bit for bit, at any size up to twice as long as wide: both resize with Pillow and must round sizes alike."""
    rng = np.random.default_rng(channels)
    for _ in range(40):
        short = int(rng.integers(1, 90))
        height, width = rng.permutation([short, int(short * rng.uniform(1, 2))])
        size = int(rng.integers(1, 70))
        crop = (int(rng.integers(1, size + 1)), int(rng.integers(1, size + 1)))
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        preprocessing = Preprocessing(channels, size, crop, zeros, ones, resize, interpolation)  # type: ignore[arg-type]
        ours, theirs = both(preprocessing, rng.integers(0, 256, (height, width, channels), np.uint8))
        assert torch.equal(ours, theirs), (height, width, preprocessing)


def test_overlong_images_are_cut_where_torchvision_cuts() -> None:
    """Smooth images of up to 1 : 40, within rounding: ours resizes only the middle, torchvision the whole."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.permutation([int(rng.integers(3, 30)), int(rng.integers(60, 120))])
        size = int(rng.integers(2, 40))
        crop = (int(rng.integers(1, size + 1)), int(rng.integers(1, size + 1)))
        preprocessing = Preprocessing(1, size, crop, (0.0,), (1.0,))
        slope = np.add.outer(2.0 * np.arange(height), 2.0 * np.arange(width)) * (120 / max(height, width))
        ours, theirs = both(preprocessing, slope.clip(0, 255).astype(np.uint8)[..., None])
        assert (ours.int() - theirs.int()).abs().max() <= 1, (height, width, preprocessing)


@pytest.mark.parametrize("folder", ["imagenet-samples", "hymenoptera/val/bees", "nuclei-dsb2018/images", "style"])
def test_real_images_as_torchvision_prepares_them(shared_data: Path, folder: str) -> None:
    preprocessing = Preprocessing(3, 256, (224, 224), MEAN, STD)
    normalize = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    files = (
        path for path in sorted((shared_data / folder).rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    for path in islice(files, 8):
        with Image.open(path) as opened:
            image = np.asarray(opened.convert("RGB"))
        ours, theirs = both(preprocessing, image)
        assert (ours.int() - theirs.int()).abs().max() <= (max(image.shape[:2]) > 2 * min(image.shape[:2])), path
        # one multiply-add against a division, a subtraction and a division: 1e-6 of values up to 2.7
        torch.testing.assert_close(preprocessing.normalize(ours[None])[0], normalize(ours), atol=2e-6, rtol=1e-6)
