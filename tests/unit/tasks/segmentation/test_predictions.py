"""Masks in an image's own pixels, and the files they are written to."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.data.masks import mask_values
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.tasks.segmentation.predictions import classes_table, largest, mask_predictions, overlay, paletted
from striate.tasks.segmentation.region import RegionLogits
from striate.tasks.segmentation.task import Segmentation


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 5), st.floats(0.2, 0.8), st.booleans())
def test_a_border_comes_back_within_half_a_pixel(height, width, factor, place, is_across):
    """The network sees a straight border at a place between its pixels, with the probability falling off beside it."""
    seen = (height, width)
    length = seen[1] if is_across else seen[0]
    border = place * length
    along = np.clip(np.arange(length) + 0.5 - border, -1, 1) / 2 + 0.5
    second = np.broadcast_to(along if is_across else along[:, None], seen)
    size = (height * factor + factor // 2, width * factor + factor // 3)
    mask, _ = largest(np.stack([1 - second, second]).astype(np.float32), size)
    line = mask[0] if is_across else mask[:, 0]
    found = len(line) - int(line.sum())
    assert abs(found - border * len(line) / length) <= 0.5 + 1e-3


def test_fractions_of_pixels_and_their_order():
    values = np.zeros((1, 3, 2, 4), np.float32)
    values[0, 2, :, :3], values[0, 0, :, 3:] = 0.9, 0.6
    (found,) = mask_predictions(["a.png"], values, np.array([[4, 8]]), ("x", "y", "z"))
    assert [(each.name, each.index) for each in found.classes] == [("z", 2), ("x", 0)]
    assert sum(each.fraction for each in found.classes) == 1
    assert found.mask.shape == (4, 8)
    assert found.to_json()["size"] == [4, 8]
    assert found.rows()[0] == ("z", found.classes[0].fraction, "of 8 x 4 pixels")


def test_a_written_mask_is_read_again():
    mask = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    file = io.BytesIO()
    paletted(mask, 3).save(file, "PNG")
    assert np.array_equal(mask_values(file.getvalue(), as_color=False), mask)
    with Image.open(file) as picture:
        assert picture.convert("RGB").getpixel((1, 0)) == (0, 128, 0)
    assert classes_table(("sky", 'a "b", c')) == 'index,name,r,g,b\n0,sky,128,0,0\n1,"a ""b"", c",0,128,0\n'


def test_an_overlay_leaves_ignored_pixels_alone():
    pixels = np.full((1, 2, 3), 100, np.uint8)
    drawn = overlay(pixels, np.array([[0, 255]], np.uint8), 2)
    assert drawn.tolist() == [[[114, 50, 50], [100, 100, 100]]]


def test_the_same_masks_but_for_a_few_pixels():
    task = Segmentation(("a", "b"))
    values = np.zeros((1, 2, 40, 50), np.float32)
    values[:, 0] = 1
    other = values.copy()
    other[0, :, 0, 0] = 0, 1  # one of 2,000
    assert task.same_answers(other, values).tolist() == [True]
    assert task.differences(other, values).tolist() == [0]
    other[0, :, 0, :9] = np.array([[0], [1]])
    assert task.same_answers(other, values).tolist() == [False]
    assert task.differences(other, values).tolist() == [1]
    assert task.differences(np.full_like(values, np.nan), values).tolist() == [np.inf]
    assert task.words(values[0]) == "a 100.0 %, b 0.0 %"
    assert task.margin(values[0]) == 1


def test_masks_are_mapped_back_from_whole_images_only():
    cut = Preprocessing(3, 64, (32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(InputError, match="whole images, resized by fit, not by short_side"):
        Segmentation(("a", "b")).answers(["a"], np.zeros((1, 2, 4, 4)), np.array([[4, 4]]), cut, 1)


def test_the_logit_of_a_region_is_the_mean_over_its_pixels():
    logits = torch.tensor([[[[3.0, 1.0], [0.0, 5.0]], [[1.0, 2.0], [0.5, 0.0]], [[0.0, 0.0], [-1.0, -1.0]]]])
    network = RegionLogits(torch.nn.Identity())
    assert network(logits)[0].tolist() == pytest.approx(
        [(3 + 5) / 2, (2 + 0.5) / 2, -0.5]
    )  # the third has none: all pixels
