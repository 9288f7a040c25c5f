"""Anchors by k-means over 1 - IoU: cases by hand, against every other choice of anchors, and on real cells."""

from itertools import combinations

import numpy as np
import pytest

from striate.data.geometry import Geometry
from striate.data.preprocessing import Preprocessing
from striate.data.readers.sources import open_source
from striate.errors import InputError
from striate.progress import log_nothing
from striate.tasks.detection.anchors_fit import fit_anchors, side_ious, sides_of_objects
from striate.tasks.detection.annotations import read_objects


def test_overlaps_about_one_middle():
    """By hand: 2 x 4 in 4 x 4 is 8 of 16; 2 x 4 and 4 x 2 share 4 of 12; a box with itself is 1."""
    sides = np.array([[2.0, 4.0]])
    assert side_ious(sides, np.array([[4.0, 4.0], [4.0, 2.0], [2.0, 4.0]])) == pytest.approx(
        np.array([[0.5, 1 / 3, 1]])
    )


def test_clusters_that_are_apart_are_found():
    """Two kinds of boxes: the anchors are their middles, the small one first, and every box is overlapped by half."""
    rng = np.random.default_rng(3)
    small = np.array([0.1, 0.05]) * rng.uniform(0.9, 1.1, (200, 2))
    large = np.array([0.4, 0.6]) * rng.uniform(0.9, 1.1, (100, 2))
    found = fit_anchors(np.concatenate([large, small]), 2)
    assert np.array(found.sides) == pytest.approx(np.stack([small.mean(axis=0), large.mean(axis=0)]), rel=0.02)
    assert found.counts == (200, 100)
    assert found.found == 1
    assert found.mean_iou > 0.9
    assert "10 x 5" in found.words((100, 100))
    assert found.to_json()["anchors"][1]["boxes"] == 100


@pytest.mark.parametrize("num_anchors", [1, 2, 3])
def test_no_choice_among_the_boxes_is_much_better(num_anchors):
    """Held against every set of that many of the boxes themselves, tried one by one."""
    sides = np.random.default_rng(num_anchors).uniform(0.02, 0.8, (24, 2))
    best = max(side_ious(sides, sides[list(each)]).max(axis=1).mean() for each in combinations(range(24), num_anchors))
    assert fit_anchors(sides, num_anchors).mean_iou > best - 0.02


def test_more_anchors_overlap_more_and_the_seed_decides():
    sides = np.random.default_rng(0).lognormal(-2, 0.6, (500, 2))
    means = [fit_anchors(sides, count).mean_iou for count in (1, 3, 5, 9)]
    assert means == sorted(means)
    assert fit_anchors(sides, 5, seed=4) == fit_anchors(sides, 5, seed=4)


def test_boxes_without_area_are_left_out_and_too_few_are_named():
    sides = np.array([[0.1, 0.2], [0.1, 0.2], [0.0, 0.5], [np.nan, 0.1], [0.3, 0.3]])
    assert sum(fit_anchors(sides, 2).counts) == 3
    with pytest.raises(InputError, match="at least 3 different sizes to fit 3 anchors to but there are 2"):
        fit_anchors(sides, 3)
    with pytest.raises(InputError, match="at least 1 but is 0"):
        fit_anchors(sides, 0)


def test_sizes_that_barely_differ():
    assert len(fit_anchors(0.1 + 1e-15 * np.arange(12).reshape(-1, 2), 2).sides) == 2


def test_cells(shared_data):
    """Blood cells: red ones are most, and three anchors overlap them well; sides are those that the network sees."""
    dataset = open_source(shared_data / "bccd")
    annotations = read_objects(dataset, dataset.objects.class_names, log_nothing)
    preprocessing = Preprocessing(3, 320, (320, 320), (0.5,) * 3, (0.5,) * 3, resize="stretch")
    indices = np.arange(60)
    shapes = np.full((60, 2), 320)
    sides = sides_of_objects(annotations, indices, Geometry(preprocessing, shapes))
    targets = annotations.targets(indices, Geometry(preprocessing, shapes))
    boxes = targets["boxes"][(targets["labels"] >= 0) & ~targets["are_ignored"]].numpy()
    assert np.sort(sides, axis=0) == pytest.approx(np.sort(boxes[:, 2:] - boxes[:, :2], axis=0), abs=0.02)
    found = fit_anchors(sides, 3)
    assert found.mean_iou > 0.7
    assert found.found > 0.95
