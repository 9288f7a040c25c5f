"""LeNet-1 and LeNet-5 as their papers print them: every count, the tables, the output codes, and LeNet-5 written
out.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from striate.inspection.counting import count_params
from striate.inspection.layers import describe_network
from striate.networks.catalogue import build_network
from striate.networks.families.lenet import (
    LENET1_TABLE,
    LENET5_TABLE,
    LeNet51998,
    LeNetConfig,
    PartialConv2d,
    RadialBasis,
    ScaledTanh,
    Subsampling,
    Table,
)
from striate.networks.families.lenet_codes import CODE_SIZE, make_codes

# rows are the maps before, columns the maps of the layer, as the papers print them
TABLE_1989 = (
    "XXX.XX......",
    ".XXXXX......",
    "......XXX.XX",
    ".......XXXXX",
)  # fmt: skip
TABLE_1998 = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def connections(network: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Every value of a layer has its inputs and a bias: what the papers count. Distances have no bias."""
    total = 0
    for layer in describe_network(network, input_size).layers:
        num_values = math.prod(layer.output_shape)
        if layer.kind in ("Conv2d", "Linear"):
            total += layer.macs + num_values
        elif layer.kind == "Subsampling":
            total += num_values * (4 + 1)
        elif layer.kind == "RadialBasis":
            total += layer.num_params
    return total


def test_lenet5_has_the_papers_counts() -> None:
    """Section II.B: trainable parameters of each layer, 60,000 in all, and 340,908 connections."""
    network = build_network("lenet5_1998", device="meta")
    by_layer = [count_params(network.get_submodule(name)) for name in ("c1", "s2", "c3", "s4", "c5", "f6")]
    assert by_layer == [156, 12, 1_516, 32, 48_120, 10_164]
    assert sum(param.numel() for param in network.parameters() if param.requires_grad) == 60_000
    assert connections(network, (1, 32, 32)) == 340_908


def test_lenet1_has_the_papers_counts() -> None:
    """NIPS 2, page 402: 4635 units with the one for biases, 98442 connections, 2578 parameters."""
    network = build_network("lenet1", device="meta")
    by_layer = [count_params(network.get_submodule(name)) for name in ("h1", "h2", "h3", "h4", "output")]
    assert by_layer == [4 * 26, 4 * 2, 20 * 25 + 12, 12 * 2, 10 * 193]
    assert connections(network, (1, 28, 28)) == 98_442
    shapes = {layer.name: layer.output_shape for layer in describe_network(network, (1, 28, 28)).layers}
    units = sum(math.prod(shapes[name]) for name in ("h1", "h2", "tanh3", "h4", "output"))
    assert 28 * 28 + units + 1 == 4_635


@pytest.mark.parametrize(("table", "printed"), [(LENET1_TABLE, TABLE_1989), (LENET5_TABLE, TABLE_1998)])
def test_tables_are_those_printed(table: Table, printed: tuple[str, ...]) -> None:
    assert table == tuple(tuple(i for i, row in enumerate(printed) if row[j] == "X") for j in range(len(printed[0])))


def dense_weight(layer: PartialConv2d, table: Table, num_inputs: int) -> torch.Tensor:
    """The same filters with zeros where a map does not look."""
    filters = [weight for part in layer.parts for weight in part.weight]
    dense = torch.zeros(len(table), num_inputs, *filters[0].shape[1:])
    for number, (seen, weight) in enumerate(zip(table, filters, strict=True)):
        dense[number, list(seen)] = weight.detach()
    return dense


@pytest.mark.parametrize(("table", "num_inputs"), [(LENET1_TABLE, 4), (LENET5_TABLE, 6)])
def test_partial_convolution_is_a_full_one_with_zeros(table: Table, num_inputs: int) -> None:
    layer = PartialConv2d(table, 5)
    maps = torch.randn(2, num_inputs, 7, 8, generator=torch.Generator().manual_seed(0))
    bias = torch.cat([part.bias for part in layer.parts])
    torch.testing.assert_close(layer(maps), functional.conv2d(maps, dense_weight(layer, table, num_inputs), bias))


def test_subsampling_on_paper() -> None:
    layer = Subsampling(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, -1.0]))
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]])[None]
    assert torch.equal(layer(maps).flatten(), torch.tensor([6.0, 1.0]))


def test_scaled_tanh_leaves_one_and_minus_one() -> None:
    values = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 1e3]))
    torch.testing.assert_close(values, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=1e-4, atol=1e-6)


def test_distances_on_paper_and_their_loss() -> None:
    """Cross-entropy of negated distances is equation 9, d_right + log(e^-j + sum e^-d), for j without bound."""
    layer = RadialBasis(torch.tensor([[1.0, -1.0], [-1.0, -1.0]]))
    logits = layer(torch.tensor([[1.0, 1.0]]))
    assert torch.equal(logits, torch.tensor([[-4.0, -8.0]]))
    loss = functional.cross_entropy(logits, torch.tensor([1]))
    torch.testing.assert_close(loss.item(), 8 + math.log(math.exp(-4) + math.exp(-8)))
    assert not layer.weight.requires_grad


def test_codes_of_the_digits_are_pictures() -> None:
    codes = make_codes(10)
    assert codes.shape == (10, CODE_SIZE)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert len(codes.unique(dim=0)) == 10
    pictures = codes.reshape(10, 12, 7)
    assert torch.equal(pictures[0], pictures[0].flip(1))  # a nought and an eight are symmetric
    assert torch.equal(pictures[8], pictures[8].flip(1))
    assert (pictures[:, [0, -1]] == -1).all()  # paper above and below


@pytest.mark.parametrize("num_classes", [1, 2, 9, 11, 1000])
def test_codes_of_other_classes_are_random_and_always_the_same(num_classes: int) -> None:
    before = torch.get_rng_state()
    codes = make_codes(num_classes)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(codes, make_codes(num_classes))
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert len(codes.unique(dim=0)) == num_classes


def test_lenet5_of_1998_written_out() -> None:
    network = LeNet51998(LeNetConfig()).eval()
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def squash(sums: torch.Tensor) -> torch.Tensor:
        return 1.7159 * (2 * sums / 3).tanh()

    def subsample(maps: torch.Tensor, layer: Subsampling) -> torch.Tensor:
        sums = maps[..., ::2, ::2] + maps[..., 1::2, ::2] + maps[..., ::2, 1::2] + maps[..., 1::2, 1::2]
        return squash(sums * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1))

    maps = squash(functional.conv2d(images, network.c1.weight, network.c1.bias))
    maps = subsample(maps, network.s2)
    bias = torch.cat([part.bias for part in network.c3.parts])
    maps = squash(functional.conv2d(maps, dense_weight(network.c3, LENET5_TABLE, 6), bias))
    maps = subsample(maps, network.s4)
    features = squash(maps.flatten(1) @ network.c5.weight.flatten(1).T + network.c5.bias)
    features = squash(features @ network.f6.weight.T + network.f6.bias)
    logits = -torch.cdist(features, make_codes(10)).square()
    torch.testing.assert_close(network(images), logits, rtol=1e-4, atol=1e-4)


def test_everything_trained_is_drawn_within_the_papers_bounds() -> None:
    network = build_network("lenet5_1998", seed=0)
    for name, fan_in in (("c1", 25), ("s2", 4), ("c3.parts.0", 75), ("c5", 400), ("f6", 120)):
        layer = network.get_submodule(name)
        for param in layer.parameters():
            assert param.abs().max() <= 2.4 / fan_in
        assert layer.get_parameter("weight").abs().max() > 0.4 * 2.4 / fan_in
