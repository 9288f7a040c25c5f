"""Suppression: hand-sized cases, and the greedy algorithm of torchvision on random ones."""

import torch
from torchvision.ops import batched_nms

from striate.networks.detectors.suppression import suppress


def test_by_hand():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.1, 0.0, 1.1, 1.0], [0.2, 0.0, 1.2, 1.0], [3.0, 0.0, 4.0, 1.0]]])
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    labels = torch.tensor([[0, 0, 0, 0]])
    # the second overlaps the first by 9/11, the third by 8/12 and the second by 9/11
    assert suppress(boxes, scores, labels, 0.7).tolist() == [[True, False, True, True]]
    assert suppress(boxes, scores, torch.tensor([[0, 1, 0, 0]]), 0.6).tolist() == [[True, True, False, True]]
    assert suppress(boxes, scores, labels, 0.9).all()


def test_as_torchvision():
    generator = torch.Generator().manual_seed(0)
    for crowding in (0.05, 0.2, 0.6):
        corners = torch.rand(4, 300, 2, generator=generator)
        sides = crowding * (0.5 + torch.rand(4, 300, 2, generator=generator))
        boxes = torch.cat([corners, corners + sides], dim=2)
        scores = torch.rand(4, 300, generator=generator).sort(dim=1, descending=True).values
        labels = torch.randint(0, 3, (4, 300), generator=generator)
        kept = suppress(boxes, scores, labels, 0.5)
        for image in range(4):
            expected = batched_nms(boxes[image].double(), scores[image].double(), labels[image], 0.5)
            assert torch.equal(kept[image].nonzero().flatten(), expected.sort().values)
