"""Each change of a batch against torchvision's functional form of it, image by image with the same strength."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as theirs

from striate.data import augmentation as ours


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth, colourful noise and its extremes: (6, 3, 20, 28) float in [0, 255]."""
    noise = torch.rand(6, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    smooth = functional.interpolate(noise, scale_factor=4, mode="bilinear").mul(1.4).sub(0.2).clamp(0, 1)
    return (255 * smooth).round()


def each(change: Callable[[Tensor, float], Tensor], images: Tensor, strengths: Tensor) -> Tensor:
    """torchvision's float images lie in [0, 1]."""
    changed = [change(image / 255, strength) * 255 for image, strength in zip(images, strengths.tolist(), strict=True)]
    return torch.stack(changed)


FACTORS = torch.tensor([0.0, 0.3, 0.8, 1.0, 1.3, 2.5])


@pytest.mark.parametrize(
    ("change", "reference", "strengths"),
    [
        (ours.change_brightness, theirs.adjust_brightness, FACTORS),
        (ours.change_contrast, theirs.adjust_contrast, FACTORS),
        (ours.change_saturation, theirs.adjust_saturation, FACTORS),
        (ours.change_hue, theirs.adjust_hue, torch.tensor([-0.5, -0.2, 0.0, 0.07, 0.25, 0.5])),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
def test_colours_as_torchvision_changes_them(
    images: Tensor, change: Callable[..., Tensor], reference: Callable[..., Tensor], strengths: Tensor
) -> None:
    # torchvision's shares of red, green and blue in grey have four digits and add up to 0.9999: 0.0255 of 255
    torch.testing.assert_close(change(images, strengths), each(reference, images, strengths), atol=0.06, rtol=0)


def test_grey_contrast_as_torchvision_changes_it(images: Tensor) -> None:
    grey = images[:, :1]
    expected = each(theirs.adjust_contrast, grey, FACTORS)
    torch.testing.assert_close(ours.change_contrast(grey, FACTORS), expected, atol=1e-3, rtol=0)


def test_flips_as_torchvision_flips(images: Tensor) -> None:
    assert torch.equal(ours.flip(images, torch.ones(6, dtype=torch.bool)), theirs.horizontal_flip(images))


def test_shifts_as_a_crop_of_the_reflected_image(images: Tensor) -> None:
    down, right = torch.tensor([0, 3, -3, 5, -19, 19]), torch.tensor([0, -3, 3, 0, 27, -27])
    height, width = images.shape[2:]
    for image, moved, y, x in zip(images, ours.shift(images, down, right), down.tolist(), right.tolist(), strict=True):
        padded = theirs.pad(image, [width - 1, height - 1], padding_mode="reflect")
        assert torch.equal(moved, theirs.crop(padded, height - 1 - y, width - 1 - x, height, width))


def test_rotations_as_torchvision_rotates(images: Tensor) -> None:
    """Inside the turned image; outside, torchvision fills with one colour and we reflect."""
    degrees = torch.tensor([-180.0, -37.0, -5.0, 0.0, 12.5, 90.0])
    for image, turned, angle in zip(images, ours.rotate(images, degrees), degrees.tolist(), strict=True):
        options = {"interpolation": theirs.InterpolationMode.BILINEAR}
        inside = theirs.rotate(torch.ones_like(image), angle, **options) > 0.999
        expected = theirs.rotate(image, angle, **options)
        assert inside.float().mean() > 0.4
        torch.testing.assert_close(turned[inside], expected[inside], atol=0.02, rtol=0)


def test_cutout_as_torchvision_erases(images: Tensor) -> None:
    rows, columns = torch.tensor([10, 3, 8, 15, 9, 16]), torch.tensor([10, 24, 4, 20, 13, 5])
    for image, cut, row, column in zip(
        images, ours.cut_out(images, rows, columns, 6), rows.tolist(), columns.tolist(), strict=True
    ):
        mean = image.mean(dim=(1, 2), keepdim=True)
        expected = theirs.erase(image, row - 3, column - 3, 6, 6, mean.expand(3, 6, 6))
        torch.testing.assert_close(cut, expected)


def test_mixing_as_the_formula_says(images: Tensor) -> None:
    shares, partners = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0, 0.3]), torch.tensor([3, 2, 1, 0, 5, 5])
    values, weights = images.double().numpy(), shares.double().numpy()[:, None, None, None]
    expected = weights * values + (1 - weights) * values[partners.numpy()]
    np.testing.assert_allclose(ours.mix(images, shares, partners).numpy(), expected, atol=1e-4)


def test_principal_colours_are_those_of_photos(shared_data: Path) -> None:
    """The eigenvectors of the covariance of 60 photos point the same way; few photos settle few digits."""
    pixels = []
    for path in islice(sorted((shared_data / "imagenet-samples").glob("*.JPEG")), 0, 480, 8):
        with Image.open(path) as opened:
            pixels.append(np.asarray(opened.resize((32, 32)).convert("RGB")).reshape(-1, 3) / 255)
    variances, directions = np.linalg.eigh(np.cov(np.concatenate(pixels), rowvar=False))
    for mine, direction in zip(ours.PRINCIPAL_COLORS, directions.T[::-1], strict=True):
        assert abs(np.dot(mine, direction)) > 0.98, variances
