"""A network is used and restored as it was."""

import pytest
import torch
from torch import nn

from striate.networks.restore import evaluating


def test_every_module_gets_its_mode_back_also_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3))
    network[1].eval()
    seen = []

    def fail():
        seen.extend(module.training for module in network.modules())
        raise KeyError

    with pytest.raises(KeyError), evaluating(network):
        fail()
    assert seen == [False, False, False]
    assert [module.training for module in network.modules()] == [True, True, False]


def test_float32_is_not_rounded_meanwhile():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with evaluating(nn.ReLU()):
        assert convolutions.fp32_precision == "ieee"
        with evaluating(nn.ReLU()):
            pass
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
