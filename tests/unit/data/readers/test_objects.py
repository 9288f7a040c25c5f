"""Sources with many objects an image: every format, and every flaw that boxes have, found and named."""

import json

import numpy as np
import pytest
from PIL import Image

from striate.data.objects import ANY_CLASS, ListedObject, gather, image_sizes, largest_of, settle
from striate.data.opening import Access, open_data
from striate.data.readers.sources import open_source
from striate.data.readers.yolo_names import yolo_class_names
from striate.data.summary import summarize
from striate.errors import DataError
from striate.tasks.localization.task import Localization


def photo(path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)


def settled(dataset):
    sizes = image_sizes(dataset.images.read, len(dataset))
    return settle(dataset.objects, sizes, dataset.images.name)


def voc_xml(objects, name="a.jpg"):
    rows = "".join(
        f"<object><name>{name}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2), hard in objects
    )
    return f"<annotation><filename>{name}</filename>{rows}</annotation>"


def test_voc_in_its_official_form(tmp_path):
    for stem, objects in (
        ("2007_000001", [("dog", (1, 1, 64, 48), False), ("cat", (11, 21, 20, 30), True)]),
        ("2007_000002", []),
    ):
        photo(tmp_path / "JPEGImages" / f"{stem}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(voc_xml(objects, f"{stem}.jpg"))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000001\n")
    (lists / "val.txt").write_text("2007_000002\n")
    dataset = open_source(tmp_path)
    objects, flaws = settled(dataset)
    assert flaws == ()
    assert objects.class_names == ("cat", "dog")
    assert objects.boxes.tolist() == [[0, 0, 64, 48], [10, 20, 20, 30]]
    assert objects.are_ignored.tolist() == [False, True]
    assert dataset.given_splits.tolist() == [0, 1]
    assert dataset.class_names == ("dog",)  # of one object an image, that of the largest
    assert np.isnan(dataset.boxes[1]).all()  # the image without an object is kept


def test_every_flaw_is_named_and_what_can_be_put_right_is(tmp_path):
    photo(tmp_path / "JPEGImages" / "a.jpg")
    photo(tmp_path / "JPEGImages" / "b.jpg")
    (tmp_path / "Annotations").mkdir()
    boxes = [(1, 1, 10, 10), (30, 5, 30, 40), (40, 40, 20, 30), (70, 10, 90, 20), (50, 30, 90, 60)]
    (tmp_path / "Annotations" / "a.xml").write_text(voc_xml([("x", box, False) for box in boxes]))
    (tmp_path / "Annotations" / "b.xml").write_text(voc_xml([("x", (0.25, 0.5, 0.75, 1.0), False)], "b.jpg"))
    objects, flaws = settled(open_source(tmp_path))
    assert flaws == (
        "JPEGImages/a.jpg, object 2: no area, left out",
        "JPEGImages/a.jpg, object 3: corners exchanged, put right",
        "JPEGImages/a.jpg, object 4: outside its image, left out",
        "JPEGImages/a.jpg, object 5: reaches over the border of its image, cut there",
        "JPEGImages/b.jpg, object 1: in fractions of the image, taken as such",
    )
    assert objects.boxes.tolist() == [[0, 0, 10, 10], [19, 29, 40, 40], [49, 29, 64, 48], [16, 24, 48, 48]]


YAMLS = (
    "names: [cat, 'dog']\n",
    "nc: 2\nnames:\n  0: cat\n  1: dog  # a pet\n",
    "names:\n- cat\n- dog\nval: x\n",
    "names: {0: cat, 1: 'dog'}\n",
)


@pytest.mark.parametrize("yaml", YAMLS)
def test_yolo_with_settings(tmp_path, yaml):
    for split, name, text in (("train", "a", "1 0.5 0.5 0.5 0.5\n0 .25 .25 .5 .5\n"), ("val", "b", "")):
        photo(tmp_path / "images" / split / f"{name}.jpg")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / f"{name}.txt").write_text(text)
    photo(tmp_path / "images" / "train" / "c.jpg")
    (tmp_path / "data.yaml").write_text(yaml)
    dataset = open_source(tmp_path)
    assert dataset.kind == "yolo"
    objects, flaws = settled(dataset)
    assert objects.class_names == ("cat", "dog")
    assert flaws == ()
    assert objects.labels.tolist() == [1, 0]
    assert objects.boxes.tolist() == [[16, 12, 48, 36], [0, 0, 32, 24]]
    assert dataset.given_splits.tolist() == [0, 0, 1]
    assert any("1 image without a text file" in notice for notice in dataset.notices)


