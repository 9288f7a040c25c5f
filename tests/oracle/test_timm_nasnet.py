"""NASNet-A against timm's, which has the large form only: the same cells, wired for other widths."""

import re

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import AvgPool2dSame
from torch import Tensor, nn

from oracle.test_networks_torchvision import shake_norms
from striate.networks.catalogue import build_network
from striate.networks.families.nasnet import NasNet, NasNetConfig

INSIDE = {
    "relu1": "act_1", "depthwise1": "separable_1.depthwise_conv2d", "pointwise1": "separable_1.pointwise_conv2d",
    "bn1": "bn_sep_1", "relu2": "act_2", "depthwise2": "separable_2.depthwise_conv2d",
    "pointwise2": "separable_2.pointwise_conv2d", "bn2": "bn_sep_2",
}  # fmt: skip
"""Names inside a separable convolution."""
HALVING = {"conv1": "path_1.conv", "conv2": "path_2.conv", "bn": "final_path_bn"}


def their_cells(num_cells: int) -> list[str]:
    """timm's names of our `cells`, in their order."""
    names = ["cell_stem_0", "cell_stem_1"]
    for stack in range(3):
        names += [f"reduction_cell_{stack - 1}"] if stack else []
        names += [f"cell_{stack * num_cells + number}" for number in range(num_cells)]
    return names


def their_key(key: str, cells: list[str]) -> str:
    """timm's name of our parameter."""
    if match := re.fullmatch(r"cells\.(\d+)\.(.*)", key):
        cell, rest = cells[int(match[1])], match[2]
        if match := re.fullmatch(r"blocks\.(\d)\.(left|right)\.(\w+)\.(\w+)", rest):
            return f"{cell}.comb_iter_{match[1]}_{match[2]}.{INSIDE[match[3]]}.{match[4]}"
        fit, part, kind = rest.split(".")
        if fit == "fit_current":
            return f"{cell}.conv_1x1.{part}.{kind}"
        # the cells that halve their second input keep its parts among the cell's own
        halves = cell in ("cell_stem_1", "cell_0", *after_reductions(cells))
        return f"{cell}.{HALVING[part]}.{kind}" if halves else f"{cell}.conv_prev_1x1.{part}.{kind}"
    return re.sub("^bn", "conv0.bn", re.sub("^conv", "conv0.conv", re.sub("^fc", "last_linear", key)))


def after_reductions(cells: list[str]) -> list[str]:
    return [cells[number + 1] for number, name in enumerate(cells) if name.startswith("reduction")]


class AverageInside(nn.Module):
    """Averages over 3x3 windows at every second pixel, as TensorFlow's and the paper's: the border does not count.

    timm fills the border with zeros and counts them, at strided averages only.
    """

    def forward(self, maps: Tensor) -> Tensor:
        padding = [pad for size in maps.shape[:1:-1] for pad in (size % 2, 1)]
        sums, counts = (9 * F.avg_pool2d(F.pad(each, padding), 3, 2) for each in (maps, torch.ones_like(maps)))
        return sums / counts


def theirs(**config: int) -> nn.Module:
    oracle = timm.create_model("nasnetalarge", pretrained=False, **config)
    for name, module in list(oracle.named_modules()):
        if isinstance(module, AvgPool2dSame):
            oracle.set_submodule(name, AverageInside())
    return oracle


def test_names_and_shapes_are_timms() -> None:
    with torch.device("meta"):
        oracle = timm.create_model("nasnetalarge", pretrained=False).state_dict()
    ours = build_network("nasnet_a_large", device="meta").state_dict()
    cells = their_cells(6)
    assert {their_key(key, cells): value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in oracle.items()
    }


@pytest.mark.parametrize("size", [(67, 60)])
def test_same_weights_give_the_same_logits(size: tuple[int, int]) -> None:
    """A twenty-first of the width; odd and even sizes meet every way of padding. float32 rounding only."""
    config = NasNetConfig(num_cells=6, num_classes=7, width=8, stem_width=10, skips_reduction_input=True)
    network = NasNet(config).eval()
    shake_norms(network)
    oracle = theirs(num_classes=7, num_features=24 * 8, stem_size=10).eval()
    cells = their_cells(6)
    oracle.load_state_dict({their_key(key, cells): value for key, value in network.state_dict().items()})
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = oracle(images)
        scale = max(1, expected.abs().max().item())
        torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5 * scale)
