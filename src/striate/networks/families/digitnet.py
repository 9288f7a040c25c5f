"""A small network for digits of 28x28 grey pixels that learns MNIST in one epoch. N images, C channels, K classes.

It has no paper. A 5x5 convolution that steps by 2 looks at the pixels first, as in LeCun et al. 1989 (NIPS 2, pages
396-404) and Simard, Steinkraus & Platt 2003 (doi:10.1109/ICDAR.2003.1227801); 3x3 convolutions follow, each with a
batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167) and a ReLU. Nothing is padded, and after the third convolution 2x2
maxima are taken, before the norm, which then has a quarter of the places to do. Halving the image at once saves most of
the work; widths are multiples of 16, the numbers that a processor multiplies at once.

Departures: everything sees all maps of the layer before, where the papers of 1989 and 2003 had tables of connections,
squashing functions and units between the maps and the classes.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry

SIZE = (28, 28)
LAST_PLACES = 2 * 2
"""What 28 x 28 pixels have become when they reach the head."""


@dataclass(frozen=True)
class DigitNetConfig:
    """Channels in, classes out, and the maps of the four convolutions."""

    in_channels: int = 1
    num_classes: int = 10
    widths: tuple[int, ...] = (16, 16, 32, 64)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.widths) != 4 or min(self.widths) < 1:
            raise InputError(f"widths must be four numbers of at least 1 but are {self.widths}")


class DigitNet(nn.Module):
    """Four convolutions with batch norms and a linear head: images (N, C, 28, 28), normalised -> logits (N, K)."""

    def __init__(self, config: DigitNetConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third, fourth = config.widths
        self.conv1 = nn.Conv2d(config.in_channels, first, 5, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(first)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(first, second, 3, bias=False)
        self.norm2 = nn.BatchNorm2d(second)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(second, third, 3, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm3 = nn.BatchNorm2d(third)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(third, fourth, 3, bias=False)
        self.norm4 = nn.BatchNorm2d(fourth)
        self.relu4 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(fourth * LAST_PLACES, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, SIZE, is_fixed_size=True, network="digitnet")
        maps = self.relu1(self.norm1(self.conv1(images)))  # (N, 16, 12, 12)
        maps = self.relu2(self.norm2(self.conv2(maps)))  # (N, 16, 10, 10)
        maps = self.relu3(self.norm3(self.pool(self.conv3(maps))))  # (N, 32, 4, 4)
        maps = self.relu4(self.norm4(self.conv4(maps)))  # (N, 64, 2, 2)
        return self.head(self.flatten(maps))


ENTRIES = (
    Entry(
        name="digitnet", family="digitnet", year=2015,
        title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        paper="arXiv:1502.03167", build=DigitNet, config=DigitNetConfig(), input_size=(1, *SIZE), num_params=28_570,
        macs=659_200, stem="conv1", head="head", min_size=SIZE, is_fixed_size=True,
    ),
)  # fmt: skip
