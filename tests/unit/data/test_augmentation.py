"""Augmentation: each change on images small enough to do on paper, ranges, repeatability, and the text of every
error.
"""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from striate.data import augmentation
from striate.data.augmentation import (
    PRINCIPAL_COLORS,
    Augmentation,
    add_principal_colors,
    augment,
    change_brightness,
    change_contrast,
    change_hue,
    change_saturation,
    cut_out,
    flip,
    mixup,
    rotate,
    shift,
)
from striate.errors import InputError

EVERYTHING = Augmentation(
    flip=True,
    shift_px=3,
    rotation_degrees=20,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    pca_color=0.1,
    cutout_px=4,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(num_images: int = 6, channels: int = 3, dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.randint(0, 256, (num_images, channels, 8, 10), generator=generator(7)).to(dtype)


def row(*values: int) -> Tensor:
    """One grey image of one row."""
    return torch.tensor(values, dtype=torch.uint8).view(1, 1, 1, -1)


def test_nothing_asked_nothing_done() -> None:
    images = some_images()
    source = generator()
    before = source.get_state()
    assert augment(images, Augmentation(), source) is images
    assert torch.equal(source.get_state(), before)


def test_flip_only_where_chosen() -> None:
    images = row(1, 2, 3).repeat(2, 1, 1, 1)
    assert flip(images, torch.tensor([True, False])).flatten().tolist() == [3, 2, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("right", "expected"), [(0, [1, 2, 3, 4]), (1, [2, 1, 2, 3]), (-1, [2, 3, 4, 3]), (3, [4, 3, 2, 1])]
)
def test_shift_reflects_the_border(right: int, expected: list[int]) -> None:
    image = row(1, 2, 3, 4)
    assert shift(image, torch.tensor([0]), torch.tensor([right])).flatten().tolist() == expected
    turned = shift(image.transpose(2, 3), torch.tensor([right]), torch.tensor([0]))
    assert turned.flatten().tolist() == expected


def test_quarter_turn_is_counter_clockwise() -> None:
    image = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2)
    turned = rotate(image, torch.tensor([90.0]))
    torch.testing.assert_close(turned.view(2, 2), torch.tensor([[2.0, 4], [1, 3]]))


def test_rotation_keeps_flat_images_flat_and_circles_round() -> None:
    assert torch.allclose(
        rotate(torch.full((1, 3, 9, 5), 77, dtype=torch.uint8), torch.tensor([33.0])), torch.tensor(77.0)
    )
    y, x = torch.meshgrid(torch.arange(24.0) - 11.5, torch.arange(40.0) - 19.5, indexing="ij")
    cone = (255 - 10 * torch.hypot(x, y)).clamp(0).view(1, 1, 24, 40)
    inside = torch.hypot(x, y) < 11
    assert (rotate(cone, torch.tensor([40.0])) - cone)[0, 0][inside].abs().max() < 3


def test_brightness_and_contrast_on_paper() -> None:
    images = row(10, 20, 30, 200).repeat(2, 1, 1, 1)
    assert change_brightness(images, torch.tensor([0.5, 2])).flatten().tolist() == [5, 10, 15, 100, 20, 40, 60, 255]
    contrast = change_contrast(images, torch.tensor([0.5, 2]))  # the mean is 65
    assert contrast.flatten().tolist() == [37.5, 42.5, 47.5, 132.5, 0, 0, 0, 255]


def test_saturation_on_paper() -> None:
    red = torch.tensor([100.0, 0, 0]).view(1, 3, 1, 1)  # its grey is 29.9
    torch.testing.assert_close(change_saturation(red, torch.tensor([0.0])).flatten(), torch.full((3,), 29.9))
    torch.testing.assert_close(
        change_saturation(red, torch.tensor([0.5])).flatten(), torch.tensor([64.95, 14.95, 14.95])
    )


def test_hue_turns_the_circle() -> None:
    red = torch.tensor([200, 50, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    for turns, expected in (
        (1 / 3, [50, 200, 50]),
        (-1 / 3, [50, 50, 200]),
        (0.5, [50, 200, 200]),
        (1 / 6, [200, 200, 50]),
    ):
        turned = change_hue(red, torch.tensor([turns])).flatten()
        torch.testing.assert_close(turned, torch.tensor(expected, dtype=torch.float32), atol=1e-3, rtol=0)
    grey = torch.full((1, 3, 2, 2), 90.0)
    assert torch.equal(change_hue(grey, torch.tensor([0.3])), grey)


def test_principal_colors_on_paper() -> None:
    grey = torch.full((2, 3, 1, 1), 100.0)
    changed = add_principal_colors(grey, torch.tensor([[0.1, 0, 0], [0, 0, -0.1]]))
    first = [100 + 255 * 0.1 * 0.2175 * color for color in PRINCIPAL_COLORS[0]]
    last = [100 - 255 * 0.1 * 0.0045 * color for color in PRINCIPAL_COLORS[2]]
    torch.testing.assert_close(changed.flatten(), torch.tensor([*first, *last]))


def test_principal_colors_are_perpendicular_and_of_length_one() -> None:
    colors = torch.tensor(PRINCIPAL_COLORS)
    torch.testing.assert_close(colors @ colors.T, torch.eye(3), atol=2e-4, rtol=0)  # printed with four digits


@pytest.mark.parametrize(
    ("column", "side_px", "expected"),
    [
        (2, 1, [0, 0, 20, 0, 100]),
        (2, 2, [0, 20, 20, 0, 100]),
        (2, 3, [0, 20, 20, 20, 100]),
        (0, 3, [20, 20, 0, 0, 100]),
        (4, 9, [20, 20, 20, 20, 20]),
    ],
)
def test_cutout_on_paper(column: int, side_px: int, expected: list[int]) -> None:
    image = row(0, 0, 0, 0, 100)  # the mean is 20
    assert cut_out(image, torch.tensor([0]), torch.tensor([column]), side_px).flatten().tolist() == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_everything_at_once_stays_in_range(channels: int, dtype: torch.dtype) -> None:
    images = some_images(channels=channels, dtype=dtype)
    before = images.clone()
    changed = augment(images, EVERYTHING, generator())
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(images, before)


def test_movements_and_cutout_keep_uint8() -> None:
    config = Augmentation(flip=True, shift_px=2, cutout_px=3)
    assert augment(some_images(channels=4), config, generator()).dtype == torch.uint8


@pytest.mark.parametrize(
    "change",
    [
        {field.name: getattr(EVERYTHING, field.name)}
        for field in dataclasses.fields(Augmentation)
        if getattr(EVERYTHING, field.name)
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_change_draws_for_each_image_from_the_generator_alone(change: dict[str, float]) -> None:
    images = some_images(1).repeat(32, 1, 1, 1)
    config = Augmentation(**change)  # type: ignore[arg-type]
    torch.manual_seed(1)
    changed = augment(images, config, generator(5))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(changed, augment(images, config, generator(5)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(changed, augment(images, config, generator(6)))
    num_different = len(torch.unique(changed.flatten(1), dim=0))
    assert num_different == 2 if config.flip else num_different > 10


def test_memory_format_does_not_matter() -> None:
    images = some_images()
    strided = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        augment(strided, EVERYTHING, generator()), augment(images, EVERYTHING, generator()), check_stride=False
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_large_images_one_after_another_are_changed_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format
) -> None:
    images = some_images().to(memory_format=layout)
    before = images.clone()
    for config in (EVERYTHING, Augmentation(flip=True), Augmentation(flip=True, shift_px=2), Augmentation(hue=0.3)):
        together = augment(images, config, generator())
        with monkeypatch.context() as patch:
            patch.setattr(augmentation, "_LARGE_IMAGE", 1)
            one_by_one = augment(images, config, generator())
        assert one_by_one.is_contiguous(memory_format=layout)
        assert one_by_one.dtype == together.dtype
        torch.testing.assert_close(one_by_one, together, rtol=0, atol=1e-4, check_stride=False)  # of 255
        assert torch.equal(images, before)


def test_strengths_are_uniform_over_their_range() -> None:
    images = torch.full((4000, 1, 1, 1), 100.0)
    factors = augment(images, Augmentation(brightness=0.4), generator()).flatten() / 100
    assert 0.6 <= factors.min() < 0.61
    assert 1.39 < factors.max() <= 1.4
    assert abs(factors.mean() - 1) < 0.01  # four standard errors are 0.015
    moved = augment(row(0, 1, 2, 3, 4, 5, 6).repeat(4000, 1, 7, 1), Augmentation(shift_px=2), generator())
    counts = torch.bincount(moved[:, 0, 3, 3].int())
    assert counts.tolist()[:1] == [0]
    assert counts[1:6].min() > 700  # 800 expected of each of the five shifts


def test_half_of_the_images_are_flipped() -> None:
    flipped = augment(row(0, 1).repeat(4000, 1, 1, 1), Augmentation(flip=True), generator())[:, 0, 0, 0]
    assert abs(flipped.float().mean() - 0.5) < 0.032  # four standard errors


def test_brightness_above_one_never_turns_negative() -> None:
    changed = augment(torch.full((500, 1, 1, 1), 10.0), Augmentation(brightness=3), generator())
    assert changed.min() >= 0
    assert changed.max() > 35


def test_grey_images_draw_nothing_for_colour() -> None:
    images = some_images(channels=1)
    assert augment(images, Augmentation(saturation=0.5, hue=0.5, pca_color=0.1), generator()) is images


def test_mixup_mixes_images_and_targets_alike() -> None:
    images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    targets = torch.eye(8)
    mixed_images, mixed_targets = mixup(images, targets, 0.4, generator(3))
    assert mixed_images.dtype == mixed_targets.dtype == torch.float32
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(8))
    torch.testing.assert_close(mixed_images.flatten(), mixed_targets @ torch.arange(8.0))
    again = mixup(images, targets, 0.4, generator(3))
    assert torch.equal(again[0], mixed_images)
    assert torch.equal(again[1], mixed_targets)


def test_mixup_shares_follow_the_beta_distribution() -> None:
    shares = mixup(torch.zeros(20000, 1, 1, 1), torch.eye(2).repeat(10000, 1), 0.2, generator())[1].max(1).values
    # Beta(a, a) has variance 1 / (4 (2a + 1)); half of the pairs mix two classes
    mixed = shares[shares < 1]
    assert abs((mixed - 0.5).square().mean() - 1 / (4 * 1.4)) < 0.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"crop_scale": (0.0, 1.0)},
            "crop_scale must be two shares of the area, 0 < low <= high <= 1, but is (0.0, 1.0)",
        ),
        (
            {"crop_scale": (0.5, 0.2)},
            "crop_scale must be two shares of the area, 0 < low <= high <= 1, but is (0.5, 0.2)",
        ),
        (
            {"crop_scale": (0.5, 1.2)},
            "crop_scale must be two shares of the area, 0 < low <= high <= 1, but is (0.5, 1.2)",
        ),
        ({"crop_scale": (0.5,)}, "crop_scale must be two shares of the area, 0 < low <= high <= 1, but is (0.5,)"),
        ({"shift_px": -1}, "shift_px must be at least 0 and finite but is -1"),
        ({"brightness": math.nan}, "brightness must be at least 0 and finite but is nan"),
        ({"contrast": math.inf}, "contrast must be at least 0 and finite but is inf"),
        ({"mixup": -0.2}, "mixup must be at least 0 and finite but is -0.2"),
        ({"shift_px": 1.5}, "shift_px must be a whole number of pixels but is 1.5"),
        ({"cutout_px": 8.0}, "cutout_px must be a whole number of pixels but is 8.0"),
        ({"hue": 0.6}, "hue must lie in [0, 0.5] but is 0.6"),
        ({"rotation_degrees": 181}, "rotation_degrees must lie in [0, 180] but is 181"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Augmentation(**change)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("images", "config", "message"),
    [
        (
            torch.zeros(3, 8, 8),
            Augmentation(flip=True),
            "expected images (N, C, H, W), uint8 or float, but got (3, 8, 8) torch.float32",
        ),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.int64),
            Augmentation(),
            "expected images (N, C, H, W), uint8 or float, but got (1, 3, 8, 8) torch.int64",
        ),
        (torch.zeros(1, 3, 8, 4), Augmentation(shift_px=4), "shift_px is 4 but must be below the image's sides, 8 x 4"),
        (
            torch.zeros(1, 4, 8, 8),
            Augmentation(saturation=0.1, hue=0.1),
            "saturation, hue can be changed in images of 1 or 3 channels, but these have 4",
        ),
    ],
)
def test_images_that_cannot_be_augmented_are_refused(images: Tensor, config: Augmentation, message: str) -> None:
    with pytest.raises(InputError) as caught:
        augment(images, config, generator())
    assert str(caught.value) == message


def test_mixup_needs_probabilities_and_an_alpha() -> None:
    with pytest.raises(
        InputError,
        match=r"^mixup needs class probabilities \(2, K\) as targets but got \(2,\) torch.int64; make labels one-hot "
        r"first$",
    ):
        mixup(torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]), 0.2, generator())
    with pytest.raises(InputError, match=r"^mixup needs an alpha above 0 but it is 0$"):
        mixup(torch.zeros(2, 1, 1, 1), torch.eye(2), 0.0, generator())
