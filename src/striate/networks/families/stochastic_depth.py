"""Residual networks with stochastic depth (Huang, Sun, Liu, Sedra & Weinberger 2016, arXiv:1603.09382).

N images, C channels, K classes. In training whole blocks are left out at random, later ones more often; in evaluation
all are there. Departures: blocks are left out image by image and the kept ones scaled up, instead of batch by batch and
scaled down in evaluation, see `layers/drop_path.py`; so the convolutions and batch norms of a block compute, and gather
statistics, for all images, left out or not, and nothing is faster. The added maps of zeros come half before, half
after.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.drop_path import DropPath
from striate.layers.residual import PadShortcut, conv3x3
from striate.networks.checking import check_counts, check_depths
from striate.networks.entry import Entry, Published
from striate.networks.families.resnet import MIN_SIZE, CifarResNet


@dataclass(frozen=True)
class StochasticDepthConfig:
    """Blocks in each stage, and the probability with which the last of all is kept; the earlier, the nearer to 1."""

    in_channels: int = 3
    num_classes: int = 10
    depths: tuple[int, ...] = (18, 18, 18)
    last_survival: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_depths(self.depths, num_stages=3)
        if not 0 < self.last_survival <= 1:
            raise InputError(f"last_survival must be over 0 and at most 1 but is {self.last_survival}")


class DroppedBlock(nn.Module):
    """A basic block whose residual may be left out (equation 2): (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, downsample: nn.Module | None, drop_rate: float
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.drop_path = DropPath(drop_rate)
        self.downsample = downsample
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus, for some images only while training, what the two convolutions make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.drop_path(self.bn2(self.conv2(residual)))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu2(residual + shortcut)


def stochastic_depth_resnet(config: StochasticDepthConfig) -> CifarResNet:
    """The CIFAR ResNet (arXiv:1512.03385, section 4.2) with blocks that may be left out."""
    drop_rates = iter(linear_drop_rates(sum(config.depths), config.last_survival))

    def make_block(in_channels: int, out_channels: int, stride: int) -> DroppedBlock:
        shortcut = average_shortcut(in_channels, out_channels, stride)
        return DroppedBlock(in_channels, out_channels, stride, shortcut, next(drop_rates))

    return CifarResNet(config.in_channels, config.num_classes, make_block, config.depths, (16, 32, 64), stem_width=16)


def linear_drop_rates(num_blocks: int, last_survival: float) -> list[float]:
    """Probability that each block is skipped (equation 4): block l of L with the probability l / L (1 -
    last_survival).
    """
    return [block / num_blocks * (1 - last_survival) for block in range(1, num_blocks + 1)]


def average_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Averages of neighbouring pixels and maps of zeros (section 4); None where the maps keep their shape."""
    if in_channels == out_channels and stride == 1:
        return None
    # a window over the border averages what there is, so that odd sizes halve as in the strided convolution
    average = nn.AvgPool2d(stride, ceil_mode=True)
    return nn.Sequential(average, PadShortcut(out_channels - in_channels, stride=1))


ENTRIES = (
    Entry(
        name="resnet110_stochastic_depth_cifar", family="stochastic_depth", year=2016,
        title="Deep Networks with Stochastic Depth", paper="arXiv:1603.09382", build=stochastic_depth_resnet,
        config=StochasticDepthConfig(), input_size=(3, 32, 32), num_params=1_727_962, macs=252_887_680, stem="conv1",
        head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.0523, source="arXiv:1603.09382, Table 1, CIFAR-10 with augmentation"),
    ),
)  # fmt: skip
