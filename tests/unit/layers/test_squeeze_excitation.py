"""Squeeze and excitation on paper, and against torchvision's."""

import torch
import torchvision
from torch import nn

from striate.layers.squeeze_excitation import SqueezeExcitation


def test_gates_on_paper():
    """Means 1 and 3; the hidden unit adds them to 4; gates sigmoid(4) and sigmoid(-4)."""
    layer = SqueezeExcitation(2, 1)
    with torch.no_grad():
        layer.fc1.weight.fill_(1)
        layer.fc2.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        layer.fc1.bias.zero_(), layer.fc2.bias.zero_()
    maps = torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])
    gates = torch.sigmoid(torch.tensor([4.0, -4.0])).view(1, 2, 1, 1)
    torch.testing.assert_close(layer(maps), maps * gates)


def test_same_weights_same_answers_as_torchvision():
    ours = SqueezeExcitation(6, 2, activation=nn.SiLU, gate=nn.Hardsigmoid)
    theirs = torchvision.ops.SqueezeExcitation(6, 2, activation=nn.SiLU, scale_activation=nn.Hardsigmoid)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(ours(maps), theirs(maps))
