"""Preprocessing as a value: sizes, cuts and arithmetic small enough to do on paper, and the text of every error."""

import dataclasses
import json
import math

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from striate.data import preprocessing as preprocessing_module
from striate.data.packing import pack_key
from striate.data.preprocessing import Preprocessing, crop_center, resample, resample_alike
from striate.errors import InputError

GREY = Preprocessing(channels=1, resize_size=4, crop_size=(4, 4), mean=(0.5,), std=(0.25,))
CAFFE = Preprocessing(
    channels=3,
    resize_size=256,
    crop_size=(227, 227),
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 1.0, 1.0),
    resize="stretch",
    channel_order="BGR",
    scale=1.0,
)


@pytest.mark.parametrize(
    ("height", "width", "resized", "packed"),
    [
        (4, 4, (4, 4), (4, 4)),
        (2, 3, (4, 6), (4, 6)),
        (3, 2, (6, 4), (6, 4)),
        (3, 4, (4, 5), (4, 5)),  # 5.33 is cut to 5
        (1, 2, (4, 8), (4, 8)),
        (1, 3, (4, 12), (4, 8)),
        (4, 13, (4, 13), (4, 9)),  # multiples of four are cut off
        (60_000, 1, (240_000, 4), (8, 4)),
    ],
)
def test_sizes_of_short_side_resizing(
    height: int, width: int, resized: tuple[int, int], packed: tuple[int, int]
) -> None:
    assert GREY.resized_size(height, width) == resized
    assert GREY.packed_size(height, width) == packed
    assert GREY.resize_image(np.zeros((height, width, 1), np.uint8)).shape == (*packed, 1)
    assert GREY.to_pixels(np.zeros((height, width, 1), np.uint8)).shape == (4, 4, 1)


def test_stretching_ignores_the_aspect() -> None:
    assert CAFFE.resized_size(1, 1000) == CAFFE.packed_size(1, 1000) == (256, 256)
    assert CAFFE.to_pixels(np.zeros((5, 1000, 3), np.uint8)).shape == (227, 227, 3)


def test_image_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 1), np.uint8)
    assert (GREY.resize_image(image) == image).all()
    assert (GREY.to_pixels(image) == image[:, 1:5]).all()


