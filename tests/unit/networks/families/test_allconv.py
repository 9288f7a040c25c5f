"""All-convolutional networks: what stands in each block, a network written out, and the checks."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from striate.errors import InputError
from striate.inspection.counting import count_params
from striate.networks.families.allconv import KERNEL_SIZES, REDUCTIONS, AllConv, AllConvConfig

SMALL = (4, 6)


def signs(block: nn.Sequential) -> list[str]:
    """Convolutions as size and stride, pools as "pool"."""
    return [
        f"{layer.kernel_size[0]}/{layer.stride[0]}" if isinstance(layer, nn.Conv2d) else "pool"
        for layer in block
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    ]


@pytest.mark.parametrize(
    ("base", "reduction", "expected"),
    [
        ("A", "pool", ["5/1", "pool"]),
        ("B", "pool", ["5/1", "1/1", "pool"]),
        ("C", "pool", ["3/1", "3/1", "pool"]),
        ("C", "stride", ["3/1", "3/2"]),
        ("C", "conv_pool", ["3/1", "3/1", "3/1", "pool"]),
        ("C", "conv", ["3/1", "3/1", "3/2"]),
        ("A", "conv", ["5/1", "3/2"]),
        ("B", "conv", ["5/1", "1/1", "3/2"]),
    ],
)
def test_blocks_as_tables_1_and_2(base: str, reduction: str, expected: list[str]) -> None:
    network = AllConv(AllConvConfig(base=base, reduction=reduction, widths=SMALL))  # type: ignore[arg-type]
    assert signs(network.block1) == signs(network.block2) == expected
    assert signs(network.block3) == ["3/1", "1/1", "1/1"]


@pytest.mark.parametrize(("base", "reduction"), list(itertools.product(KERNEL_SIZES, REDUCTIONS)))
def test_all_twelve_average_over_six_by_six(base: str, reduction: str) -> None:
    network = AllConv(AllConvConfig(base=base, reduction=reduction, widths=SMALL)).eval()  # type: ignore[arg-type]
    maps = network.block3(network.block2(network.block1(torch.zeros(1, 3, 32, 32))))
    assert maps.shape == (1, 10, 6, 6)


def test_pooling_may_be_had_as_a_convolution_at_no_other_cost() -> None:
    """ConvPool-CNN has as many parameters as All-CNN, and a base as many as its strided form."""
    with torch.device("meta"):
        counts = {
            reduction: count_params(AllConv(AllConvConfig(reduction=reduction)))  # type: ignore[arg-type]
            for reduction in REDUCTIONS
        }
    assert counts["conv_pool"] == counts["conv"] == counts["pool"] + 865 * 96 + 1729 * 192
    assert counts["stride"] == counts["pool"]


def test_written_out() -> None:
    network = AllConv(AllConvConfig(widths=SMALL)).eval()
    maps = images = torch.randn(2, 3, 11, 14, generator=torch.Generator().manual_seed(0))
    for block in (network.block1, network.block2):
        for place, stride in ((0, 1), (2, 1), (4, 2)):
            maps = functional.conv2d(maps, block[place].weight, stride=stride, padding=1).clamp(min=0)
    for place in (0, 2, 4):
        maps = functional.conv2d(maps, network.block3[place].weight).clamp(min=0)
    torch.testing.assert_close(network(images), maps.mean(dim=(2, 3)))


def test_first_weights_suit_relu_and_the_last_are_small() -> None:
    torch.manual_seed(0)
    network = AllConv(AllConvConfig())
    torch.testing.assert_close(network.block2[2].weight.std().item(), (2 / 1728) ** 0.5, rtol=0.01, atol=0)
    torch.testing.assert_close(network.block3[4].weight.std().item(), 0.01, rtol=0.1, atol=0)


def test_dropout_on_the_input_and_after_each_halving() -> None:
    network = AllConv(AllConvConfig(widths=SMALL))
    assert network.input_dropout.p == 0.2
    assert [type(block[-1]).__name__ for block in (network.block1, network.block2)] == ["Dropout", "Dropout"]
    assert network.block1[-1].p == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "D"}, "base must be 'A', 'B' or 'C' but is 'D'"),
        ({"reduction": "max"}, "reduction must be one of pool, stride, conv, conv_pool but is 'max'"),
        ({"widths": (96, 0)}, r"widths must be two numbers of at least 1 but are \(96, 0\)"),
    ],
)
def test_impossible_configurations_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AllConvConfig(**settings)  # type: ignore[arg-type]
