from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.data.dataset import Dataset, Splits
from striate.data.hashing import hash_images
from striate.data.readers.access import ArrayImages
from striate.data.readers.sources import open_source
from striate.data.splits import digest, find_copies, split_dataset
from striate.errors import DataError, InputError


def make(contents: Sequence[int], labels: Sequence[str], splits: Sequence[int] | None = None) -> Dataset:
    """One-pixel images; equal contents are identical images. Classes are listed in the order of their first image."""
    names = tuple(dict.fromkeys(labels))
    pixels = np.array([divmod(content, 256) for content in contents], dtype=np.uint8).reshape(-1, 1, 2)
    return Dataset(
        source="here",
        kind="npz",
        class_names=names,
        images=ArrayImages((("image", pixels),)),
        labels=np.array([names.index(label) for label in labels], dtype=np.int64),
        given_splits=np.array([-1] * len(labels) if splits is None else splits, dtype=np.int8),
    )


def split(dataset: Dataset, seed: int = 0, usable: Sequence[bool] | None = None, **fractions: float) -> Splits:
    usable_array = np.ones(len(dataset), dtype=bool) if usable is None else np.array(usable)
    return split_dataset(dataset, hash_images(dataset, num_workers=1), usable_array, seed=seed, **fractions)


def plain(num_images: int, num_classes: int = 2) -> Dataset:
    return make(range(num_images), [f"class {i % num_classes}" for i in range(num_images)])


def test_all_three_are_drawn_in_proportion():
    dataset = plain(100)
    splits = split(dataset)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [80, 10, 10]
    for name, expected in (("train", 40), ("validation", 5), ("test", 5)):
        assert Counter(dataset.labels[splits[name]]) == {0: expected, 1: expected}
        assert splits[name].dtype == np.int64
    assert splits.notices == ()


def test_the_seed_decides():
    dataset = plain(200)
    first, again, other = split(dataset, seed=1), split(dataset, seed=1), split(dataset, seed=2)
    assert digest(first) == digest(again)
    assert digest(first) != digest(other)


def test_the_validation_fraction_does_not_change_the_test_images():
    dataset = plain(200)
    assert split(dataset).test.tolist() == split(dataset, validation_fraction=0.3).test.tolist()


def test_largest_remainders_fill_up():
    """7 + 2 + 1 images a class, three of ten for validation: 2.1, 0.6 and 0.3 are due."""
    dataset = make(range(10), ["a"] * 7 + ["b"] * 2 + ["c"])
    splits = split(dataset, validation_fraction=0.3, test_fraction=0)
    assert Counter(dataset.labels[splits.validation]) == {0: 2, 1: 1}


def test_own_splits_are_kept():
    dataset = make(range(6), ["a", "b"] * 3, [0, 0, 1, 1, 2, 2])
    splits = split(dataset)
    assert (splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()) == ([0, 1], [2, 3], [4, 5])
    assert splits.notices == ()


def test_an_own_test_split_leaves_validation_to_be_drawn():
    dataset = make(range(30), ["a", "b"] * 15, [0] * 20 + [2] * 10)
    splits = split(dataset)
    assert splits.test.tolist() == list(range(20, 30))
    assert len(splits.validation) == 2
    assert max(splits.validation) < 20


def test_an_own_validation_split_without_test_stays_so_and_is_told():
    splits = split(make(range(6), ["a", "b"] * 3, [0, 0, 0, 0, 1, 1]))
    assert splits.validation.tolist() == [4, 5]
    assert len(splits.test) == 0
    assert splits.notices == (
        "there is no test split: figures on validation flatter, because it also chooses the best epoch",
    )


def test_images_without_a_split_beside_others_train():
    splits = split(make(range(8), ["a", "b"] * 4, [-1, -1, 0, 0, 1, 1, 2, 2]))
    assert splits.train.tolist() == [0, 1, 2, 3]
    assert splits.notices == ("2 images (image[0], image[1]) have no split in the source and count as training images",)


