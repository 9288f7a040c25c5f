"""Averages over views, on paper."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.evaluation.test_time_augmentation import Averaged


class TopLeft(nn.Module):
    """Logits: the pixel at the top left, and nought."""

    def forward(self, images):
        corner = images[:, 0, 0, 0]
        return torch.stack([corner, torch.zeros_like(corner)], dim=1)


IMAGES = torch.arange(9.0).reshape(1, 1, 3, 3) / 10  # 0 .1 .2 / .3 .4 .5 / .6 .7 .8


def test_mirror_on_paper():
    found = Averaged(TopLeft(), "mirror")(IMAGES).softmax(1)[0, 0]
    assert found.item() == pytest.approx((torch.tensor([0.0, 0.2]).sigmoid().mean()).item())


def test_six_on_paper():
    """Down and right: the reflected pixel .4 comes to the corner, whose mirror image has .4 too. Up and left: .4, and
    in the mirror the pixel right of the border, .4 reflected.
    """
    corners = torch.tensor([0.0, 0.2, 0.4, 0.4, 0.4, 0.4])
    weights = torch.tensor([0.25, 0.25, 0.125, 0.125, 0.125, 0.125])
    found = Averaged(TopLeft(), "six")(IMAGES).softmax(1)[0, 0]
    assert found.item() == pytest.approx((corners.sigmoid() * weights).sum().item())


def test_single_outputs_and_probabilities_of_one():
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 1))
    logits = Averaged(network, "mirror")(IMAGES * 1e4)
    assert logits.shape == (1, 2)
    assert logits.exp().sum().item() == pytest.approx(1)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="averaged over mirror, six, ten_crop or five_scales views but not over 'ten'"):
        Averaged(TopLeft(), "ten")