def test_yolo_beside_images_by_number_and_unknown_class(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("3 0.5 0.5 0.5 0.5\n0 0.2 0.2 0.1 0.1\n")
    assert open_source(tmp_path).objects.class_names == ("0", "1", "2", "3")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    objects, flaws = settled(open_source(tmp_path))
    assert flaws == ("a.png, object 1: its class is not among those of the source, left out",)
    assert len(objects) == 1
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n" * 300 + "0 0.5\n")
    with pytest.raises(DataError, match=r"a\.txt, line 301: '0 0\.5' should be a class number and four numbers"):
        open_source(tmp_path)


def coco(**changes):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 20, 5, 6], "area": 30, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 64, 48], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 99, "bbox": [0, 0, 9, 9]},
            {"id": 4, "image_id": 5, "category_id": 3, "bbox": [0, 0, 9, 9]},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    return json.dumps(content | changes)


def test_coco_folder_and_file(tmp_path):
    for split in ("train2017", "val2017"):
        photo(tmp_path / split / "a.jpg")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(coco())
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    dataset = open_source(tmp_path)
    assert dataset.kind == "coco"
    assert len(dataset) == 2
    assert dataset.given_splits.tolist() == [0, 1]
    objects, flaws = settled(dataset)
    assert objects.class_names == ("car", "dog")
    assert objects.boxes.tolist() == [[10, 20, 15, 26], [0, 0, 64, 48]] * 2
    assert objects.are_ignored.tolist() == [False, True] * 2
    assert len(flaws) == 2
    assert any("2 listed images whose file is not there: b.jpg, b.jpg" in notice for notice in dataset.notices)
    alone = open_source(tmp_path / "annotations" / "instances_val2017.json")
    assert len(alone) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (coco(images=[{"id": 1, "file_name": "../up.jpg"}]), "leads out of the folder"),
        (coco(annotations=[{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3]}]), "annotation 1: its bbox is"),
        (coco(categories=[{"id": 3}]), "a category has no id or no name"),
        (coco()[:-20], "is no JSON"),
    ],
)
def test_damaged_coco_is_refused_by_entry(tmp_path, text, line):
    photo(tmp_path / "a.jpg")
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(DataError, match=line):
        open_source(tmp_path / "boxes.json")


def test_kitti(tmp_path):
    photo(tmp_path / "image_2" / "000000.png")
    (tmp_path / "label_2").mkdir()
    numbers = "1.5 1.6 3.9 -16 2 58 1.5"
    lines = [f"Car 0.00 0 1.85 10.5 20.0 30.5 40.0 {numbers}", f"DontCare -1 -1 -10 0 0 5 5 {numbers}"]
    (tmp_path / "label_2" / "000000.txt").write_text("\n".join(lines))
    objects, _ = settled(open_source(tmp_path))
    assert objects.labels.tolist() == [0, ANY_CLASS]
    assert objects.boxes.tolist() == [[10.5, 20, 30.5, 40], [0, 0, 5, 5]]
    (tmp_path / "label_2" / "000000.txt").write_text("Car 0.00 0 1.85 10.5\n")
    with pytest.raises(DataError, match=r"label_2/000000\.txt, line 1"):
        open_source(tmp_path)