def test_leaks_are_told_with_names():
    contents = [0, 1, 2, 3, 4, 5, 0, 1, 2, 7]
    dataset = make(contents, ["a", "b"] * 5, [0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    splits = split(dataset)
    assert splits.train.tolist() == [3, 4, 5]
    assert splits.notices == (
        "left out of train, identical to images of test: 1 image (image[2])",
        "left out of train, identical to images of validation: 2 images (image[0], image[1])",
    )


def test_identical_images_stay_together():
    contents = [number // 3 for number in range(120)]
    dataset = make(contents, [f"class {content % 2}" for content in contents])
    splits = split(dataset)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [96, 12, 12]
    groups = [{contents[i] for i in splits[name]} for name in ("train", "validation", "test")]
    assert not groups[0] & groups[1]
    assert not groups[1] & groups[2]
    assert not groups[0] & groups[2]


def test_identical_images_with_different_labels_only_train_and_are_told():
    dataset = make([0, 0, 1, 2, 3, 4, 5, 6], ["a", "b", "a", "b", "a", "b", "a", "b"])
    for seed in range(20):
        splits = split(dataset, seed=seed)
        assert {0, 1} <= set(splits.train.tolist())
    assert splits.notices[0] == "identical images with different labels: 2 images (image[0], image[1])"


def test_unusable_images_are_nowhere():
    dataset = plain(40)
    usable = [i % 4 > 0 for i in range(40)]
    splits = split(dataset, usable=usable)
    everything = sorted([*splits.train, *splits.validation, *splits.test])
    assert everything == [i for i in range(40) if usable[i]]


def test_images_that_could_not_be_read_are_unusable():
    dataset = plain(20)
    hashes = hash_images(dataset, num_workers=1)
    hashes[3] = 0
    splits = split_dataset(dataset, hashes, np.ones(20, dtype=bool), seed=0)
    assert 3 not in {*splits.train, *splits.validation, *splits.test}


def test_a_class_of_one_image_trains_and_what_lacks_it_is_told():
    dataset = make(range(21), ["a"] * 10 + ["b"] * 10 + ["rare"])
    splits = split(dataset)
    assert 20 in splits.train
    assert splits.notices == ("validation has no image of class 'rare'", "test has no image of class 'rare'")


def test_too_few_for_test():
    """Three images of two classes: one can be spared, and it validates."""
    splits = split(make(range(3), ["a", "a", "b"]))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2, 1, 0)
    assert splits.notices[0] == "too few images to set 1 apart for test: 0 are"
    assert "validation has no image of class 'b'" in splits.notices


def test_a_thousand_classes_of_two_images():
    splits = split(plain(2000, num_classes=1000))
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [1600, 200, 200]
    assert splits.notices[0].startswith("validation has no image of 800 classes ('class ")


def test_classes_without_images_are_told():
    dataset = plain(40)
    wider = Dataset(
        source="here",
        kind="csv",
        class_names=(*dataset.class_names, "x", "y"),
        images=dataset.images,
        labels=dataset.labels,
        given_splits=dataset.given_splits,
    )
    assert split(wider).notices == ("train has no image of 2 classes ('x', 'y')",)


def test_fractions_of_nothing():
    splits = split(plain(20), validation_fraction=0, test_fraction=0)
    assert len(splits.train) == 20
    splits = split(plain(20), validation_fraction=0, test_fraction=0.5)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (10, 0, 10)


@pytest.mark.parametrize(
    ("contents", "labels", "given", "message"),
    [
        ([0, 1], ["a", "b"], None, r"^here has too few images: no class has two different ones, so none can be set "
            r"apart"),
        ([0, 0, 1, 1], ["a", "a", "b", "b"], None, r"^here has too few images: no class has two different ones"),
        ([0, 1], ["a", "a"], None, r"^here has images of one class only, 'a'; training needs at least two classes"),
        ([0, 1, 2, 3], ["a", "a", "b", "c"], [0, 0, 0, 2], r"^here: test has images of class 'c' but train has none "
            r"of its own; move some"),
        ([0, 1, 2, 3], ["a", "a", "b", "b"], [0, 0, 1, 2], r"^here: test has images of class 'b' but train has none "
            r"of its own"),
        ([0, 1, 2, 3], ["a", "a", "b", "b"], [0, 0, 1, 1], r"^here: validation has images of class 'b' but train has "
            r"none of its own"),
        ([0, 1, 2, 2], ["a", "a", "b", "b"], [0, 0, 0, 2], r"^here: test has images of class 'b' but train has none "
            r"of its own"),
        (range(4), "abab", [2] * 4, r"^here: test has images of 2 classes \('a', 'b'\) but train has none of its own"),
    ],
)  # fmt: skip
def test_sets_that_cannot_be_trained_on(contents, labels, given, message):
    with pytest.raises(DataError, match=message):
        split(make(contents, labels, given))


def test_no_image_can_be_read():
    with pytest.raises(DataError, match=r"^here: none of its 4 images can be read$"):
        split(plain(4), usable=[False] * 4)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.6, 0.4), (0.1, float("nan"))])
