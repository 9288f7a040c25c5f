"""Losses of every kind of detector: what they reach, what they leave out, and the assignment by hand."""

import pytest
import torch

from striate.networks.catalogue import build_entry, entry_for
from striate.networks.detectors.boxes import DenseBoxes, of_image
from striate.tasks.detection.annotations import NO_LABEL
from striate.tasks.detection.assignment import assign
from striate.tasks.detection.decode import detections
from striate.tasks.detection.loss import DetectionLoss, dense_sum
from striate.tasks.detection.values import NUM_DETECTIONS, VALUES_EACH, read_values

BASE = "shufflenet_v2_x0_5"


def targets() -> dict[str, torch.Tensor]:
    """Three images: two objects, one and an ignored region, none."""
    boxes = torch.tensor(
        [[[0.1, 0.1, 0.5, 0.6], [0.5, 0.5, 0.9, 0.9]], [[0.2, 0.2, 0.8, 0.8], [0, 0, 0.2, 0.2]], [[0.0] * 4] * 2]
    )
    labels = torch.tensor([[0, 1], [1, -1], [NO_LABEL, NO_LABEL]])
    ignored = torch.tensor([[False, False], [False, True], [False, False]])
    return {"boxes": boxes, "labels": labels, "are_ignored": ignored, "sizes": torch.full((3, 2), 64)}


@pytest.mark.parametrize("part", ["fcos", "ssd", "faster_rcnn"])
def test_every_part_learns_from_no_one_and_several_objects(part):
    torch.manual_seed(0)
    network = build_entry(entry_for(f"{part}:{BASE}"), num_classes=2, seed=0)
    images, objective = torch.randn(3, 3, 64, 64), DetectionLoss()
    outputs = network(images)
    loss = objective(outputs, targets())
    loss.backward()
    assert loss.isfinite()
    unreached = [
        name for name, param in network.named_parameters() if param.grad is None or not param.grad.isfinite().all()
    ]
    assert unreached == []
    assert 0 <= float(objective.score_sum(outputs, targets())) <= 3
    with torch.no_grad():
        outputs = network.eval()(images)
        values = detections(outputs)
        parts = [detections(of_image(outputs, image)) for image in range(3)]
    assert values.shape == (3, NUM_DETECTIONS * VALUES_EACH)
    assert torch.allclose(torch.cat(parts), values, atol=1e-5)
    for found in read_values(values.numpy(), 2):
        assert (found.boxes >= 0).all()
        assert (found.boxes <= 1).all()
        assert (found.scores[:-1] >= found.scores[1:]).all()


def dense(boxes, logits) -> DenseBoxes:
    """Four places in a square image, two by two."""
    places = torch.tensor(
        [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
    )
    return DenseBoxes(torch.tensor([logits], dtype=torch.float32), torch.tensor([boxes], dtype=torch.float32), places)


def test_assignment_by_hand():
    """The best place of an object is asked for its overlap, others for less in proportion; outside and away counts for
    nothing.
    """
    truth = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5]]
    outputs = dense(boxes, [[0.0]] * 4)
    found = assign(outputs, 0, truth, torch.tensor([0]), torch.zeros(0, 4))
    wanted = dict(zip(found.places.tolist(), found.scores.tolist(), strict=True))
    assert wanted[0] == pytest.approx(1.0)
    assert wanted[1] == pytest.approx(0.5**6)  # half the overlap to the sixth power, by the best place's
    assert wanted[2] == 0
    assert 3 not in wanted or wanted[3] <= 1  # a step from the middle may answer


def test_boxes_count_however_little_they_overlap_at_first():
    """Of a small object the best box pulls as strongly as of one that is covered well; scores are asked for the
    overlap.
    """
    small, far = torch.tensor([[0.2, 0.2, 0.3, 0.3]]), torch.tensor([[0.24, 0.24, 0.26, 0.26]])
    outputs = dense([[0, 0, 0.5, 0.5]] * 4, [[0.0]] * 4)
    found = assign(outputs, 0, small, torch.tensor([0]), torch.zeros(0, 4))
    assert found.weights.max() == 1
    assert found.scores.max() == pytest.approx(0.04)
    apart = dense([[0.5, 0.5, 0.9, 0.9]] * 4, [[0.0]] * 4)  # nothing overlaps: all places learn alike
    found = assign(apart, 0, far, torch.tensor([0]), torch.zeros(0, 4))
    assert found.weights.tolist() == [1.0] * len(found.places)
    assert found.scores.tolist() == [0.0] * len(found.places)
    boxes = outputs.boxes.clone().requires_grad_()
    targets = {"boxes": small[None], "labels": torch.zeros(1, 1, dtype=torch.int64)}
    targets["are_ignored"] = torch.zeros(1, 1, dtype=torch.bool)
    dense_sum(outputs._replace(boxes=boxes), targets).backward()
    assert boxes.grad.abs().max() > 0.1  # a twenty-fifth of that, were it multiplied by the overlap


def test_places_in_ignored_regions_cost_nothing():
    outputs = dense([[0, 0, 0.5, 0.5]] * 4, [[3.0]] * 4)
    objective = DetectionLoss()
    none = {
        "boxes": torch.zeros(1, 1, 4),
        "labels": torch.full((1, 1), NO_LABEL),
        "are_ignored": torch.zeros(1, 1, dtype=torch.bool),
    }
    everything = {
        "boxes": torch.tensor([[[0.0, 0, 1, 1]]]),
        "labels": torch.full((1, 1), -1),
        "are_ignored": torch.ones(1, 1, dtype=torch.bool),
    }
    assert objective(outputs, none) > 1
    assert objective(outputs, everything) == 0
