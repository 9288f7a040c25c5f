"""The mean image: its text, its effect, its refusals."""

import dataclasses

import numpy as np
import pytest
import torch

from striate.data.mean_image import decode_mean_image, encode_mean_image
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.data.statistics import measure_mean_image
from striate.errors import InputError
from striate.recipes.defaults import resized_preprocessing
from striate.weights.adapting import adapt_preprocessing


def preprocessing(pixels, **changes):
    height, width, channels = pixels.shape
    values = {"channels": channels, "resize_size": max(height, width), "crop_size": (height, width)}
    return Preprocessing(
        **values, mean=(0.0,) * channels, std=(0.5,) * channels, mean_image=encode_mean_image(pixels), **changes
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_text_and_back(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    text = encode_mean_image(pixels)
    assert np.array_equal(decode_mean_image(text, (5, 7), channels), pixels)
    assert Preprocessing.from_json(preprocessing(pixels).to_json()) == preprocessing(pixels)


def test_each_pixel_has_its_own_mean_subtracted():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    images = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    expected = (100 - torch.from_numpy(pixels).permute(2, 0, 1)[None]) / 255 / 0.5
    torch.testing.assert_close(preprocessing(pixels).normalize(images), expected.float())
    bgr = preprocessing(pixels, channel_order="BGR").normalize(images)
    torch.testing.assert_close(bgr, expected.float().flip(1))


def test_mean_of_two_images_on_paper():
    images = [np.full((2, 2, 1), value, np.uint8) for value in (10, 21)]
    images[0][0, 0] = 30
    found = measure_mean_image(PackedImages.from_images(images), np.array([0, 1]), (2, 2))
    assert found[..., 0].tolist() == [[26, 16], [16, 16]]  # 25.5 and 15.5, halves to even


def test_grey_and_colour_and_other_sizes():
    pixels = np.full((4, 4, 3), (30, 60, 90), np.uint8)
    grey = adapt_preprocessing(preprocessing(pixels), 1)
    assert np.all(decode_mean_image(grey.mean_image, (4, 4), 1) == 60)
    colour = adapt_preprocessing(preprocessing(pixels[..., :1]), 3)
    assert np.all(decode_mean_image(colour.mean_image, (4, 4), 3) == 30)
    larger = resized_preprocessing(preprocessing(pixels), 6)
    assert np.array_equal(decode_mean_image(larger.mean_image, (6, 6), 3)[0, 0], [30, 60, 90])


def test_refusals():
    pixels = np.zeros((4, 5, 1), np.uint8)
    good = preprocessing(pixels)
    for text, found in (
        ("%%%", "no PNG in base64"),
        ("AAAA", "no PNG in base64"),
        (encode_mean_image(np.zeros((4, 4, 1), np.uint8)), "4x4 pixels$"),
        (encode_mean_image(np.zeros((4, 5, 3), np.uint8)), "4x5 pixels in mode RGB"),
    ):
        with pytest.raises(InputError, match=f"must have 4x5 pixels and 1 channels but is {found}"):
            dataclasses.replace(good, mean_image=text)
    with pytest.raises(InputError, match=r"\(4, 5, 2\) of uint8; subtract a mean for each channel"):
        encode_mean_image(np.zeros((4, 5, 2), np.uint8))
