"""Figures of localisation on images whose answers are written down, alone and merged over processes."""

import json

import numpy as np
import pytest
import torch

from striate.errors import InputError, NonFiniteLoss
from striate.tasks.intervals import mean_of, wilson_interval
from striate.tasks.localization.task import Localization

TASK = Localization(("ant", "bee"))
OUTPUTS = torch.tensor(
    [
        [9.0, 0, 0.0, 0.0, 0.5, 0.5],  # ant, right, IoU 1
        [9.0, 0, 0.0, 0.0, 0.5, 0.3],  # ant, right, IoU 0.6
        [0.0, 9, 0.0, 0.0, 0.5, 0.5],  # ant, taken for a bee, IoU 1
        [0.0, 9, 0.5, 0.5, 1.0, 1.0],  # bee, right, IoU 0
    ]
)
LABELS = torch.tensor([0, 0, 0, 1])
BOXES = torch.tensor([[0.0, 0.0, 0.5, 0.5]] * 4)


def targets(rows=slice(None)):
    chosen = {"labels": LABELS, "boxes": BOXES, "has_box": torch.ones(4), "full_boxes": BOXES}
    return {name: tensor[rows] for name, tensor in chosen.items()}


def evaluated(outputs=OUTPUTS):
    accumulator = TASK.accumulator()
    accumulator.update(outputs, targets())
    return accumulator.result(np.arange(10, 14))


def test_the_figures():
    found = evaluated()
    assert (found.num_images, found.score, found.top1_accuracy, found.box.value) == (4, 0.5, 0.75, 0.75)
    assert found.score_interval == wilson_interval(2, 4)
    assert found.mean_iou.value == pytest.approx(0.65)
    ants, bees = found.per_class
    assert (ants.support, ants.top1_accuracy, ants.localization_accuracy) == (3, 2 / 3, 2 / 3)
    assert ants.mean_iou == pytest.approx(2.6 / 3)
    assert (bees.support, bees.mean_iou) == (1, 0)
    assert [(each.index, each.label, each.predicted) for each in found.mistakes] == [
        (12, "ant", "bee"),
        (13, "bee", "bee"),
    ]
    keys = {"mean_iou", "mean_iou_interval", "top1_accuracy", "localization_accuracy", "localization_interval"}
    assert keys <= json.loads(json.dumps(found.to_json(), allow_nan=False)).keys()


def test_two_processes_find_what_one_finds():
    parts = []
    for rank in range(2):
        accumulator = TASK.accumulator()
        accumulator.update(OUTPUTS[rank::2], targets(slice(rank, None, 2)))
        parts.append(accumulator.arrays())
    merged = TASK.accumulator().merged(parts, np.array([0, 2, 1, 3]))
    assert merged.result(np.arange(10, 14)).to_json() == evaluated().to_json()


def test_an_output_that_is_not_finite_names_its_image():
    broken = OUTPUTS.clone()
    broken[2, 4] = torch.inf
    with pytest.raises(NonFiniteLoss, match="image 12 with NaN or infinity"):
        evaluated(broken)


def test_the_mean_of_few_numbers_is_little_known():
    assert mean_of(np.array([0.4])).interval == (0, 1)
    # by hand: mean 0.5, standard deviation 0.1, t(2, 0.975) = 4.3027
    low, high = mean_of(np.array([0.4, 0.5, 0.6])).interval
    assert (low, high) == pytest.approx((0.5 - 4.3027 * 0.1 / 3**0.5, 0.5 + 4.3027 * 0.1 / 3**0.5), abs=1e-4)
    with pytest.raises(InputError, match="at least one number"):
        mean_of(np.array([]))