def test_csv_with_several_rows_an_image_and_one_without_objects(tmp_path):
    for name in "abc":
        photo(tmp_path / f"{name}.jpg")
    rows = [
        "path,label,xmin,ymin,xmax,ymax",
        "a.jpg,cat,0,0,10,10",
        "a.jpg,dog,5,5,60,40",
        "b.jpg,,,,,",
        "c.jpg,cat,3,9,3,12",
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    dataset = open_source(tmp_path / "boxes.csv")
    objects, flaws = settled(dataset)
    assert len(dataset) == 3
    assert objects.images.tolist() == [0, 0]
    assert objects.class_names == ("cat", "dog")
    assert flaws == ("c.jpg, object 1: no area, left out",)
    assert dataset.boxes[0].tolist() == [5, 5, 60, 40]


def test_summary_counts_objects(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg", (32, 32))
    (tmp_path / "boxes.csv").write_text(
        "path,label,x1,y1,x2,y2\na.jpg,cat,0,0,9,9\na.jpg,cat,5,5,60,40\na.jpg,dog,1,1,1,2\nb.jpg,,,,,\n"
    )
    summary = summarize(open_source(tmp_path / "boxes.csv"))
    assert summary.objects_per_class == {"unassigned": {"cat": 2, "dog": 0}}
    assert summary.images_per_class == {"unassigned": {"cat": 1, "dog": 0}}
    assert summary.num_empty == 1
    assert summary.flaws == ("a.jpg, object 3: no area, left out",)


def test_ten_thousand_boxes_in_an_image():
    listed = [[ListedObject("a", (k % 100, k // 100, k % 100 + 1, k // 100 + 1)) for k in range(10_000)]]
    objects, flaws = settle(gather(listed), np.array([[100, 100]]), str)
    assert len(objects) == 10_000
    assert flaws == ()
    names, labels, boxes = largest_of(objects, 1)
    assert (names, labels.tolist(), boxes.tolist()) == (("a",), [0], [[0, 0, 1, 1]])


def test_of_one_object_an_image_flaws_are_put_right_or_left_out(tmp_path):
    """Corners exchanged, fractions, outside and no area, in a table with one object an image: never fatal, and all
    named.
    """
    boxes = {"a": "40,30,10,5", "b": "0.25,0.5,0.75,1", "c": "100,100,120,120", "d": "5,5,5,9", "e": "1,2,30,40"}
    for name in boxes:
        photo(tmp_path / f"{name}.png")
    rows = "".join(f"{name}.png,cat,{box}\n" for name, box in boxes.items())
    (tmp_path / "boxes.csv").write_text(f"path,label,x1,y1,x2,y2\n{rows}")
    lines = []
    data = open_data(tmp_path / "boxes.csv", Access(task="localization"))
    task = Localization(data.dataset.class_names)
    annotations = task.annotations(data.dataset, log=lines.append)
    assert task.usable(data.dataset).tolist() == [True, True, False, False, True]
    assert annotations.boxes[[0, 1, 4]].tolist() == [[10, 5, 40, 30], [16, 24, 48, 48], [1, 2, 30, 40]]
    assert np.isnan(annotations.boxes[2:4]).all()
    assert lines == [
        "left out 2 images without a box",
        "4 flawed boxes: a.png, object 1: corners exchanged, put right; b.png, object 1: in fractions of the image, "
        "taken as such; c.png, object 1: outside its image, left out; d.png, object 1: no area, left out",
    ]
    (tmp_path / "boxes.csv").write_text("path,label,x1,y1,x2,y2\nc.png,cat,100,100,120,120\n")
    lost = open_data(tmp_path / "boxes.csv", Access(task="localization")).dataset
    assert Localization.problem_with(lost) == "none of its images has a box that lies in it"


def test_coco_with_numbers_and_names_that_no_machine_holds(tmp_path):
    photo(tmp_path / "a.jpg")
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "x" * 400}, {"id": 9, "file_name": "\ud800"}]
    huge = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 10**400, 5]}
    fine = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 5, 5]}
    (tmp_path / "boxes.json").write_text(coco(images=images, annotations=[huge, fine]))
    dataset = open_source(tmp_path / "boxes.json")
    assert len(dataset) == 1
    assert dataset.notices == (
        f"left out 2 listed images whose file is not there: {'x' * 400}, \N{REPLACEMENT CHARACTER}",
    )
    objects, flaws = settled(dataset)
    assert flaws == ("a.jpg, object 1: a border is no number, left out",)
    assert objects.boxes.tolist() == [[1, 2, 6, 7]]
    (tmp_path / "boxes.json").write_text(coco(annotations=[fine | {"bbox": [True, 2, 5, 5]}]))
    with pytest.raises(DataError, match="annotation 1: its bbox is"):
        open_source(tmp_path / "boxes.json")


