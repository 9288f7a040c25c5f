"""GoogLeNet, the first Inception network (Szegedy et al. 2014, arXiv:1409.4842), in two forms.

N images, C channels, H x W pixels, K classes.

`googlenet_lrn` is the paper's own: filters of 1x1, 3x3 and 5x5 side by side with biases, local response normalisation
in the stem (figure 3), two auxiliary heads. Departures: pooling rounds its size up, without which the paper's 56x56 do
not follow from 112x112; the constants of the response normalisation, which the paper does not print, are those of the
Caffe network that its readers made; first weights, not printed either, are He et al.'s for ReLU, with small ones in the
last layers. The auxiliary heads average 5x5 windows as printed where that leaves 4x4 places, as at 224x224, and other
sizes in 4x4 equal parts, so that images of any size can be trained on.

`googlenet` is torchvision's form, with its parameter names and initialisation, so that its published weights load:
batch norm instead of biases and response normalisation, 3x3 filters where the paper has 5x5 (vision#906), a last
pooling of 2x2 instead of 3x3, auxiliary heads that average to 4x4 whatever the size, and 0.2 dropped before the last
layer instead of 0.4. torchvision maps ImageNet's normalisation to [-1, 1] inside the network; here the weights'
preprocessing does the same: ((p - m) / s) * (s / 0.5) + (m - 0.5) / 0.5 is (p - 0.5) / 0.5 for every m and s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.basic_conv import BasicConv
from striate.layers.branches import Branches
from striate.layers.initialization import draw_he_normal, draw_truncated_normal
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import HALF, imagenet_preprocessing, imagenet_weights

MIN_SIZE = (15, 15)
MIN_SIZE_LRN = (31, 31)


@dataclass(frozen=True)
class GoogLeNetConfig:
    """Channels in, classes out, shares dropped before the last layers, and how much an auxiliary head's loss counts."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.4
    auxiliary_dropout: float = 0.7
    auxiliary_weight: float = 0.3

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout, auxiliary_dropout=self.auxiliary_dropout)
        if not self.auxiliary_weight >= 0:
            raise InputError(f"auxiliary_weight must be at least 0 but is {self.auxiliary_weight!r}")


class Widths(NamedTuple):
    """One inception row of Table 1: how many filters of each kind."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_projection: int

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return self.conv1x1 + self.conv3x3 + self.conv5x5 + self.pool_projection


TABLE_1 = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}

MakeConv = Callable[[int, int, int, int], nn.Module]
"""Takes channels in and out, filter size and stride; pads so that stride 1 keeps the size."""


class BiasedConv(nn.Module):
    """Convolve with bias, rectify: (N, C, H, W) -> (N, out_channels, H / stride, W / stride), rounded up."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H / stride, W / stride), never below 0."""
        return self.relu(self.conv(maps))


def inception(conv: MakeConv, in_channels: int, widths: Widths, wide_kernel_size: int) -> Branches:
    """Figure 2b: 1x1, 3x3, wide filters and a maximum side by side: (N, C, H, W) -> (N, widths.out_channels, H, W)."""
    return Branches(
        conv(in_channels, widths.conv1x1, 1, 1),
        nn.Sequential(conv(in_channels, widths.reduce3x3, 1, 1), conv(widths.reduce3x3, widths.conv3x3, 3, 1)),
        nn.Sequential(
            conv(in_channels, widths.reduce5x5, 1, 1), conv(widths.reduce5x5, widths.conv5x5, wide_kernel_size, 1)
        ),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, widths.pool_projection, 1, 1)),
    )


