"""Pre-activated units on paper."""

import torch
from torch import Tensor, nn

from striate.layers.preactivation import PreActUnit, preact_basic, preact_bottleneck, preactivation

MAPS = torch.tensor([-2.0, 3.0]).reshape(1, 2, 1, 1)


class Doubled(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return 2 * maps


def values(unit: nn.Module) -> list[float]:
    with torch.inference_mode():
        return unit.eval()(MAPS).flatten().round(decimals=3).tolist()


def test_identity_keeps_what_the_activation_would_cut() -> None:
    """x + 2 relu(x)."""
    assert values(PreActUnit(preactivation(2), Doubled(), None, shares_activation=False)) == [-2.0, 9.0]


def test_a_shared_activation_comes_before_both_paths() -> None:
    """relu(x) + 2 relu(x), and with a shortcut 2 relu(x) + 2 relu(x)."""
    assert values(PreActUnit(preactivation(2), Doubled(), None, shares_activation=True)) == [0.0, 9.0]
    assert values(PreActUnit(preactivation(2), Doubled(), Doubled(), shares_activation=True)) == [0.0, 12.0]


def test_a_shortcut_may_take_the_maps_as_they_come() -> None:
    """2 x + 2 relu(x)."""
    assert values(PreActUnit(preactivation(2), Doubled(), Doubled(), shares_activation=False)) == [-4.0, 12.0]


def test_residuals_end_with_a_convolution() -> None:
    basic = preact_basic(8, 16, 2, dropout=0.3)
    assert [type(layer).__name__ for layer in basic] == ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Conv2d"]
    assert [name for name, _ in preact_basic(8, 16, 2).named_children()] == ["conv1", "bn2", "relu2", "conv2"]
    deep = preact_bottleneck(8, 16, 2)
    assert [conv.stride for conv in deep if isinstance(conv, nn.Conv2d)] == [(2, 2), (1, 1), (1, 1)]
    for residual in (basic, deep):
        assert residual(torch.zeros(2, 8, 6, 6)).shape == (2, 16, 3, 3)
