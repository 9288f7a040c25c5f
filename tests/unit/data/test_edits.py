"""Images left out and labelled anew: which names are understood, what is told, and what a run keeps."""

import csv

import numpy as np
import pytest
from PIL import Image

from striate.data.edits import NO_EDITS, Edits, apply_edits, edits_from_json, read_edits
from striate.data.image_groups import groups_to_keep_whole
from striate.data.opening import Access, open_data, pack_data, with_lasting_edits
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.evaluation.data_checks import check_data
from striate.evaluation.exclusion_list import exclusion_list
from striate.evaluation.label_errors import find_label_errors
from striate.reports.label_errors_page import write_label_errors_table

NAMES = ["a/1.png", "a/2.png", "a/=3.png", "b/4.png", "b/5.png", "b/#6.png"]


@pytest.fixture
def photos(tmp_path):
    """Two classes of three images, whose names a spreadsheet or a list could mistake for something else."""
    draw = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def opened(photos, edits, lines=None):
    return open_data(photos, Access(edits=edits, log=[].append if lines is None else lines.append))


def names_of(data, chosen):
    return {data.dataset.images.name(int(index)) for index in np.flatnonzero(chosen)}


def test_names_are_understood_below_the_source_from_here_and_from_the_top(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    lines = []
    edits = Edits(("a/1.png", "photos/b/4.png", str(photos / "a" / "2.png"), "./b/#6.png", "b\\5.png", "c/7.png"))
    data = opened(photos, edits, lines)
    assert names_of(data, data.left_out) == {"a/1.png", "b/4.png", "a/2.png", "b/#6.png", "b/5.png"}
    assert "1 of the 6 images to leave out are not in" in lines[0]
    assert lines[0].endswith("c/7.png")
    assert "left out 5 of 6 images, as asked: a/1.png, a/2.png, b/#6.png, ..." in lines[1]
    assert data.edits.excluded == ("a/1.png", "a/2.png", "b/#6.png", "b/4.png", "b/5.png")


def test_an_image_left_out_is_in_no_split_and_the_pack_is_the_same_one(photos):
    size = Preprocessing(channels=3, resize_size=8, crop_size=(8, 8), resize="stretch", mean=(0,) * 3, std=(1,) * 3)
    plain, edited = opened(photos, NO_EDITS), opened(photos, Edits(("a/1.png",)))
    assert plain.fingerprint == edited.fingerprint
    for stream in (False, True):
        packed = pack_data(edited, size, Access(), stream=stream)
        assert names_of(edited, ~packed.usable) == {"a/1.png"}
        assert packed.broken == {}


def test_new_labels_change_the_classes_and_nothing_else(photos):
    lines = []
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    data = opened(photos, Edits(labels=(("a/1.png", "b"), ("b/4.png", "b"))), lines)
    labels = dict(zip(map(data.dataset.images.name, range(6)), data.dataset.labels.tolist(), strict=True))
    assert labels == {"a/1.png": 1, "a/2.png": 0, "a/=3.png": 0, "b/4.png": 1, "b/5.png": 1, "b/#6.png": 1}
    assert lines == ["1 label of 6 changed, as asked; 1 had the class already"]
    assert data.edits.labels == (("a/1.png", "b"),)
    assert before == {path: path.read_bytes() for path in photos.rglob("*.png")}


def test_a_table_of_label_errors_is_read_back_as_it_was_written(photos, tmp_path):
    """Every image by its own name, also those that a spreadsheet would take for a formula."""
    found = find_label_errors(photos, num_folds=2)
    table = write_label_errors_table(found, tmp_path / "errors.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with pytest.raises(InputError, match="gives no image a new label"):
        read_edits(labels=table)
    for row in rows:
        row["label"] = "b" if row["given"] == "a" else ""
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    wanted = {issue.path for issue in found.issues if issue.given == "a"}
    assert wanted
    data = opened(photos, read_edits(labels=table))
    assert {name for name, _ in data.edits.labels} == wanted


def test_lists_and_tables(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# blurred\n\na/1.png\n  b/2.png \na/1.png\n", encoding="utf-8-sig")
    assert read_edits(exclude=path).excluded == ("a/1.png", "b/2.png")
    path.write_text('path,given\n"a, or b.png",cat\nb.png,dog\n')
    assert read_edits(exclude=path).excluded == ("a, or b.png", "b.png")
    for text, words in (("# nothing\n", "lists no images"),):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_edits(exclude=path)
    for text, words in (("name,label\na,b\n", "no column path"), ("path,given\na,b\n", "no column label")):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_edits(labels=path)
    with pytest.raises(InputError, match="--exclude names, cannot be read"):
        read_edits(exclude=tmp_path / "none.txt")
    with pytest.raises(InputError, match="--labels names, cannot be read"):
        read_edits(labels=tmp_path)


def test_what_cannot_be_meant_is_refused(photos):
    for edits, words in (
        (
            Edits(("x.png", "y.png")),
            "none of the 2 images to leave out is one of .* such as 'x.png'; its images .*'a/1.png'",
        ),
        (Edits(labels=(("a/1.png", "tulip"),)), "new labels name 'tulip', no class of .*, which has a, b"),
        (Edits(labels=(("a/1.png", "a"), ("./a/1.png", "b"))), "has two new labels, 'a' and 'b'"),
    ):
        with pytest.raises(InputError, match=words):
            opened(photos, edits)


def test_edits_survive_a_run_file_and_nothing_else_is_taken_for_them(photos):
    edits = Edits(("a/1.png",), (("b/4.png", "a"),))
    assert edits_from_json(edits.to_json()) == edits
    assert edits_from_json(None) == NO_EDITS
    for damaged in ({}, [], "x", {"excluded": [1], "labels": []}, {"excluded": [], "labels": [["a"]]}, {"excluded": 3}):
        with pytest.raises(InputError, match="not stored as striate stores it"):
            edits_from_json(damaged)
    access = with_lasting_edits(photos, Access(edits=Edits((str(photos / "a" / "1.png"),))))
    assert access.edits == Edits(("a/1.png",))


def test_new_labels_are_refused_where_an_image_has_more_than_a_class(photos):
    dataset = opened(photos, NO_EDITS).dataset
    boxed = type(dataset)(**{**vars(dataset), "boxes": np.zeros((6, 4))})
    with pytest.raises(InputError, match="gives images one class each"):
        apply_edits(boxed, Edits(labels=(("a/1.png", "b"),)), [].append)


def test_the_list_of_data_keeps_one_of_copies_and_none_of_contradictions(photos, tmp_path):
    """b/5 is a copy of b/4; a/9 and b/9 are one image in two classes; a/8 is blank and a/7 cannot be read."""
    (photos / "b" / "5.png").write_bytes((photos / "b" / "4.png").read_bytes())
    pixels = np.random.default_rng(1).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    for folder in "ab":
        Image.fromarray(pixels).save(photos / folder / "9.png")
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(photos / "a" / "8.png")
    (photos / "a" / "7.png").write_bytes(b"no image")
    dataset = opened(photos, NO_EDITS).dataset
    path = tmp_path / "out.txt"
    path.write_text(exclusion_list(check_data(dataset), dataset))
    assert set(read_edits(exclude=path).excluded) == {"a/7.png", "a/8.png", "a/9.png", "b/9.png", "b/5.png"}


def test_images_without_a_group_count_each_by_themselves(photos):
    dataset = opened(photos, NO_EDITS).dataset
    numbers, lines = groups_to_keep_whole(dataset, r"/(\d)\.png")
    assert len(np.unique(numbers)) == 6
    assert lines == (r"2 of 6 images have no group by '/(\\d)\\.png' and count each by itself",)
    assert groups_to_keep_whole(dataset, None) == (None, ())
    with pytest.raises(InputError, match="a class cannot be kept in one part: every part needs images of all classes"):
        groups_to_keep_whole(dataset, "class")