class AverageTo4x4(nn.Module):
    """5x5 averages at every third place (section 5) where they leave 4x4, else 4x4 equal parts: (N, C, 4, 4)."""

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 4, 4)."""
        if all(14 <= extent <= 16 for extent in maps.shape[2:]):
            return F.avg_pool2d(maps, 5, stride=3)
        return F.adaptive_avg_pool2d(maps, 4)


class AuxiliaryHead(nn.Module):
    """A classifier on earlier maps, for training only (section 5): (N, C, H, W) -> logits (N, K)."""

    def __init__(self, in_channels: int, config: GoogLeNetConfig, avgpool: nn.Module, conv: MakeConv) -> None:
        super().__init__()
        self.avgpool = avgpool
        self.conv = conv(in_channels, 128, 1, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(config.auxiliary_dropout)
        self.fc2 = nn.Linear(1024, config.num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        features = self.conv(self.avgpool(maps)).flatten(1)  # (N, 2048)
        return self.fc2(self.dropout(self.relu(self.fc1(features))))


class GoogLeNet(nn.Module):
    """Table 1 with whatever convolutions and pools it is given: images (N, C, H, W) -> logits (N, K).

    Batch norm, where `conv` has it, needs two images or more in training where the last modules are left one place.
    """

    def __init__(
        self,
        config: GoogLeNetConfig,
        *,
        conv: MakeConv,
        wide_kernel_size: int,
        pools: tuple[nn.Module, nn.Module, nn.Module, nn.Module],
        make_auxiliary_pool: Callable[[], nn.Module],
        min_size: tuple[int, int],
        name: str,
    ) -> None:
        super().__init__()
        self.config = config
        self.min_size = min_size
        self.name = name

        def mixed(in_channels: int, row: str) -> Branches:
            return inception(conv, in_channels, TABLE_1[row], wide_kernel_size)

        self.conv1 = conv(config.in_channels, 64, 7, 2)
        self.maxpool1 = pools[0]
        self.conv2 = conv(64, 64, 1, 1)
        self.conv3 = conv(64, 192, 3, 1)
        self.maxpool2 = pools[1]
        self.inception3a = mixed(192, "3a")
        self.inception3b = mixed(256, "3b")
        self.maxpool3 = pools[2]
        self.inception4a = mixed(480, "4a")
        self.inception4b = mixed(512, "4b")
        self.inception4c = mixed(512, "4c")
        self.inception4d = mixed(512, "4d")
        self.inception4e = mixed(528, "4e")
        self.maxpool4 = pools[3]
        self.inception5a = mixed(832, "5a")
        self.inception5b = mixed(832, "5b")
        self.aux1 = AuxiliaryHead(512, config, make_auxiliary_pool(), conv)
        self.aux2 = AuxiliaryHead(528, config, make_auxiliary_pool(), conv)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(1024, config.num_classes)

    def forward(self, images: Tensor) -> Tensor | WithAuxiliary:
        """Images (N, C, H, W) -> logits (N, K), in training with those of the two auxiliary heads."""
        check_images(images, self.config.in_channels, self.min_size, network=self.name)
        maps = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(images)))))
        maps_4a = self.inception4a(self.maxpool3(self.inception3b(self.inception3a(maps))))
        maps_4d = self.inception4d(self.inception4c(self.inception4b(maps_4a)))
        maps = self.inception5b(self.inception5a(self.maxpool4(self.inception4e(maps_4d))))
        logits = self.fc(self.dropout(self.avgpool(maps).flatten(1)))
        if not self.training:
            return logits
        return WithAuxiliary(logits, (self.aux1(maps_4a), self.aux2(maps_4d)), self.config.auxiliary_weight)


def googlenet(config: GoogLeNetConfig) -> GoogLeNet:
    """torchvision's form, with its first weights."""
    network = GoogLeNet(
        config,
        conv=BasicConv,
        wide_kernel_size=3,
        pools=(pool(3), pool(3), pool(3), pool(2)),
        make_auxiliary_pool=average_to_4x4,
        min_size=MIN_SIZE,
        name="googlenet",
    )
    draw_truncated_normal(network, std=0.01)
    return network


def googlenet_lrn(config: GoogLeNetConfig) -> GoogLeNet:
    """The paper's form: responses are normalised after the first pooling and before the second."""
    network = GoogLeNet(
        config,
        conv=BiasedConv,
        wide_kernel_size=5,
        pools=(nn.Sequential(pool(3), response_norm()), nn.Sequential(response_norm(), pool(3)), pool(3), pool(3)),
        make_auxiliary_pool=AverageTo4x4,
        min_size=MIN_SIZE_LRN,
        name="googlenet_lrn",
    )
    draw_he_normal(network, heads=(network.fc, network.aux1.fc2, network.aux2.fc2))
    return network


def average_to_4x4() -> nn.AdaptiveAvgPool2d:
    """Averages of 4x4 parts, equal but for rounding, whatever the size."""
    return nn.AdaptiveAvgPool2d(4)


def pool(kernel_size: int) -> nn.MaxPool2d:
    """Maxima at every second place, the last window allowed to hang over the border."""
    return nn.MaxPool2d(kernel_size, stride=2, ceil_mode=True)


def response_norm() -> nn.LocalResponseNorm:
    """x / (1 + 1e-4 / 5 * sum of squares over 5 maps) ** 0.75: Caffe's, which divides where AlexNet's paper does
    not.
    """
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


_TITLE = "Going Deeper with Convolutions"
_PAPER = "arXiv:1409.4842"
_AUXILIARY_HEADS = ("aux1.fc2", "aux2.fc2")

ENTRIES = (
    Entry(
        name="googlenet_lrn", family="inception", year=2014, title=_TITLE, paper=_PAPER, build=googlenet_lrn,
        config=GoogLeNetConfig(), input_size=(3, 224, 224), num_params=6_998_552, macs=1_582_671_872,
        stem="conv1.conv", head="fc", min_size=MIN_SIZE_LRN, auxiliary_heads=_AUXILIARY_HEADS,
        num_auxiliary_params=6_379_728,
        published=Published(top5_error=0.1007, source="arXiv:1409.4842, Table 3, one network, one crop"),
    ),
    Entry(
        name="googlenet", family="inception", year=2014, title=_TITLE, paper=_PAPER, build=googlenet,
        config=GoogLeNetConfig(dropout=0.2), input_size=(3, 224, 224), num_params=6_624_904,
        macs=1_498_376_192, stem="conv1.conv", head="fc", min_size=MIN_SIZE, auxiliary_heads=_AUXILIARY_HEADS,
        num_auxiliary_params=6_379_984,
        weights=(
            imagenet_weights(
                "googlenet-1378be20.pth", size_mib=49.731, top1=0.69778, top5=0.89530,
                preprocessing=imagenet_preprocessing(mean=HALF, std=HALF),
            ),
        ),
    ),
)  # fmt: skip
