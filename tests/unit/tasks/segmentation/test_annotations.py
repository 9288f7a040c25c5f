"""Masks move with their pixels, whatever is done to them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.data.augmentation import Changes, apply_changes
from striate.data.augmentation_settings import Augmentation
from striate.data.geometry import Geometry
from striate.data.mask_pack import PackedMasks
from striate.data.masks import IGNORED
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.data.readers.mask_folder import read_mask_folder
from striate.data.sampling import read_crops
from striate.errors import DataError, InputError
from striate.tasks.segmentation.annotations import MaskAnnotations, read_masks

SIZE = (32, 48)


def annotations(masks: np.ndarray) -> MaskAnnotations:
    return MaskAnnotations(
        np.zeros(len(masks), np.int64), PackedMasks(masks, (), {}, "key"), np.arange(256, dtype=np.uint8)
    )


def preprocessing(size: tuple[int, int] = SIZE) -> Preprocessing:
    return Preprocessing(1, max(size), size, mean=(0.0,), std=(1.0,), resize="fit")


def blobs(seed: int) -> np.ndarray:
    """Two regions with a straight border, (h, w) uint8 0 or 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    a, b = rng.normal(size=2)
    return ((a * (y - SIZE[0] / 2) + b * (x - SIZE[1] / 2)) > 0).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    top=st.integers(0, 12),
    left=st.integers(0, 20),
    height=st.integers(12, 20),
    width=st.integers(16, 28),
    flipped=st.booleans(),
    down=st.integers(-3, 3),
    right=st.integers(-3, 3),
    degrees=st.floats(-30, 30),
)
def test_a_mask_shows_what_the_image_shows(seed, top, left, height, width, flipped, down, right, degrees):
    mask = blobs(seed)
    images = PackedImages.from_images([(mask * 255)[..., None]])
    box = np.array([[top, left, height, width]])
    changes = Changes(
        flipped=torch.tensor([flipped]),
        down=torch.tensor([down]),
        right=torch.tensor([right]),
        degrees=torch.tensor([degrees], dtype=torch.float32),
    )
    pixels = apply_changes(read_crops(images, np.array([0]), (24, 36), box), changes, Augmentation())[0, 0]
    geometry = Geometry(preprocessing(), np.array([SIZE]), box, changes, (24, 36))
    moved = annotations(mask[None]).targets(np.array([0]), geometry)[0]
    assert moved.shape == (24, 36)
    is_clear = (pixels < 15) | (pixels > 240)  # elsewhere lies the border, between two pixels
    assert (moved[is_clear] == (pixels[is_clear] > 127)).all()


def test_without_changes_the_mask_is_the_packed_one():
    masks = np.random.default_rng(0).integers(0, 4, (3, *SIZE)).astype(np.uint8)
    targets = annotations(masks).targets(np.array([2, 0]), Geometry(preprocessing(), np.array([SIZE, SIZE])))
    assert np.array_equal(targets.numpy(), masks[[2, 0]])


def test_counts_by_hand():
    masks = np.full((2, 2, 2), IGNORED, np.uint8)
    masks[0] = [[0, 0], [1, 255]]
    masks[1] = [[1, 1], [1, 1]]
    pixels = annotations(masks).num_pixels(np.array([0, 1]), 3)
    assert pixels.tolist() == [2, 5, 0]
    assert annotations(masks).image_counts(np.array([0, 1]), 3).tolist() == [1, 2, 0]


def test_classes_of_another_source_are_matched_by_name(tmp_path: Path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    mask = np.array([[0, 1, 2, 3]] * 2, np.uint8)
    for folder, pixels in (("images", mask), ("masks", mask)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    (tmp_path / "classes.csv").write_text("index,name\n0,sky\n1,void\n2,road\n3,tree\n")
    dataset = read_mask_folder(tmp_path)
    read = read_masks(dataset, dataset.labels, ("tree", "car", "road", "sky"), preprocessing((2, 4)), lambda _: None)
    targets = read.targets(np.array([0]), Geometry(preprocessing((2, 4)), np.array([[2, 4]])))
    assert targets[0, 0].tolist() == [3, IGNORED, 2, 0]
    with pytest.raises(DataError, match="has the classes 'road', which the model does not know"):
        read_masks(dataset, dataset.labels, ("tree", "sky"), preprocessing((2, 4)), lambda _: None)
    with pytest.raises(InputError, match="resized as a whole"):
        read_masks(
            dataset,
            dataset.labels,
            ("sky", "road", "tree"),
            Preprocessing(1, 4, (4, 4), mean=(0.0,), std=(1.0,)),
            lambda _: None,
        )


def test_classes_known_by_number_alone_are_the_models_outputs(tmp_path: Path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    mask = np.array([[1, 2, 2, 4]] * 2, np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(mask).save(tmp_path / folder / "a.png")
    dataset = read_mask_folder(tmp_path)
    names = ("sky", "road", "tree", "car", "dog")
    read = read_masks(dataset, dataset.labels, names, preprocessing((2, 4)), lambda _: None)
    targets = read.targets(np.array([0]), Geometry(preprocessing((2, 4)), np.array([[2, 4]])))
    assert targets[0, 0].tolist() == [1, 2, 2, 4]
    with pytest.raises(DataError, match="which the model does not know"):
        read_masks(dataset, dataset.labels, names[:4], preprocessing((2, 4)), lambda _: None)
