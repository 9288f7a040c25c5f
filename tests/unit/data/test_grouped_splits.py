"""Groups stay whole and classes are spread evenly, beside scikit-learn's StratifiedGroupKFold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from striate.data.dataset import Dataset
from striate.data.grouped_splits import draw_parts, join_groups
from striate.data.hashing import hash_images
from striate.data.readers.access import ArrayImages
from striate.data.splits import digest, split_dataset
from striate.errors import DataError


def keys_of(num_images, seed=0):
    return [row.tobytes() for row in np.random.default_rng(seed).integers(0, 255, (num_images, 16), dtype=np.uint8)]


def make(labels, splits=None):
    labels = np.array(labels)
    pixels = np.arange(len(labels), dtype="<u4").view(np.uint8).reshape(-1, 1, 4)
    return Dataset(
        source="here",
        kind="npz",
        class_names=tuple(f"class {k}" for k in range(int(labels.max()) + 1)),
        images=ArrayImages((("image", pixels),)),
        labels=labels.astype(np.int64),
        given_splits=np.full(len(labels), -1, np.int8) if splits is None else np.array(splits, np.int8),
    )


def split(dataset, groups, **settings):
    usable = settings.pop("usable", np.ones(len(dataset), bool))
    return split_dataset(
        dataset, hash_images(dataset, num_workers=1), usable, groups=np.array(groups), **{"seed": 0, **settings}
    )


def uneven(parts, labels, num_parts):
    """Pearson's statistic of classes by parts, for equal parts."""
    table = np.zeros((num_parts, int(labels.max()) + 1))
    np.add.at(table, (parts, labels), 1)
    due = table.sum(axis=0) / num_parts
    return float((((table - due) ** 2) / due).sum())


def test_groups_of_two_kinds_are_joined():
    assert join_groups(np.array([0, 0, 1, 2, 3]), np.array([5, 6, 6, 7, 7])).tolist() == [0, 0, 0, 1, 1]


def test_by_hand():
    """Groups of 4, 2 and 2 images of one class into halves: 4 against 2 + 2."""
    parts = draw_parts(np.zeros(8, int), np.array([0] * 4 + [1] * 2 + [2] * 2), keys_of(8), (0.5, 0.5))
    assert parts[:4].tolist() == [parts[0]] * 4
    assert parts[4:].tolist() == [1 - parts[0]] * 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 5))
def test_no_group_is_divided_and_no_part_is_empty(seed, num_classes, num_parts):
    draw = np.random.default_rng(seed)
    labels, groups = draw.integers(0, num_classes, 80), draw.integers(0, 25, 80)
    parts = draw_parts(labels, groups, keys_of(80, seed), (1 / num_parts,) * num_parts)
    assert set(parts.tolist()) == set(range(num_parts))
    for group in np.unique(groups):
        assert len(np.unique(parts[groups == group])) == 1


def test_as_even_as_scikit_learn():
    """On forty draws of skewed classes and groups the classes are spread at least as evenly, also mostly one by one."""
    own, theirs = [], []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        groups = draw.integers(0, 40, 400)
        leaning = draw.dirichlet(np.full(5, 0.7), 40)
        labels = np.array([draw.choice(5, p=leaning[group]) for group in groups])
        parts = draw_parts(labels, groups, keys_of(400, seed), (0.2,) * 5)
        folds = np.zeros(400, int)
        sklearn = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(sklearn.split(np.zeros(400), labels, groups)):
            folds[held] = number
        own.append(uneven(parts, labels, 5))
        theirs.append(uneven(folds, labels, 5))
    assert np.mean(own) <= np.mean(theirs)
    assert np.mean(np.array(own) <= np.array(theirs)) > 2 / 3


def test_the_order_of_the_images_does_not_matter():
    draw = np.random.default_rng(3)
    labels, groups, keys = draw.integers(0, 3, 90), draw.integers(0, 30, 90), keys_of(90)
    order = draw.permutation(90)
    parts = draw_parts(labels, groups, keys, (0.8, 0.1, 0.1))
    moved = draw_parts(labels[order], groups[order], [keys[k] for k in order], (0.8, 0.1, 0.1))
    assert (parts[order] == moved).all()


