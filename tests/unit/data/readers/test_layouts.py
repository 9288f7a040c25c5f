"""Public layouts of folders: which become splits and classes, which are told, and which are refused."""

import os
from pathlib import Path

import pytest

from striate.data.dataset import SPLITS
from striate.data.readers.folder import read_folder
from striate.data.readers.split_names import split_of, splits_of
from striate.errors import DataError


def make(root: Path, *folders: str, images: int = 2) -> Path:
    """Images of a few bytes in folders; scanning decodes nothing."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            (root / folder / f"{number}.png").write_bytes(f"{folder} {number}".encode())
    return root


def found(root: Path) -> dict[str, set[str]]:
    """Split -> its classes, where images have splits."""
    dataset = read_folder(root)
    return {
        split: {dataset.class_names[label] for label in dataset.labels[dataset.given_splits == number]}
        for number, split in enumerate(SPLITS)
        if (dataset.given_splits == number).any()
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("TRAIN", "train"), ("Training", "train"), ("training_set", "train"),
        ("TrainingSet", "train"),
        ("train_images", "train"), ("images_train", "train"), ("train-data", "train"), ("train2017", "train"),
        ("01_train", "train"),
        ("val", "validation"), ("valid", "validation"), ("Val_Set", "validation"), ("dev", "validation"),
        ("dev-set", "validation"),
        ("Validation Images", "validation"), ("test", "test"), ("test1", "test"), ("Testing", "test"),
        ("test_set", "test"),
        ("evaluation", "test"), ("eval", "test"),
        ("tram", None), ("trains", None), ("steam_train", None), ("contest", None), ("testudo", None), ("valley", None),
        ("set", None), ("", None), ("train_val", None), ("device", None),
    ],
)  # fmt: skip
def test_what_parts_are_called(name, split):
    assert split_of(name) == split


def test_names_that_differ_by_the_word_alone():
    assert splits_of(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
    assert splits_of(["asl_alphabet_train", "asl_alphabet_val"]) == {
        "asl_alphabet_train": "train",
        "asl_alphabet_val": "validation",
    }
    assert splits_of(["steam_train", "model_train"]) == {}
    assert splits_of(["steam_train", "model_test"]) == {}
    assert splits_of(["blood_test", "skin_test"]) == {}


PARTS = {"train": {"cat", "dog"}, "test": {"cat", "dog"}}


@pytest.mark.parametrize(
    "folders",
    [
        ("training_set/cat", "training_set/dog", "test_set/cat", "test_set/dog"),
        ("seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat", "seg_test/seg_test/dog",
        "seg_pred/seg_pred"),
        ("train_images/cat", "train_images/dog", "TEST_IMAGES/cat", "TEST_IMAGES/dog"),
        ("archive/Training/cat", "archive/Training/dog", "archive/Testing/cat", "archive/Testing/dog"),
        ("a/b/c/Train/cat", "a/b/c/Train/dog", "a/b/c/Test/cat", "a/b/c/Test/dog"),
        ("train/animals/cat", "train/animals/dog", "test/animals/cat", "test/animals/dog"),
        ("__MACOSX/pets/train/cat", "pets/train/cat", "pets/train/dog", "pets/test/cat", "pets/test/dog"),
    ],
)  # fmt: skip
def test_split_folders_of_public_layouts(tmp_path, folders):
    assert found(make(tmp_path, *folders)) == PARTS


def test_what_was_taken_for_what_is_told(tmp_path):
    make(tmp_path, "pets/training_set/pets/cat", "pets/training_set/pets/dog", "pets/val/cat", "pets/val/dog")
    assert read_folder(tmp_path).notices == (
        "the classes are taken from pets, the only folder there",
        "the classes of pets/training_set are the folders in pets/training_set/pets",
        "folders taken for splits: training_set for train",
    )


def test_usual_names_need_no_word(tmp_path):
    assert read_folder(make(tmp_path, "train/cat", "train/dog", "val/cat", "val/dog")).notices == ()


def test_a_split_with_one_class_is_no_wrapper(tmp_path):
    make(tmp_path, "train/cat", "train/dog", "test/cat/indoors", "test/cat/outdoors")
    assert found(tmp_path) == {"train": {"cat", "dog"}, "test": {"cat"}}


def test_one_split_folder_is_no_wrapper(tmp_path):
    assert found(make(tmp_path, "train/cat", "train/dog")) == {"train": {"cat", "dog"}}


def test_trains_that_are_classes(tmp_path):
    assert read_folder(make(tmp_path, "steam_train", "model_train", "train")).class_names == (
        "model_train",
        "steam_train",
        "train",
    )


def test_images_in_a_folder_below_each_class_are_told(tmp_path):
    dataset = read_folder(make(tmp_path, "animals/dog", "animals/cat", "plants/oak", "plants/rose"))
    assert dataset.class_names == ("animals", "plants")
    assert dataset.notices == (
        "classes whose images all lie in subfolders, which are not taken for classes: 2 (animals: cat, dog; plants: "
        "oak, rose); if the subfolders are the classes, put them side by side in one folder",
    )


def test_a_folder_called_images_below_each_class(tmp_path):
    """As Tiny ImageNet has it."""
    dataset = read_folder(make(tmp_path, *(f"train/n0{number}/images" for number in range(5))))
    assert len(dataset.class_names) == 5
    assert dataset.notices[0].startswith(
        "classes whose images all lie in subfolders, which are not taken for classes: 5 ("
    )


def test_a_class_with_images_of_its_own_needs_no_word(tmp_path):
    assert read_folder(make(tmp_path, "cat", "cat/indoors", "dog", "dog/indoors")).notices == ()


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("site a/cat", "site a/dog", "site b/cat", "site b/dog"), "site a and site b hold the same subfolders (cat, "
            "dog)"),
        (("2019/Cat", "2019/Dog", "2020/cat", "2020/dog", "2020/owl"), "2019 and 2020 hold the same subfolders (cat, "
            "dog)"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "cat and dog hold the same subfolders (test, train)"),
        (("covid/images", "covid/masks", "flu/images", "flu/masks"), "covid and flu hold the same subfolders (images, "
            "masks)"),
        (("2019/cat", "2020/cat"), "2019 and 2020 hold the same subfolders (cat)"),
        (("train/x/cat", "train/x/dog", "train/y/cat", "train/y/dog"), "x and y hold the same subfolders (cat, dog)"),
    ],
)  # fmt: skip
def test_the_same_subfolders_side_by_side_are_refused(tmp_path, folders, named):
    with pytest.raises(DataError) as caught:
        read_folder(make(tmp_path, *folders))
    assert named in str(caught.value)
    assert "are they splits? name them train and test" in str(caught.value)


def test_different_bytes_that_are_no_text_stay_different_classes(tmp_path):
    for number, name in enumerate((b"caf\xe9", b"caf\xe8")):
        folder = os.fsencode(tmp_path) + b"/" + name
        try:
            os.mkdir(folder)
        except OSError:
            pytest.skip("this file system takes no such names")
        with open(folder + b"/1.png", "wb") as file:
            file.write(bytes([number]))
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("caf\\xe8", "caf\\xe9")
    assert [dataset.images.read(index) for index in range(2)] == [b"\1", b"\0"]
