"""Maxout on paper, on vectors and on maps."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.maxout import Maxout


def test_neighbouring_pieces_compete_on_paper():
    pieces = torch.tensor([[1.0, -2.0, 3.0, -5.0, -4.0, -6.0]], requires_grad=True)
    units = Maxout(3)(pieces)
    assert torch.equal(units, torch.tensor([[3.0, -4.0]]))
    units.sum().backward()
    assert torch.equal(pieces.grad, torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0]]))


def test_maps_compete_place_by_place():
    maps = torch.tensor([[[[1.0, 5.0]], [[2.0, 4.0]]]])  # two pieces of one map of 1x2
    assert torch.equal(Maxout(2)(maps), torch.tensor([[[[2.0, 5.0]]]]))


def test_two_pieces_make_an_absolute_value():
    """Figure 1 of the paper: two linear pieces x and -x."""
    linear = nn.Linear(1, 2, bias=False)
    nn.init.ones_(linear.weight[:1])
    nn.init.constant_(linear.weight[1:], -1.0)
    values = torch.tensor([[-3.0], [0.0], [2.0]])
    assert torch.equal(nn.Sequential(linear, Maxout(2))(values), values.abs())


def test_pieces_must_divide():
    assert repr(Maxout(2)) == "Maxout(num_pieces=2)"
    with pytest.raises(InputError, match="5 channels cannot be 2 pieces a unit"):
        Maxout(2)(torch.zeros(1, 5))
    with pytest.raises(InputError, match="at least one piece but num_pieces is 0"):
        Maxout(0)