def test_splits_keep_groups_whole_and_about_as_large_as_asked():
    draw = np.random.default_rng(0)
    labels, groups = draw.integers(0, 3, 600), draw.integers(0, 120, 600)
    splits = split(make(labels), groups)
    sets = [set(groups[splits[name]].tolist()) for name in ("train", "validation", "test")]
    assert sets[0].isdisjoint(sets[1] | sets[2])
    assert sets[1].isdisjoint(sets[2])
    assert [len(splits[name]) for name in ("validation", "test")] == pytest.approx([60, 60], abs=6)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 600
    for name in ("train", "validation", "test"):
        shares = np.bincount(labels[splits[name]], minlength=3) / len(splits[name])
        assert shares == pytest.approx(np.bincount(labels) / 600, abs=0.08)
    assert digest(splits) == digest(split(make(labels), groups)) != digest(split(make(labels), groups, seed=1))


def test_every_class_stays_in_training():
    """The only group of a class is never set apart."""
    labels = [0] * 20 + [1] * 20 + [2] * 5
    groups = [k // 2 for k in range(40)] + [99] * 5
    splits = split(make(labels), groups)
    assert set(np.array(labels)[splits.train].tolist()) == {0, 1, 2}
    with pytest.raises(DataError, match="without taking a class out of training"):
        split(make([0] * 10 + [1] * 10 + [2] * 10), [0] * 10 + [1] * 10 + [2] * 10)
    with pytest.raises(DataError, match="2 groups of images cannot make 3 parts"):
        split(make([0, 1] * 10), [0] * 10 + [1] * 10)


def test_a_group_on_both_sides_of_a_given_split_is_left_out_of_training():
    labels, groups = [0, 1] * 20, [k // 4 for k in range(40)]
    given = [0] * 30 + [2] * 10  # the group 7 is images 28 to 31
    splits = split(make(labels, given), groups)
    assert splits.test.tolist() == list(range(30, 40))
    assert 28 not in splits.train
    assert any("left out of train, in one group with images of test: 2 images" in line for line in splits.notices)


def test_unreadable_images_join_no_groups():
    labels, groups = [0, 1] * 10, list(range(20))
    dataset = make(labels)
    hashes = hash_images(dataset, num_workers=1)
    hashes[[2, 3, 4, 5]] = 0
    splits = split_dataset(dataset, hashes, np.ones(20, bool), seed=0, groups=np.array(groups))
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 16


def folds_of(dataset, groups, num_folds, **settings):
    hashes = hash_images(dataset, num_workers=1)
    usable = np.ones(len(dataset), bool)
    return [
        split_dataset(dataset, hashes, usable, seed=0, groups=groups, num_folds=num_folds, fold=fold, **settings)
        for fold in range(1, num_folds + 1)
    ]


@pytest.mark.parametrize("has_groups", [False, True])
def test_folds_test_every_image_once_and_spread_the_classes(has_groups):
    labels = np.arange(103) % 3
    groups = np.arange(103) // 3 if has_groups else None
    folds = folds_of(make(labels), groups, 5)
    assert sorted(np.concatenate([each.test for each in folds]).tolist()) == list(range(103))
    for each in folds:
        assert np.ptp(np.bincount(labels[each.test], minlength=3)) <= 2
        assert abs(len(each.test) - 103 / 5) < (3 if has_groups else 2)  # groups of three stay whole
        assert not set(each.test) & (set(each.train) | set(each.validation))
        assert len(each.validation) == pytest.approx(0.1 * (103 - len(each.test)), abs=2)
        if groups is not None:
            assert not set(groups[each.test]) & set(groups[np.concatenate([each.train, each.validation])])


def test_a_given_test_part_is_left_aside_and_a_given_validation_part_serves_every_fold():
    labels, given = np.arange(60) % 2, np.array([0] * 40 + [1] * 10 + [2] * 10)
    folds = folds_of(make(labels, given), None, 4)
    for each in folds:
        assert each.validation.tolist() == list(range(40, 50))
        assert len(each.test) == 10
        assert max(each.test) < 40
        assert any("left aside, the test part of the source: 10 images" in line for line in each.notices)


def test_more_folds_than_groups():
    with pytest.raises(DataError, match="2 groups of images cannot make 5 parts"):
        folds_of(make(np.arange(20) % 2), np.arange(20) // 10, 5)


def test_hundred_thousand_images_by_themselves():
    """As many groups as images take seconds, not hours."""
    labels = np.arange(20_000) % 10
    keys = [number.to_bytes(4, "big") for number in range(20_000)]
    parts = draw_parts(labels, np.arange(20_000), keys, (0.8, 0.1, 0.1))
    assert np.bincount(parts).tolist() == [16_000, 2_000, 2_000]
