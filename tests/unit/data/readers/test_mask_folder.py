"""Folders of images with masks, in the forms people have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.readers.mask_classes import VOC_CLASSES, voc_colors
from striate.data.readers.mask_folder import holds_masks, read_mask_folder
from striate.data.readers.sources import open_source
from striate.data.summary import summarize
from striate.errors import DataError, InputError

GREY = np.full((4, 6), 90, np.uint8)
MASK = np.array([[0, 1, 2, 2, 1, 0]] * 4, np.uint8)


def put(path: Path, pixels: np.ndarray = GREY, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{split}/{name}.jpg", "labels/{split}/{name}.png"),
        ("{split}/images/{name}.png", "{split}/masks/{name}.png"),
        ("{split}/{name}.png", "{split}annot/{name}.png"),
        ("{split}/{name}.png", "{split}_labels/{name}_L.png"),
        ("leftImg8bit/{split}/town/{name}_leftImg8bit.png", "gtFine/{split}/town/{name}_gtFine_labelIds.png"),
    ],
)
def test_layouts_with_splits(tmp_path, images, masks):
    for split, names in (("train", "abc"), ("val", "de")):
        for name in names:
            put(tmp_path / images.format(split=split, name=name))
            put(tmp_path / masks.format(split=split, name=name), MASK)
    dataset = open_source(tmp_path)
    assert (dataset.kind, dataset.class_names) == ("masks", ("0", "1", "2"))
    assert sorted(dataset.given_splits.tolist()) == [0, 0, 0, 1, 1]
    assert dataset.masks is not None
    assert all(dataset.masks.read(index)[0].tolist() == MASK.tolist() for index in range(5))


@pytest.mark.parametrize(("folder", "name"), [("masks", "a.png"), ("labels", "a_mask.png"), ("mask", "a.tif")])
def test_layouts_without_splits(tmp_path, folder, name):
    put(tmp_path / "images/a.png")
    put(tmp_path / folder / name, MASK)
    dataset = read_mask_folder(tmp_path)
    assert len(dataset) == 1
    assert dataset.given_splits.tolist() == [-1]


def test_a_list_names_classes_and_what_is_void(tmp_path):
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", MASK)
    (tmp_path / "classes.csv").write_text("index,name\n0,Sky\n1,Unlabelled\n2,Road\n")
    dataset = read_mask_folder(tmp_path)
    assert dataset.class_names == ("Sky", "Road")
    assert dataset.masks is not None
    assert dataset.masks.read(0)[0][0].tolist() == [0, 255, 1, 1, 255, 0]
    assert "masks of 2 classes by number, from classes.csv; Unlabelled ignored" in dataset.notices


def test_colours_by_the_list(tmp_path):
    colors = np.array([[128, 0, 0], [0, 9, 8], [1, 1, 1]], np.uint8)
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", colors[MASK])
    (tmp_path / "label_colors.txt").write_text("0 9 8\tCar\n128 0 0\tHouse\n1 1 1\tVoid\n")
    dataset = read_mask_folder(tmp_path)
    assert dataset.class_names == ("Car", "House")
    assert dataset.masks is not None
    assert dataset.masks.read(0)[0][0].tolist() == [1, 0, 255, 255, 0, 1]
    (tmp_path / "label_colors.txt").write_text("Car\nHouse\n")
    with pytest.raises(DataError, match=r"are in colour but label_colors\.txt has no colours"):
        read_mask_folder(tmp_path)


def test_pascal_voc_with_its_palette_and_lists(tmp_path):
    for name in "ab":
        put(tmp_path / f"JPEGImages/{name}.jpg")
        values = np.where(MASK == 2, 255, MASK * 15).astype(np.uint8)
        picture = Image.frombytes("P", values.shape[::-1], values.tobytes())
        picture.putpalette(voc_colors().tobytes())
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        picture.save(tmp_path / f"SegmentationClass/{name}.png")
    put(tmp_path / "JPEGImages/without.jpg")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    dataset = open_source(tmp_path)
    assert dataset.class_names == VOC_CLASSES
    assert dataset.given_splits.tolist() == [0, 1]
    assert dataset.masks is not None
    assert dataset.masks.read(0)[0][0].tolist() == [0, 15, 255, 255, 15, 0]
    assert any("images without a mask, left out: 1 (JPEGImages/without.jpg)" in line for line in dataset.notices)


def test_values_stand_for_classes_where_nothing_is_listed(tmp_path):
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", np.where(MASK > 0, 255, 0).astype(np.uint8))
    assert read_mask_folder(tmp_path).class_names == ("background", "foreground")
    put(tmp_path / "masks/a.png", np.where(MASK == 2, 255, MASK).astype(np.uint8))
    two = read_mask_folder(tmp_path)
    assert two.class_names == ("background", "foreground")
    assert "255 counts for nothing" in two.notices[0]
    three = read_mask_folder(tmp_path, ignore_index=0)
    assert three.class_names == ("1", "255")
    put(tmp_path / "masks/a.png", MASK.astype(np.uint16) * 300)
    assert read_mask_folder(tmp_path).class_names == ("background", "object")


def test_flaws_cost_their_image_and_are_named(tmp_path):
    for name in "abcd":
        put(tmp_path / f"images/{name}.png")
        put(tmp_path / f"masks/{name}.png", MASK)
    put(tmp_path / "masks/b.png", MASK[:2])
    (tmp_path / "masks/c.png").write_bytes(b"nothing")
    (tmp_path / "masks/d.png").unlink()
    dataset = read_mask_folder(tmp_path)
    assert [dataset.images.name(index) for index in range(len(dataset))] == ["images/a.png"]
    notices = "\n".join(dataset.notices)
    assert "images without a mask, left out: 1 (images/d.png)" in notices
    assert "masks/b.png has 6 x 2 pixels but its image 6 x 4" in notices
    assert "masks/c.png is not an image but text" in notices
    put(tmp_path / "masks/a.png", MASK[:2])
    with pytest.raises(DataError, match=r"none of its 3 masks fits its image; the first, masks/a\.png has 6 x 2"):
        read_mask_folder(tmp_path)


def test_a_photo_lying_on_its_side_takes_its_mask_along(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, mask in (("stored", MASK), ("shown", np.rot90(MASK, -1).copy())):
        put(tmp_path / f"images/{name}.jpg", exif=exif)
        put(tmp_path / f"masks/{name}.png", mask)
    dataset = read_mask_folder(tmp_path)
    assert dataset.masks is not None
    assert dataset.masks.turns.tolist() == [1, 6]
    assert dataset.masks.read(0)[0].tolist() == dataset.masks.read(1)[0].tolist() == np.rot90(MASK, -1).tolist()
    assert any("the masks are turned with them: 1 (masks/stored.png)" in line for line in dataset.notices)


def test_what_is_no_folder_of_masks(tmp_path):
    put(tmp_path / "yolo/images/a.png")
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/a.txt").write_text("0 .5 .5 .1 .1\n")
    put(tmp_path / "classes/cats/a.png")
    put(tmp_path / "classes/dogs/b.png")
    assert not holds_masks(tmp_path / "yolo")
    assert not holds_masks(tmp_path / "classes")
    with pytest.raises(InputError, match="--ignore-index is a value of masks"):
        open_source(tmp_path / "classes", ignore_index=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,name\n0,a\n0,b\n", "the number 0 is there twice"),
        ("index,name\n0,a\n1,a\n", "the name a is there twice"),
        ("index,name\nx,a\n", "line 2: 'x' is no number of a class"),
        ("index,r,g,b\n0,1,2,3\n", "has no column name"),
        ("index,name\n0,void\n", "1 to 254 classes but the list has 0"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_in_one_line(tmp_path, text, message):
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", MASK)
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_mask_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "label,name\n0,sky\n2,tree\n1,road\n"),
        ("classes.csv", "class,name\n0,sky\n2,tree\n1,road\n"),
        ("classes.csv", "Idx,Name\n0,sky\n2,tree\n1,road\n"),
        ("classes.csv", "value,class\n0,sky\n2,tree\n1,road\n"),
        ("classes.txt", "0 sky\n2 tree\n1 road\n"),
        ("classes.txt", "0: sky\n2: tree\n1: road\n"),
        ("codes.txt", "# what the numbers mean\n\nsky\nroad\ntree\n"),
    ],
)
def test_lists_give_numbers_in_several_forms(tmp_path, name, text):
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", MASK)
    (tmp_path / name).write_text(text)
    dataset = read_mask_folder(tmp_path)
    assert dataset.masks is not None
    named = [dataset.class_names[k] for k in dataset.masks.read(0)[0][0, :3].tolist()]
    assert named == ["sky", "road", "tree"]


def test_two_classes_of_one_colour_are_refused(tmp_path):
    put(tmp_path / "images/a.png")
    put(tmp_path / "masks/a.png", np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]], np.uint8)[MASK])
    (tmp_path / "classes.csv").write_text("name,r,g,b\nsky,0,0,0\nroad,9,0,0\nlane,9,0,0\ntree,0,9,0\n")
    with pytest.raises(DataError, match="the classes road and lane have the same colour"):
        read_mask_folder(tmp_path)


def test_colours_are_found_where_most_masks_show_background_alone(tmp_path):
    colors = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]], np.uint8)
    for place in range(20):
        put(tmp_path / f"images/{place:02}.png")
        put(tmp_path / f"masks/{place:02}.png", colors[MASK if place == 4 else 0 * MASK])
    dataset = read_mask_folder(tmp_path)
    assert dataset.class_names == ("#000000", "#000900", "#090000")
    (tmp_path / "classes.csv").write_text("name,r,g,b\nroad,9,0,0\ntree,0,9,0\nsky,0,0,0\n")
    dataset = read_mask_folder(tmp_path)
    assert dataset.masks is not None
    assert set(dataset.masks.read(0)[0].ravel().tolist()) == {2}


def test_a_mask_is_that_of_one_image(tmp_path):
    for name in ("cell.png", "cell.jpg", "cellL.png", "cel.png"):
        put(tmp_path / "images" / name)
    for name in ("cell.png", "cellL.png"):
        put(tmp_path / "masks" / name, MASK)
    dataset = read_mask_folder(tmp_path)
    assert [dataset.images.name(k) for k in range(len(dataset))] == ["images/cell.jpg", "images/cellL.png"]
    notices = "\n".join(dataset.notices)
    assert "images without a mask, left out: 1 (images/cel.png)" in notices
    assert "images of the same name as another, whose mask theirs would be, left out: 1 (images/cell.png)" in notices


def test_a_part_without_masks_is_named(tmp_path):
    for split in ("train", "val", "test"):
        put(tmp_path / f"images/{split}/a.png")
        if split != "test":
            put(tmp_path / f"masks/{split}/a.png", MASK)
    dataset = read_mask_folder(tmp_path)
    assert len(dataset) == 2
    assert dataset.notices[1:] == ("images without a mask, left out: 1 (images/test/a.png)",)


def test_camvid(shared_data):
    dataset = open_source(shared_data / "camvid")
    assert len(dataset.class_names) == 11
    assert np.bincount(dataset.given_splits).tolist() == [367, 101]


def test_membranes(shared_data):
    dataset = open_source(shared_data / "membrane-isbi2012")
    assert dataset.class_names == ("background", "foreground")
    assert dataset.masks is not None
    assert dataset.masks.codes.classes == ((0, 0), (255, 1))


def test_the_summary_counts_images_and_pixels_of_each_class(tmp_path):
    for name, mask in (("a", MASK), ("b", np.zeros_like(MASK)), ("c", MASK)):
        put(tmp_path / f"images/{name}.png")
        put(tmp_path / f"masks/{name}.png", mask)
    (tmp_path / "classes.csv").write_text("index,name\n0,sky\n1,road\n9,tree\n")
    summary = summarize(open_source(tmp_path))
    assert summary.images_per_class == {"unassigned": {"sky": 3, "road": 2, "tree": 0}}
    assert summary.pixels_per_class == pytest.approx({"sky": 40 / 56, "road": 16 / 56, "tree": 0})
    assert any("2 (16 pixels)" in line for line in summary.notices)
    whole = (tmp_path / "masks/c.png").read_bytes()
    (tmp_path / "masks/c.png").write_bytes(whole[:60])
    assert [name for name, _ in summarize(open_source(tmp_path)).broken] == ["masks/c.png"]
