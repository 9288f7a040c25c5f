"""Shapes, multiply-adds and memory as papers and lectures print them."""

import pytest
import torch
import torchvision
from torch import nn

from published.gathering import rows
from striate.inspection.layers import describe_network
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.squeezenet import Fire


@pytest.mark.parametrize(("name", "input_size", "shapes", "source"), rows("SHAPES"), ids=lambda value: str(value)[:24])
def test_shapes_as_published(
    name: str, input_size: tuple[int, int, int], shapes: dict[str, tuple[int, ...]], source: str
) -> None:
    """Of layers, and of modules made of several."""
    network = build_network(name, in_channels=input_size[0], device="meta").eval()
    found: dict[str, tuple[int, ...]] = {}
    for module_name in shapes:
        module = network.get_submodule(module_name)
        module.register_forward_hook(
            lambda _module, _args, output, key=module_name: found.update({key: tuple(output.shape[1:])})
        )
    network(torch.empty(1, *input_size, device="meta"))
    assert found == shapes, source


@pytest.mark.parametrize(
    ("in_channels", "squeeze", "expand", "num_params"),
    [
        (96, 16, 64, 11_920), (128, 16, 64, 12_432), (128, 32, 128, 45_344), (256, 32, 128, 49_440),
        (256, 48, 192, 104_880), (384, 48, 192, 111_024), (384, 64, 256, 188_992), (512, 64, 256, 197_184),
    ],
)  # fmt: skip
def test_fire_modules_as_table_1(in_channels: int, squeeze: int, expand: int, num_params: int) -> None:
    """arXiv:1602.07360, Table 1, column "#parameter before pruning"."""
    assert sum(param.numel() for param in Fire(in_channels, squeeze, expand).parameters()) == num_params


@pytest.mark.parametrize(("name", "macs_printed", "tolerance", "source"), rows("MACS"))
def test_macs_as_printed(name: str, macs_printed: float, tolerance: float, source: str) -> None:
    assert CATALOGUE[name].macs == pytest.approx(macs_printed, rel=tolerance), source


@pytest.mark.parametrize(
    "name",
    ["alexnet", "squeezenet1_0", "squeezenet1_1", "resnet18", "resnet34", "resnet50", "vgg16", "mobilenet_v2",
    "vit_b_16"]
)  # fmt: skip
def test_macs_and_params_as_torchvision_prints_them(name: str) -> None:
    """`_ops` is in billions of multiply-adds, rounded to a thousandth."""
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    description = describe_network(network, (3, 224, 224))
    assert description.macs / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
    assert description.num_params == meta["num_params"]


def conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")


@pytest.mark.parametrize(
    ("network", "input_size", "num_params"),
    [
        (conv(3, 16, 3), (3, 16, 16), 448),
        (conv(3, 8, 3), (3, 16, 16), 224),
        (conv(8, 16, 5), (8, 16, 16), 3_216),
        (nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 16, 512), nn.Linear(512, 4)), (16, 16, 16), 2_099_716),
    ],
)
def test_params_of_the_lectures(network: nn.Module, input_size: tuple[int, int, int], num_params: int) -> None:
    assert describe_network(network, input_size).num_params == num_params


class NaiveInception(nn.Module):
    """Szegedy et al. 2014 (arXiv:1409.4842), figure 2a, with the widths of the lecture: 28x28x256 -> 28x28x672."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv(256, 128, 1), conv(256, 192, 3), conv(256, 96, 5), nn.MaxPool2d(3, 1, 1)])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


class BottleneckInception(nn.Module):
    """The same with few maps before the large filters, and after the pooling where `project` is given."""

    def __init__(self, before_3x3: int, before_5x5: int, project: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv(256, 128, 1),
                nn.Sequential(conv(256, before_3x3, 1), conv(before_3x3, 192, 3)),
                nn.Sequential(conv(256, before_5x5, 1), conv(before_5x5, 96, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), project),
            ]
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def test_inception_multiply_adds() -> None:
    """854 million without bottlenecks, 358 million with them (Stanford CS231n, lecture 9).

    The lecture's drawing has 64 maps at all three bottlenecks, which makes 271 million; its sum is that of 128 maps
    before the 3x3, 64 before the 5x5 and none after the pooling.
    """
    naive = describe_network(NaiveInception(), (256, 28, 28))
    assert round(naive.macs / 1e6) == 854
    as_summed = describe_network(BottleneckInception(128, 64, nn.Identity()), (256, 28, 28))
    assert round(as_summed.macs / 1e6) == 358
    as_drawn = describe_network(BottleneckInception(64, 64, conv(256, 64, 1)), (256, 28, 28))
    assert round(as_drawn.macs / 1e6) == 271
    assert as_drawn.layers[-2].output_shape == (64, 28, 28)


def test_strided_convolutions_halve_twice() -> None:
    """3x3, stride 2, padding 1 on 5x5 gives 3x3, then 2x2."""
    network = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
    assert [layer.output_shape for layer in describe_network(network, (1, 5, 5)).layers] == [(1, 3, 3), (1, 2, 2)]


def test_depthwise_separable_against_standard() -> None:
    """5x5 on 3 channels to 256 maps: about 20 thousand weights, against about one thousand."""
    standard = nn.Conv2d(3, 256, 5, bias=False)
    separable = nn.Sequential(nn.Conv2d(3, 3, 5, groups=3, bias=False), nn.Conv2d(3, 256, 1, bias=False))
    assert describe_network(standard, (3, 12, 12)).num_params == 19_200
    assert describe_network(separable, (3, 12, 12)).num_params == 75 + 768
    assert describe_network(separable, (3, 12, 12)).macs == 8 * 8 * (75 + 768)


def test_memory_of_vgg16() -> None:
    """Outputs of all convolutions, pools and linear layers of one image, rectified in place: 15.1 million floats, 60
    MB.

    The lecture that prints 96 MB counts 24 million floats; its own column of sizes adds up to 15 million.
    """
    with torch.device("meta"):
        network = torchvision.models.vgg16()
    assert describe_network(network, (3, 224, 224)).activation_bytes / 4 == pytest.approx(15.1e6, rel=0.01)
