"""ZFNet: what follows what, first weights, and the checks of its configuration."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.families.zfnet import ZFNet, ZFNetConfig

SMALL = ZFNetConfig(widths=(2, 3, 4, 4, 3), hidden_width=50)


def test_responses_are_normalised_after_pooling() -> None:
    """Figure 3: rectified, pooled, then normalised across maps; AlexNet normalises first."""
    kinds = [type(layer).__name__ for layer in ZFNet(SMALL).features]
    assert kinds[:8] == ["Conv2d", "ReLU", "MaxPool2d", "LocalResponseNorm"] * 2
    assert kinds[8:] == ["Conv2d", "ReLU"] * 3 + ["MaxPool2d"]


def test_first_weights() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = ZFNet(SMALL)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    torch.testing.assert_close(weights.std().item(), 0.01, rtol=0.02, atol=0)
    assert not any(layer.bias.any() for layer in layers if layer.bias is not None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZFNetConfig(widths=(1, 2, 3, 4)), r"widths must be five numbers .* but are \(1, 2, 3, 4\) and 4096"),
        (lambda: ZFNetConfig(widths=(1, 2, 0, 4, 5)), "each at least 1"),
        (lambda: ZFNetConfig(hidden_width=0), r"but are \(96, 256, 384, 384, 256\) and 0"),
        (lambda: ZFNetConfig(dropout=-0.1), "dropout must be at least 0 and below 1 but is -0.1"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
