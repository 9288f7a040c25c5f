"""Suppression: hand-sized cases, and the greedy algorithm of torchvision on random ones."""

import math

import torch
from torchvision.ops import batched_nms, box_iou

from striate.networks.detectors.suppression import soften, suppress


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


def test_soft_by_hand():
    """An overlap of 1/3 leaves exp(-(1/3)^2 / 0.5) = 0.8007 of the score; another class and a far box keep theirs."""
    boxes = torch.tensor([[[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0], [1.0, 0.0, 3.0, 1.0], [9.0, 0.0, 10.0, 1.0]]])
    scores = soften(boxes, torch.tensor([[0.9, 0.8, 0.7, 0.6]]), torch.tensor([[0, 0, 1, 0]]))
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.8 * math.exp(-2 / 9), 0.7, 0.6]]))


def test_soft_as_the_paper_writes_it():
    """Figure 2 of the paper as a loop over one image: the surest box of what is left lowers the scores of the rest."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(3, 40, 2, generator=generator)
    boxes = torch.cat([corners, corners + 0.2 + 0.3 * torch.rand(3, 40, 2, generator=generator)], dim=2)
    scores = torch.rand(3, 40, generator=generator)
    labels = torch.randint(0, 2, (3, 40), generator=generator)
    found = soften(boxes, scores, labels)
    for image in range(3):
        own, left = scores[image].clone(), list(range(40))
        while left:
            best = max(left, key=lambda place: own[place].item())
            left.remove(best)
            for place in left:
                if labels[image, place] == labels[image, best]:
                    iou = box_iou(boxes[image, place][None], boxes[image, best][None])[0, 0]
                    own[place] *= torch.exp(-(iou**2) / 0.5)
        torch.testing.assert_close(found[image], own)
