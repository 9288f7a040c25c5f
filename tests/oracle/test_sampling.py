"""Random resized crops against torchvision's: how its boxes are spread, what it takes where none fits, its pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from striate.data.packed import PackedImages
from striate.data.sampling import random_crop_boxes, read_random_crops


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def torchvision_boxes(shape: tuple[int, int], scale: tuple[float, float], num_boxes: int) -> np.ndarray:
    """(top, left, height, width) as RandomResizedCrop draws them."""
    transform = v2.RandomResizedCrop(8, scale=scale)
    image = torch.zeros(3, *shape)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = [transform.make_params([image]) for _ in range(num_boxes)]
    return np.array([[box[name] for name in ("top", "left", "height", "width")] for box in drawn])


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.9)])
@pytest.mark.parametrize("shape", [(256, 341), (300, 256)])
def test_boxes_are_spread_as_torchvision_spreads_them(shape: tuple[int, int], scale: tuple[float, float]) -> None:
    """Two samples of one distribution: Kolmogorov and Smirnov's test on each side of the boxes, seeds fixed."""
    ours = random_crop_boxes(np.tile(shape, (3000, 1)), scale, generator())
    theirs = torchvision_boxes(shape, scale, 3000)
    for column, name in enumerate(("top", "left", "height", "width")):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3, name


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (10, 99), (99, 10), (3, 3), (1, 1), (7, 90)])
def test_where_no_box_fits_the_same_middle_is_taken(shape: tuple[int, int]) -> None:
    """All of the area cannot be had in any box whose aspect is drawn, except by chance in the square ones."""
    ours = random_crop_boxes(np.array([shape]), (1.0, 1.0), generator())
    assert ours.tolist() == torchvision_boxes(shape, (1.0, 1.0), 1).tolist()


def test_crops_have_torchvisions_pixels() -> None:
    rng = np.random.default_rng(0)
    shapes = rng.integers(20, 90, (24, 2))
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    crops = read_random_crops(PackedImages.from_images(images), np.arange(24), (24, 32), (0.08, 1.0), generator())
    boxes = random_crop_boxes(shapes, (0.08, 1.0), generator())
    for image, crop, box in zip(images, crops, boxes.tolist(), strict=True):
        expected = functional.resized_crop(Image.fromarray(image), *box, [24, 32], antialias=True)
        difference = (crop.int() - functional.pil_to_tensor(expected).int()).abs()
        assert difference.max() <= 1
        # Pillow may make its two passes in the other order, with the rounding in between
        assert difference.float().mean() < 0.3
        own = torch.from_numpy(image).permute(2, 0, 1)
        assert torch.equal(crop, v2.functional.resized_crop(own, *box, [24, 32], antialias=True))
