"""The multilayer perceptron written out, its widths and its checks."""

import pytest
import torch

from striate.errors import InputError
from striate.networks.families.mlp import MLP, MLPConfig


def test_written_out() -> None:
    network = MLP(MLPConfig(in_channels=2, num_classes=3, image_size=(2, 3), hidden_widths=(5,))).eval()
    images = torch.randn(4, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    hidden = (images.reshape(4, 12) @ network.hidden[0].weight.T).clamp(min=0)  # biases start at zero
    torch.testing.assert_close(network(images), hidden @ network.head.weight.T)


def test_without_hidden_layers_it_is_softmax_regression() -> None:
    network = MLP(MLPConfig(hidden_widths=()))
    assert [tuple(param.shape) for param in network.parameters()] == [(10, 784), (10,)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_widths": (512, 0)}, r"hidden_widths must be at least 1 each but are \(512, 0\)"),
        ({"image_size": (28,)}, r"image_size must be \(height, width\), each at least 1, but is \(28,\)"),
        ({"image_size": (0, 28)}, r"image_size must be .* but is \(0, 28\)"),
    ],
)
def test_impossible_configurations_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MLPConfig(**settings)  # type: ignore[arg-type]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="mlp takes images of 4x5 pixels only but got 5x4; resize them to 4x5"):
        MLP(MLPConfig(image_size=(4, 5)))(torch.zeros(1, 1, 5, 4))
