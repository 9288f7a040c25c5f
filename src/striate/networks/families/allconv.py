"""Networks of convolutions alone (Springenberg, Dosovitskiy, Brox & Riedmiller 2014, arXiv:1412.6806), for CIFAR-10.

N images, C channels, K classes. Three base networks (Table 1: A, B and C) have two blocks, each followed by 3x3 max
pooling, then three convolutions and an average. Table 2 changes what follows a block: "stride", no pooling, the block's
last convolution strides; "conv", a strided 3x3 convolution instead of pooling (All-CNN); "conv_pool", one more 3x3
convolution before the pooling, as a control.

Departures: the paper does not print paddings. Its averages over 6x6 places follow from padding everything but the third
part's 3x3 convolution, which is done here; averages are taken over whatever size there is. Weights are drawn as He et
al. 2015 (arXiv:1502.01852), small ones in the last layer, since the paper does not say.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (9, 9)

KERNEL_SIZES = {"A": (5,), "B": (5, 1), "C": (3, 3)}
"""Of the convolutions in each of the two blocks (Table 1)."""
REDUCTIONS = ("pool", "stride", "conv", "conv_pool")


@dataclass(frozen=True)
class AllConvConfig:
    """The base network, what halves the maps after each block, maps of the two blocks, and the shares dropped: of the
    input, and after each halving."""

    in_channels: int = 3
    num_classes: int = 10
    base: Literal["A", "B", "C"] = "C"
    reduction: Literal["pool", "stride", "conv", "conv_pool"] = "conv"
    widths: tuple[int, int] = (96, 192)
    input_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.base not in KERNEL_SIZES:
            raise InputError(f"base must be 'A', 'B' or 'C' but is {self.base!r}")
        if self.reduction not in REDUCTIONS:
            raise InputError(f"reduction must be one of {', '.join(REDUCTIONS)} but is {self.reduction!r}")
        if len(self.widths) != 2 or min(self.widths) < 1:
            raise InputError(f"widths must be two numbers of at least 1 but are {self.widths}")


class AllConv(nn.Module):
    """Two blocks, three convolutions, the average of a map a class: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: AllConvConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.widths
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.block1 = nn.Sequential(*make_block(config, config.in_channels, first))
        self.block2 = nn.Sequential(*make_block(config, first, second))
        self.block3 = nn.Sequential(
            nn.Conv2d(second, second, 3), nn.ReLU(),
            nn.Conv2d(second, second, 1), nn.ReLU(),
            nn.Conv2d(second, config.num_classes, 1), nn.ReLU(),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        convs = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        draw_he_normal(self, heads=(convs[-1],))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K), never below 0: Table 1 has a ReLU before the average."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this all-convolutional network")
        maps = self.block2(self.block1(self.input_dropout(images)))  # (N, 192, H / 4, W / 4)
        return self.avgpool(self.block3(maps)).flatten(1)


def make_block(config: AllConvConfig, in_channels: int, width: int) -> list[nn.Module]:
    """A block of Table 1 with one of Table 2's endings: (N, in_channels, H, W) -> (N, width, H / 2, W / 2).

    Sizes that are odd are rounded up.
    """
    kernel_sizes = list(KERNEL_SIZES[config.base])
    if config.reduction in ("conv", "conv_pool"):
        kernel_sizes.append(3)
    layers: list[nn.Module] = []
    for number, kernel_size in enumerate(kernel_sizes, start=1):
        strides = config.reduction in ("stride", "conv") and number == len(kernel_sizes)
        layers.append(nn.Conv2d(in_channels, width, kernel_size, stride=2 if strides else 1, padding=kernel_size // 2))
        layers.append(nn.ReLU())
        in_channels = width
    if config.reduction in ("pool", "conv_pool"):
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    layers.append(nn.Dropout(config.dropout))
    return layers


def _entry(name: str, config: AllConvConfig, *, num_params: int, macs: int, top1_error: float) -> Entry:
    return Entry(
        name=name, family="allconv", year=2014, title="Striving for Simplicity: The All Convolutional Net",
        paper="arXiv:1412.6806", build=AllConv, config=config, input_size=(3, 32, 32), num_params=num_params, macs=macs,
        stem="block1.0", head="block3.4", min_size=MIN_SIZE,
        published=Published(top1_error=top1_error, source="arXiv:1412.6806, Table 3, CIFAR-10 without augmentation"),
    )  # fmt: skip


ENTRIES = (
    _entry(
        "strided_cnn_c_cifar", AllConvConfig(reduction="stride"),
        num_params=954_730, macs=100_929_024, top1_error=0.1019,
    ),
    _entry(
        "convpool_cnn_c_cifar", AllConvConfig(reduction="conv_pool"),
        num_params=1_369_738, macs=398_200_320, top1_error=0.0931,
    ),
    _entry("allcnn_a_cifar", AllConvConfig(base="A"), num_params=1_254_250, macs=181_145_088, top1_error=0.1030),
    _entry("allcnn_b_cifar", AllConvConfig(base="B"), num_params=1_300_618, macs=200_019_456, top1_error=0.0910),
    _entry("allcnn_c_cifar", AllConvConfig(), num_params=1_369_738, macs=270_798_336, top1_error=0.0908),
)  # fmt: skip
