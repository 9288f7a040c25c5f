"""Masks: what values mean, in every form that files hold them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from striate.data.decoding import decode_image
from striate.data.mask_pack import pack_masks
from striate.data.masks import IGNORED, MaskCodes, Masks, mask_values, nearest_places, resize_mask, turn
from striate.data.readers.access import FileImages
from striate.errors import InputError

VALUES = np.array([[0, 1, 2], [2, 7, 255]], np.uint8)


def encoded(pixels: np.ndarray, mode: str | None = None, **options: object) -> bytes:
    image = Image.fromarray(pixels) if mode is None else Image.frombytes(mode, pixels.shape[::-1], pixels.tobytes())
    if mode == "P":
        image.putpalette(list(range(255, -1, -1)) * 3)
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def test_numbers_of_grey_palette_and_16_bit_files():
    assert np.array_equal(mask_values(encoded(VALUES), as_color=False), VALUES)
    assert np.array_equal(mask_values(encoded(VALUES, "P"), as_color=False), VALUES)  # not the palette's colours
    deep = VALUES.astype(np.uint16) * 1000
    assert np.array_equal(mask_values(encoded(deep), as_color=False), deep)
    assert np.array_equal(mask_values(encoded(VALUES > 1), as_color=False), VALUES > 1)


def test_colours_and_grey_saved_as_colour():
    color = np.zeros((2, 3, 3), np.uint8)
    color[0, 0] = (128, 64, 1)
    assert mask_values(encoded(color), as_color=True)[0, 0] == 128 << 16 | 64 << 8 | 1
    with pytest.raises(InputError, match="in colour where class numbers are expected"):
        mask_values(encoded(color), as_color=False)
    assert np.array_equal(mask_values(encoded(np.repeat(VALUES[..., None], 3, 2)), as_color=False), VALUES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (encoded(VALUES, format="JPEG"), "is a JPEG, whose losses change class numbers"),
        (encoded(VALUES)[:40], "cut off|damaged"),
        (b"no image at all", "not an image"),
    ],
)
def test_what_no_mask_can_be_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        mask_values(data, as_color=False)


def test_a_mask_with_too_many_pixels_is_refused_before_it_is_decoded():
    with pytest.raises(InputError, match="over the limit"):
        mask_values(encoded(VALUES), as_color=False, max_pixels=5)


def test_undeclared_values_are_counted_and_ignored():
    codes = MaskCodes("index", ((0, 0), (1, 1), (2, 1)), ignored=(255,))
    classes, undeclared = codes.classes_of(VALUES.astype(np.int32))
    assert classes.tolist() == [[0, 1, 1], [1, IGNORED, IGNORED]]
    assert undeclared == {7: 1}


def test_instances_are_background_and_object():
    classes, undeclared = MaskCodes("instances", ()).classes_of(VALUES.astype(np.int32))
    assert classes.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert not undeclared


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_turns_as_its_photo_does(orientation):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = decode_image(encoded(pixels, exif=exif), 1)[..., 0]
    assert np.array_equal(turn(pixels.astype(np.int32), orientation), shown)


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_nearest_pixel_is_that_whose_centre_is_nearest(length, resized):
    centres = (np.arange(resized) + 0.5) * length / resized
    distances = np.abs(centres[:, None] - (np.arange(length) + 0.5))
    chosen = distances[np.arange(resized), nearest_places(length, resized)]
    assert np.allclose(chosen, distances.min(axis=1))


def test_resizing_makes_no_new_classes():
    mask = np.random.default_rng(0).integers(0, 9, (31, 17)).astype(np.uint8)
    assert set(np.unique(resize_mask(mask, (50, 8)))) <= set(np.unique(mask))
    assert np.array_equal(resize_mask(resize_mask(mask, (62, 34)), (31, 17)), mask)


def masks_in(folder, contents: list[bytes], size: tuple[int, int] = (2, 3)) -> Masks:
    for place, data in enumerate(contents):
        (folder / f"{place}.png").write_bytes(data)
    files = FileImages(folder, [f"{place}.png" for place in range(len(contents))])
    codes = MaskCodes("index", ((0, 0), (1, 1), (2, 2)), (255,))
    count = len(contents)
    return Masks(files, codes, np.ones(count, np.int8), np.tile(np.array(size), (count, 1)))


def test_packed_masks_are_made_once_and_name_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    masks = masks_in(tmp_path, [encoded(VALUES), encoded(VALUES)[:40], encoded(VALUES.T.copy())])
    lines: list[str] = []
    packed = pack_masks(masks, (4, 6), log=lines.append)
    assert packed.classes.shape == (3, 4, 6)
    assert packed.classes[0].tolist() == np.repeat(np.repeat([[0, 1, 2], [2, 255, 255]], 2, 0), 2, 1).tolist()
    assert (packed.classes[1] == IGNORED).all()
    assert [index for index, _ in packed.broken] == [1, 2]
    assert "2.png has 2 x 3 pixels but its image 3 x 2" in lines[0]
    assert "7 (1 pixels)" in lines[1]
    monkeypatch.setattr(Masks, "read", None)  # the second time nothing is decoded
    again = pack_masks(masks, (4, 6))
    assert np.array_equal(again.classes, packed.classes)
    assert (again.broken, again.undeclared, again.key) == (packed.broken, packed.undeclared, packed.key)


def test_a_changed_mask_changes_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    before = pack_masks(masks_in(tmp_path, [encoded(VALUES)]), (2, 3))
    after = pack_masks(masks_in(tmp_path, [encoded(VALUES[::-1].copy())]), (2, 3))
    assert before.key != after.key
    assert not np.array_equal(before.classes, after.classes)
