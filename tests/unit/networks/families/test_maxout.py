"""Maxout networks written out with small widths."""

import pytest
import torch
from torch.nn import functional

from striate.errors import InputError
from striate.networks.families.maxout import ConvMaxout, ConvMaxoutConfig, DenseMaxout, DenseMaxoutConfig


def best_of(pieces: torch.Tensor, k: int) -> torch.Tensor:
    """The largest of channels 0..k-1, of k..2k-1, and so on."""
    return torch.stack([pieces[:, i : i + k].amax(dim=1) for i in range(0, pieces.shape[1], k)], dim=1)


def test_dense_network_written_out() -> None:
    network = DenseMaxout(DenseMaxoutConfig(hidden_widths=(6, 4), num_pieces=3)).eval()
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    values = images.flatten(1)
    for layer in (network.hidden[1], network.hidden[4]):
        values = best_of(values @ layer.weight.T, 3)  # biases start at zero
    torch.testing.assert_close(network(images), values @ network.head.weight.T)


def test_convolutional_network_written_out() -> None:
    network = ConvMaxout(ConvMaxoutConfig(widths=(3, 4, 5), hidden_width=6)).eval()
    maps = images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for place, padding, pool in ((1, 4, 4), (5, 3, 4), (9, 3, 2)):
        maps = best_of(functional.conv2d(maps, network.features[place].weight, padding=padding), 2)
        if maps.shape[-1] % 2 != pool % 2:  # one more row and column, never the largest, so that windows fit
            maps = functional.pad(maps, (0, 1, 0, 1), value=-torch.inf)
        maps = functional.max_pool2d(maps, pool, stride=2)
    assert maps.shape == (2, 5, 5, 5)
    values = best_of(maps.flatten(1) @ network.hidden.weight.T, 5)
    torch.testing.assert_close(network(images), values @ network.head.weight.T)


def test_dropout_stands_before_every_layer_with_weights() -> None:
    dense = DenseMaxout(DenseMaxoutConfig())
    assert [type(layer).__name__ for layer in dense.hidden] == ["Dropout", *["Linear", "Maxout", "Dropout"] * 2]
    assert [dense.hidden[place].p for place in (0, 3, 6)] == [0.2, 0.5, 0.5]
    conv = ConvMaxout(ConvMaxoutConfig(widths=(2, 2, 2), hidden_width=2))
    assert [conv.features[place].p for place in (0, 4, 8, 12)] == [0.2, 0.5, 0.5, 0.5]
    assert conv.dropout.p == 0.5


def test_a_layer_of_five_pieces_keeps_the_size_of_its_input() -> None:
    """Variance 1 / (2 fan in): the largest of five normal numbers has a mean square of 1.8, half of which is left."""
    torch.manual_seed(0)
    layers = DenseMaxout(DenseMaxoutConfig()).hidden
    units = best_of(layers[1](torch.randn(500, 784)), 5)
    assert units.square().mean().item() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseMaxoutConfig(hidden_widths=()), r"hidden_widths must be at least 1 each but are \(\)"),
        (lambda: DenseMaxoutConfig(num_pieces=0), r"num_pieces must be at least 1 each but are \(0,\)"),
        (lambda: ConvMaxoutConfig(widths=(1, 2)), r"widths must be three numbers but are \(1, 2\)"),  # type: ignore[arg-type]
        (lambda: ConvMaxoutConfig(widths=(1, 0, 2)), r"widths must be at least 1 each but are \(1, 0, 2\)"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