def test_fractions_that_make_no_sense(validation, test):
    with pytest.raises(
        InputError, match=r"^validation and test fractions must be 0 or more and leave images to train on"
    ):
        split(plain(20), validation_fraction=validation, test_fraction=test)


def test_copies_are_found():
    dataset = make([5, 1, 5, 2, 1, 5], "aaaaaa")
    hashes = hash_images(dataset, num_workers=1)
    groups = find_copies(hashes, np.ones(6, dtype=bool))
    assert [group.tolist() for group in groups] == [[0, 2, 5], [1, 4]]
    hashes[[1, 4]] = 0  # could not be read
    among = np.array([True, True, True, True, True, False])
    assert [group.tolist() for group in find_copies(hashes, among)] == [[0, 2]]


# Properties


@st.composite
def datasets(draw):
    """Sets of up to sixty images with copies, conflicting labels and, sometimes, given splits; and which can be
    used.
    """
    num_images = draw(st.integers(4, 60))
    contents = draw(st.lists(st.integers(0, 80), min_size=num_images, max_size=num_images))
    labels = draw(st.lists(st.sampled_from("abcd"), min_size=num_images, max_size=num_images))
    given_splits = draw(st.none() | st.lists(st.integers(-1, 2), min_size=num_images, max_size=num_images))
    usable = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=num_images, max_size=num_images))
    return contents, labels, given_splits, usable


@settings(deadline=None, max_examples=60)
@given(case=datasets(), seed=st.integers(-(2**40), 2**40), validation=st.floats(0.01, 0.45), test=st.floats(0, 0.45))
def test_whatever_the_set_splits_are_sound(case, seed, validation, test):
    contents, labels, given_splits, usable = case
    dataset = make(contents, labels, given_splits)
    fractions = {"validation_fraction": validation, "test_fraction": test}
    try:
        splits = split(dataset, seed=seed, usable=usable, **fractions)
    except DataError as error:
        assert str(error).startswith("here")  # noqa: PT017
        return
    parts = [splits.train, splits.validation, splits.test]
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert all(usable[i] for i in part)
    held = [{contents[i] for i in part} for part in parts]
    assert len(held[0] | held[1] | held[2]) == sum(map(len, held))
    assert len(splits.train)
    assert len(splits.validation)
    judged = {labels[i] for part in parts[1:] for i in part}
    assert judged <= {labels[i] for i in splits.train}
    own_test = [i for i in range(len(labels)) if usable[i] and given_splits is not None and given_splits[i] == 2]
    if own_test:
        assert splits.test.tolist() == own_test
    if given_splits is None:
        assert sum(map(len, parts)) == sum(usable)


@settings(deadline=None, max_examples=40)
@given(case=datasets(), seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_the_order_of_files_and_classes_does_not_matter(case, seed, order):
    contents, labels, given_splits, usable = case
    places = list(range(len(labels)))
    order.shuffle(places)
    shuffled_splits = None if given_splits is None else [given_splits[i] for i in places]
    dataset = make(contents, labels, given_splits)
    shuffled = make([contents[i] for i in places], [labels[i] for i in places], shuffled_splits)
    try:
        first = split(dataset, seed=seed, usable=usable)
    except DataError:
        with pytest.raises(DataError):
            split(shuffled, seed=seed, usable=[usable[i] for i in places])
        return
    second = split(shuffled, seed=seed, usable=[usable[i] for i in places])
    for name in ("train", "validation", "test"):
        assert first[name].tolist() == sorted(places[i] for i in second[name])


def test_real_photos(shared_data):
    dataset = open_source(shared_data / "flowers" / "train")
    splits = split(dataset)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [512, 64, 64]
    assert splits.notices == ()
    assert set(np.bincount(dataset.labels[splits.validation])) == {12, 13}