def test_overlong_image_keeps_its_middle() -> None:
    columns = np.arange(13, dtype=np.uint8)
    image = np.broadcast_to(columns[None, :, None], (4, 13, 1))
    assert GREY.resize_image(image)[0, :, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_a_line_of_33_million_pixels_costs_nothing() -> None:
    preprocessing = Preprocessing(3, 256, (224, 224), (0.0,) * 3, (1.0,) * 3)
    image = np.zeros((1, 33_000_000, 3), np.uint8)
    image[:, 16_499_000:16_501_000] = 200
    assert preprocessing.resize_image(image).shape == (256, 512, 3)
    assert (preprocessing.to_pixels(image) == 200).all()


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 12),
    st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    st.integers(0, 1000),
)
def test_a_window_is_the_part_of_the_whole(shape: tuple[int, int], size: int, interpolation: str, seed: int) -> None:
    """On smooth images; the two-pass resizing rounds and clips between its passes, whose order may differ."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(rng.uniform(0, 2) * np.arange(shape[0]), rng.uniform(0, 2) * np.arange(shape[1]))
    image = (40 + slope).astype(np.uint8)[..., None]
    height, width = 3 * size, 2 * size
    top, left = int(rng.integers(0, 2 * size)), int(rng.integers(0, size))
    whole = resample(image, (height, width), interpolation)
    part = resample(image, (height, width), interpolation, window=(top, left, size, size))
    expected = whole[top : top + size, left : left + size]
    assert np.abs(part.astype(int) - expected.astype(int)).max() <= 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_every_channel_is_resized_alike(channels: int) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)
    resized = resample(np.stack([plane] * channels, axis=-1), (4, 5), "bicubic")
    assert resized.shape == (4, 5, channels)
    assert (resized == resample(plane[..., None], (4, 5), "bicubic")).all()


@given(
    before=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    after=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    channels=st.sampled_from([1, 3, 4]),
    num_images=st.integers(1, 5),
    interpolation=st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_resized_together_are_those_resized_alone(
    before, after, channels, num_images, interpolation, seed
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (num_images, *before, channels), np.uint8)
    together = resample_alike(images, after, interpolation)
    assert together.shape == (num_images, *after, channels)
    assert np.array_equal(together, [resample(image, after, interpolation) for image in images])


def test_both_orders_of_passes_are_found() -> None:
    """Pillow 13 goes down first where many more rows go than columns; before, it always went across first."""

    def tried(before: tuple[int, int], after: tuple[int, int]) -> bool | None:
        return preprocessing_module._passes_across_first(before, after, "bilinear")

    goes_down = int(PIL.__version__.split(".")[0]) >= 13
    assert tried((28, 28), (32, 32)) is True
    assert tried((60, 20), (10, 15)) is not goes_down
    assert tried((2, 2), (1, 1)) is None  # so few pixels are alike in either order


@pytest.mark.parametrize("shape", [(28, 28), (20, 28), (28, 20), (32, 32), (5, 64)])
def test_packing_together_is_packing_alone(shape: tuple[int, int]) -> None:
    preprocessing = Preprocessing(1, 32, (32, 32), (0.0,), (1.0,))
    images = np.random.default_rng(1).integers(0, 256, (7, *shape, 1), np.uint8)
    together = preprocessing.resize_images(images)
    assert np.array_equal(together, [preprocessing.resize_image(image) for image in images])


def test_crop_center_rounds_as_torchvision_does() -> None:
    image = np.arange(5)[:, None, None] * np.ones((1, 1, 1), int)
    assert crop_center(image, (2, 1))[:, 0, 0].tolist() == [2, 3]  # (5 - 2) / 2 = 1.5 goes to the even 2
    assert crop_center(image, (4, 1))[:, 0, 0].tolist() == [0, 1, 2, 3]  # 0.5 goes to 0


def test_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"^cannot cut 5x5 pixels out of an image of 4x6 \(height x width\)$"):
        crop_center(np.zeros((4, 6, 1), np.uint8), (5, 5))


def test_normalize_on_paper() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    normalized = GREY.normalize(images)
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized.flatten(), torch.tensor([-2.0, -1.2, 2.0]))


def test_normalize_orders_channels_before_subtracting() -> None:
    red, green, blue = 10.0, 20.0, 30.0
    images = torch.tensor([red, green, blue]).view(1, 3, 1, 1)
    assert CAFFE.normalize(images).flatten().tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_normalize_gives_float32_whatever_comes_and_is_set() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        for dtype in (torch.uint8, torch.float16, torch.float64):
            assert GREY.normalize(torch.ones(2, 1, 3, 3, dtype=dtype)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_normalize_leaves_its_input_and_keeps_the_memory_format() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8).to(memory_format=torch.channels_last)
    before = images.clone()
    normalized = CAFFE.normalize(images)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
    assert torch.equal(normalized, CAFFE.normalize(images.contiguous()))
    floats = images.to(torch.float32)
    assert torch.equal(CAFFE.normalize(floats), normalized)
    assert torch.equal(floats, before.to(torch.float32))


def test_normalize_lets_the_gradient_through() -> None:
    images = torch.full((1, 1, 2, 2), 7.0, requires_grad=True)
    GREY.normalize(images).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, torch.full((1, 1, 2, 2), 1 / 255 / 0.25))
    colored = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    preprocessing = Preprocessing(3, 8, (4, 5), mean=(0.0,) * 3, std=(0.25, 0.5, 1.0))
    preprocessing.normalize(colored).sum().backward()
    assert colored.grad is not None
    torch.testing.assert_close(colored.grad[1, :, 2, 3] * 255, torch.tensor([4.0, 2.0, 1.0]))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 3, 4, 4), (4, 4)])
def test_normalize_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"^expected images \(N, 1, H, W\) but got .*; give pixels 0\.\.255 with the"):
        GREY.normalize(torch.zeros(shape))


@pytest.mark.parametrize("preprocessing", [GREY, CAFFE])
def test_json_and_back(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 3}, "preprocessing needs one mean and one std a channel but has 3 channels, 1 means and 1 stds"),
        ({"channels": 0}, "channels must be made of whole numbers of at least 1 but is 0"),
        ({"channels": 1.0}, "channels must be made of whole numbers of at least 1 but is 1.0"),
        ({"resize_size": -3}, "resize_size must be made of whole numbers of at least 1 but is -3"),
        ({"crop_size": (0, 4)}, "crop_size must be made of whole numbers of at least 1 but is (0, 4)"),
        ({"crop_size": (4, 5)}, "a crop of (4, 5) pixels does not fit into images resized to 4"),
        ({"crop_size": (4,)}, "a crop of (4,) pixels does not fit into images resized to 4"),
        ({"mean": (math.nan,)}, "mean must be made of finite numbers but is (nan,)"),
        ({"std": (math.inf,)}, "std must be made of finite numbers but is (inf,)"),
        ({"std": ("1",)}, "std must be made of finite numbers but is ('1',)"),
        ({"std": (0.0,)}, "scale and every std must be above 0 but they are 0.00392156862745098 and (0.0,)"),
        ({"scale": 0.0}, "scale and every std must be above 0 but they are 0.0 and (0.25,)"),
        (
            {"resize": "pad"},
            "preprocessing cannot resize by 'pad' with 'bilinear' interpolation; "
            "it knows short_side, stretch and fit with bilinear, bicubic, lanczos",
        ),
        ({"channel_order": "BGR"}, "channel order 'BGR' does not fit 1 channels"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(GREY, **change)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GREY.to_json() | {"colour": 1}, "preprocessing has unknown fields: colour"),
        ({"channels": 1}, "preprocessing is incomplete: 'crop_size'"),
        (GREY.to_json() | {"mean": 0.5}, "preprocessing is incomplete: 'float' object is not iterable"),
        ([1, 2], "preprocessing must be a table of named values but is [1, 2]"),
    ],
)
def test_foreign_json_is_refused(values: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Preprocessing.from_json(values)
    assert str(caught.value) == message


@pytest.mark.parametrize("size", [(3, 4000), (4000, 3), (8, 4000), (4000, 8)])
def test_strips_give_the_same_pixels_as_arrays_and_as_pillows_images(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    preprocessing = Preprocessing(3, 8, (8, 8), (0.5,) * 3, (0.5,) * 3)
    resized = preprocessing.resize_image(pixels)
    assert max(resized.shape) < 4000
    assert np.array_equal(resized, preprocessing.resize_image(Image.fromarray(pixels)))


@pytest.mark.parametrize("size", [(90_000_000, 1), (1, 90_000_000)])
def test_a_strip_as_long_as_the_limit_allows_is_cut_before_it_is_copied(size):
    preprocessing = Preprocessing(3, 8, (8, 8), (0.5,) * 3, (0.5,) * 3)
    found = preprocessing.to_pixels(Image.new("RGB", size, (10, 20, 30)))
    assert found.reshape(-1, 3).tolist() == [[10, 20, 30]] * 64


def test_fit_brings_the_whole_image_to_the_crop() -> None:
    fit = Preprocessing(3, 60, (40, 60), mean=(0.0,) * 3, std=(1.0,) * 3, resize="fit")
    image = np.random.default_rng(0).integers(0, 256, (77, 33, 3)).astype(np.uint8)
    assert fit.resized_size(77, 33) == fit.packed_size(77, 33) == (40, 60)
    whole = np.asarray(Image.fromarray(image).resize((60, 40), Image.Resampling.BILINEAR))
    assert np.array_equal(fit.to_pixels(image), whole)
    assert Preprocessing.from_json(fit.to_json()) == fit
    hashes = np.zeros((1, 16), np.uint8)
    other = dataclasses.replace(fit, crop_size=(60, 40))
    assert pack_key(hashes, fit, 100) != pack_key(hashes, other, 100)
