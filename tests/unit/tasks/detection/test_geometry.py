"""Boxes move like pixels: draw rectangles, send the image through training's crops, flips, shifts, and find them
again.
"""

import numpy as np
import pytest
import torch

from striate.data.augmentation import apply_changes, draw_changes
from striate.data.augmentation_settings import Augmentation
from striate.data.geometry import Geometry
from striate.data.objects import ListedObject, gather
from striate.data.preprocessing import Preprocessing, resample
from striate.tasks.detection.annotations import NO_LABEL, ObjectAnnotations
from striate.tasks.detection.predictions import detected
from striate.tasks.detection.values import NUM_DETECTIONS

BOXES = ((20, 30, 60, 50), (90, 10, 130, 100), (30, 70, 70, 110))


def picture() -> np.ndarray:
    """Three rectangles, each in a colour of its own, on black: (120, 150, 3)."""
    image = np.zeros((120, 150, 3), np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(BOXES):
        image[y1:y2, x1:x2, k] = 255
    return image


def annotations(sizes) -> ObjectAnnotations:
    listed = [[ListedObject("abc"[k], tuple(map(float, box))) for k, box in enumerate(BOXES)], []]
    objects = gather(listed, ("a", "b", "c"))
    starts = np.array([0, 3, 3])
    return ObjectAnnotations(objects, np.array(sizes), np.zeros(2, np.int64), starts)


def extent(pixels: np.ndarray) -> np.ndarray | None:
    """Box of all pixels that are more than half as bright as can be, (h, w)."""
    rows, columns = np.nonzero(pixels > 127)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) if len(rows) else None


@pytest.mark.parametrize("seed", range(8))
def test_boxes_go_where_their_pixels_go(seed):
    preprocessing = Preprocessing(3, 96, (96, 96), (0.0,) * 3, (1.0,) * 3, resize="stretch")
    packed = preprocessing.resize_image(picture())  # (96, 96, 3)
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 97, 2)
    crop = np.array([[rng.integers(0, 97 - height), rng.integers(0, 97 - width), height, width]])
    top, left = crop[0, :2]
    cut = resample(packed[top : top + height, left : left + width], (96, 96), "bilinear")
    augmentation = Augmentation(flip=True, shift_px=0)
    images = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None]
    changes = draw_changes((1, 3, 96, 96), augmentation, torch.Generator().manual_seed(seed))
    moved = apply_changes(images, changes, augmentation)[0].numpy()
    geometry = Geometry(preprocessing, np.array([[96, 96]]), crop, changes)
    targets = annotations([(120, 150), (50, 50)]).targets(np.array([0]), geometry)
    for k in range(3):
        seen = extent(moved[k])
        box = 96 * targets["boxes"][0, k].numpy()
        if targets["labels"][0, k] == NO_LABEL:
            assert seen is None or min(seen[2:] - seen[:2]) <= 2
        elif not targets["are_ignored"][0, k]:
            assert np.abs(seen - box).max() <= 1.0  # borders of pixels, and what resampling blurs


def test_images_with_no_one_and_many_objects_share_a_batch():
    preprocessing = Preprocessing(1, 96, (96, 96), (0.0,), (1.0,), resize="stretch")
    geometry = Geometry(preprocessing, np.full((2, 2), 96))
    targets = annotations([(120, 150), (50, 60)]).targets(np.array([1, 0]), geometry)
    assert targets["labels"].tolist() == [[NO_LABEL] * 3, [0, 1, 2]]
    assert targets["sizes"].tolist() == [[50, 60], [120, 150]]
    alone = annotations([(120, 150), (50, 60)]).targets(np.array([1]), Geometry(preprocessing, np.full((1, 2), 96)))
    assert alone["boxes"].shape == (1, 1, 4)
    assert not alone["are_ignored"].any()


@pytest.mark.parametrize(
    ("resize", "crop"), [("stretch", (96, 96)), ("short_side", (96, 96)), ("short_side", (80, 64))]
)
def test_predictions_map_back_within_half_a_pixel(resize, crop):
    preprocessing = Preprocessing(1, 96, crop, (0.0,), (1.0,), resize=resize)
    size = np.array([[120, 150]])
    geometry = Geometry(preprocessing, np.array([preprocessing.packed_size(120, 150)]))
    targets = annotations([(120, 150), (50, 60)]).targets(np.array([0]), geometry)
    values = np.zeros((1, NUM_DETECTIONS, 6))
    values[0, :3, :4] = targets["boxes"][0].numpy()
    values[0, :3, 4] = 0.9
    values[0, :3, 5] = np.arange(3) / 3
    (answer,) = detected(["a.png"], values.reshape(1, -1), size, preprocessing, ("a", "b", "c"), 0.3)
    assert [each.name for each in answer.objects] == ["a", "b", "c"]
    whole = targets["boxes"][0].numpy()
    for each, box, seen in zip(answer.objects, BOXES, whole, strict=True):
        inside = (seen > 0) & (seen < 1)  # a cut border stays cut
        assert np.abs(np.array(each.box_xyxy) - box)[inside].max(initial=0) < 0.5
