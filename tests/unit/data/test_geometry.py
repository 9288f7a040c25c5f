"""Boxes go where their pixels go: draw a rectangle, transform the image, find the rectangle again."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from striate.data.augmentation import Changes, apply_changes, draw_changes
from striate.data.augmentation_settings import Augmentation
from striate.data.geometry import Geometry, clip_boxes, inverted, move_boxes, viewing_matrices
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import random_crop_boxes, read_batch, read_crops

MARGIN_PX = 8  # twice the largest shift and more, else a reflected border would show some of the box again


def preprocessing(resize: str, resize_size: int, crop: tuple[int, int]) -> Preprocessing:
    return Preprocessing(1, resize_size, crop, (0.0,), (1.0,), resize=resize)  # type: ignore[arg-type]


def picture(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Black with a white box, (H, W, 1)."""
    image = np.zeros((height, width, 1), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def found(image: torch.Tensor) -> np.ndarray:
    """The white box of an image (1, H, W), to a fraction of a pixel: extents are areas under the profiles through its
    middle.
    """
    pixels = image[0].double().numpy() / 255
    bounds = []
    for profile in (pixels[pixels.max(1).argmax()], pixels[:, pixels.max(0).argmax()]):
        middle = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
        bounds.append((middle - profile.sum() / 2, middle + profile.sum() / 2))
    (x1, x2), (y1, y2) = bounds
    return np.array([x1, y1, x2, y2])


def is_inside(box: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether a moved box can be seen whole, with a margin that resizing may blur, and is large enough to be
    measured.
    """
    height, width = size
    is_large = min(box[2] - box[0], box[3] - box[1]) >= 8
    return bool(is_large and box[:2].min() > MARGIN_PX and box[2] < width - MARGIN_PX and box[3] < height - MARGIN_PX)


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(40, 160),
    width=st.integers(40, 160),
    middle=st.tuples(*[st.floats(0.35, 0.65)] * 2),
    halves=st.tuples(*[st.floats(0.1, 0.25)] * 2),
    resize=st.sampled_from(["short_side", "stretch"]),
    sizes=st.sampled_from([(64, (64, 64)), (72, (64, 64)), (60, (40, 56)), (100, (90, 70))]),
    seed=st.integers(0, 2**31),
    has_crop=st.booleans(),
)
def test_a_box_is_found_where_the_maps_say(height, width, middle, halves, resize, sizes, seed, has_crop):
    x1, x2 = (round((middle[0] + side * halves[0]) * width) for side in (-1, 1))
    y1, y2 = (round((middle[1] + side * halves[1]) * height) for side in (-1, 1))
    way = preprocessing(resize, *sizes)
    generator = torch.Generator().manual_seed(seed)
    packed = PackedImages.from_images([way.resize_image(picture(height, width, (x1, y1, x2, y2)))])
    index = np.zeros(1, np.int64)
    crops = random_crop_boxes(packed.shapes, (0.5, 1.0), generator) if has_crop else None
    augmentation = Augmentation(flip=True, shift_px=3)
    changes = draw_changes((1, 1, *way.crop_size), augmentation, generator)
    geometry = Geometry(way, packed.shapes, crops, changes)
    moved = move_boxes(np.array([[x1, y1, x2, y2]]), geometry.matrices(np.array([[height, width]])))[0]
    assume(is_inside(moved, way.crop_size))
    pixels = (
        read_batch(packed, index, way.crop_size) if crops is None else read_crops(packed, index, way.crop_size, crops)
    )
    seen = found(apply_changes(pixels, changes, augmentation)[0])
    assert np.abs(seen - moved).max() <= 0.5


@pytest.mark.parametrize("degrees", [-25.0, 7.0, 40.0])
def test_a_turned_box_is_the_smallest_upright_one_about_it(degrees):
    way = preprocessing("short_side", 100, (100, 100))
    changes = Changes(degrees=torch.tensor([degrees]))
    image = torch.from_numpy(picture(100, 100, (35, 42, 71, 58))).permute(2, 0, 1)[None]
    turned = apply_changes(image, changes, Augmentation(rotation_degrees=45))[0, 0] > 127
    rows, columns = turned.nonzero().T
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    geometry = Geometry(way, np.array([[100, 100]]), None, changes)
    moved = move_boxes(np.array([[35.0, 42, 71, 58]]), geometry.matrices(np.array([[100, 100]])))[0]
    assert np.abs(seen - moved).max() <= 1


def test_by_hand():
    way = preprocessing("short_side", 50, (40, 50))
    shapes = np.array([[100, 200]])  # 50 x 100 after resizing, of which the middle 40 x 50 is seen
    matrices = viewing_matrices(way, shapes)
    assert move_boxes(np.array([[60, 20, 140, 90]]), matrices).tolist() == [[5, 5, 45, 40]]
    assert move_boxes(np.array([[5, 5, 45, 40]]), inverted(matrices)).tolist() == [[60, 20, 140, 90]]


def test_overlong_ends_are_cut_before_packing():
    way = preprocessing("short_side", 10, (10, 10))
    image = picture(10, 100, (48, 2, 52, 8))
    packed = PackedImages.from_images([way.resize_image(image)])
    assert packed.shapes.tolist() != [[10, 100]]
    geometry = Geometry(way, packed.shapes)
    moved = move_boxes(np.array([[48, 2, 52, 8]]), geometry.matrices(np.array([[10, 100]])))[0]
    assert moved.tolist() == found(read_batch(packed, np.zeros(1, np.int64), (10, 10))[0]).tolist()


def test_boxes_are_cut_at_borders():
    boxes = np.array([[-5, 2, 30, 90], [1, 1, 2, 2]])
    assert clip_boxes(boxes, np.array([20, 10])).tolist() == [[0, 2, 10, 20], [1, 1, 2, 2]]
    assert clip_boxes(boxes, np.array([[20, 10], [1, 9]])).tolist() == [[0, 2, 10, 20], [1, 1, 2, 1]]