def test_yolo_names_with_commas_and_outlines(tmp_path):
    photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.25 0.5 0.75 0.25 0.5 1\n")
    for yaml in ("names: [cat, 'dog, big']\n", 'names: {\n  0: cat,\n  1: "dog, big",\n}\n'):
        (tmp_path / "data.yaml").write_text(yaml)
        dataset = open_source(tmp_path)
        assert dataset.kind == "yolo"
        assert dataset.objects.class_names == ("cat", "dog, big")
        assert settled(dataset)[0].boxes.tolist() == [[16, 12, 48, 48]]


@pytest.mark.parametrize("line", ["-1 .5 .5 .3 .3", "1e3 .5 .5 .3 .3", "0 .1 .1 .5 .1 .5 .5 .1", "0 a b c d", "0 .5"])
@pytest.mark.parametrize("place", ["labels", "beside"])
def test_one_bad_line_does_not_make_a_yolo_folder_one_of_classes(tmp_path, line, place):
    for name in ("a", "b"):
        photo(tmp_path / ("images" if place == "labels" else "") / f"{name}.png")
    texts = tmp_path / ("labels" if place == "labels" else "")
    texts.mkdir(exist_ok=True)
    (texts / "a.txt").write_text(f"0 .5 .5 .3 .3\n{line}\n")
    (texts / "b.txt").write_text("0 .5 .5 .3 .3\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: .* should be a class number and four numbers"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [no, on, 7, null, 'dog, big']\n", ("no", "on", "7", "null", "dog, big")),
        ("names: {2: c, 0: a}\n", ("a", "1", "c")),
        ("\ufeffnames: [a, b]\r\n", ("a", "b")),
        ("names: &n\n  - a # first\n  - >-\n    b\n    c\nother: *n\n", ("a", "b c")),
        ('{"names": ["a", "b"], "nc": 2}', ("a", "b")),
        ("names: coco.names\n", ()),
        ("path: x\n", ()),
        ("!!python/object:os.system {x: y}\n", ()),
    ],
)
def test_names_in_every_form_of_yaml(tmp_path, text, names):
    (tmp_path / "data.yaml").write_text(text)
    assert yolo_class_names(tmp_path) == names


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("names: [a, b\n", "no YAML"),
        ("nc: 1\nnames: @a\n", "line 2: no YAML"),
        ("names: [[a], b]\n", "names should be a list of class names"),
        ("names: {a: 0}\n", "names should be a list of class names"),
        ("names: {999999999999: a}\n", "names should be a list of class names"),
        ("names: {10001: a}\n", "the limit is 10,000 classes"),
        ("names: " + "[" * 5000 + "\n", "nested too deeply"),
        ("names: [a]\n" + "#" * 1_000_001, "over the limit of 1,000,000"),
    ],
)
def test_damaged_settings_are_refused_by_line(tmp_path, text, line):
    photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .3 .3\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=line):
        open_source(tmp_path)


def test_yolo_with_a_folder_for_each_split(tmp_path):
    """As Roboflow writes it: train/images beside train/labels."""
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        photo(tmp_path / split / "images" / f"{name}.png")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / f"{name}.txt").write_text("1 .5 .5 .5 .5\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nnc: 2\nnames: ['cat', 'cat']\n")
    dataset = open_source(tmp_path)
    assert dataset.kind == "yolo"
    assert [dataset.images.name(k) for k in range(3)] == [
        "test/images/c.png",
        "train/images/a.png",
        "valid/images/b.png",
    ]
    assert dataset.given_splits.tolist() == [2, 0, 1]
    objects, flaws = settled(dataset)
    assert objects.class_names == ("cat",)
    assert flaws == ()
    assert objects.boxes.tolist() == [[16, 12, 48, 36]] * 3
