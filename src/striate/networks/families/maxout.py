"""Maxout networks (Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, arXiv:1302.4389).

N images, C channels, K classes.

`maxout_mnist` is the permutation-invariant network of section 5.1: two dense maxout layers and a softmax layer, dropout
on the pixels and on both hidden layers. `maxout_cifar` is that of section 5.2: three convolutional maxout layers, each
with max pooling in space, a dense maxout layer and a softmax layer, dropout before each.

Left open by the paper, and taken from the configuration files in the authors' pylearn2: all widths, numbers of pieces,
filters, paddings and pools, pooling that rounds sizes up, dropout of 0.2 on the input and 0.5 elsewhere.

Departures: pylearn2 does not scale the input's dropout up, here everything kept is scaled by 1 / (1 - p). Weights are
normal with variance 1 / (2 fan in), which suits maxima over pieces and places, small ones in the last layer, where
pylearn2 draws within 0.005 of zero. What belongs to training or to the data is not here: the bound on each unit's
weights (norms of 0.9 to 1.9365), contrast normalisation and whitening of CIFAR-10.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.maxout import Maxout
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MNIST_SIZE = (28, 28)
CIFAR_SIZE = (32, 32)
HEAD_STD = 0.01


@dataclass(frozen=True)
class DenseMaxoutConfig:
    """Units of each hidden layer, pieces of each unit, and the shares of pixels and of hidden units dropped."""

    in_channels: int = 1
    num_classes: int = 10
    hidden_widths: tuple[int, ...] = (240, 240)
    num_pieces: int = 5
    input_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_sizes("hidden_widths", self.hidden_widths)
        check_sizes("num_pieces", (self.num_pieces,))


@dataclass(frozen=True)
class ConvMaxoutConfig:
    """Maps of the three convolutional layers and units of the dense one, pieces of each, and the shares dropped."""

    in_channels: int = 3
    num_classes: int = 10
    widths: tuple[int, int, int] = (96, 192, 192)
    hidden_width: int = 500
    num_conv_pieces: int = 2
    num_dense_pieces: int = 5
    input_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.widths) != 3:
            raise InputError(f"widths must be three numbers but are {self.widths}")
        check_sizes("widths", self.widths)
        check_sizes("hidden_width", (self.hidden_width,))
        check_sizes("num_conv_pieces and num_dense_pieces", (self.num_conv_pieces, self.num_dense_pieces))


class DenseMaxout(nn.Module):
    """Dense maxout layers on pixels in a row (section 5.1): images (N, C, 28, 28) -> logits (N, K)."""

    def __init__(self, config: DenseMaxoutConfig) -> None:
        super().__init__()
        self.config = config
        self.flatten = nn.Flatten()
        layers: list[nn.Module] = [nn.Dropout(config.input_dropout)]
        num_inputs = config.in_channels * MNIST_SIZE[0] * MNIST_SIZE[1]
        for width in config.hidden_widths:
            layers += [nn.Linear(num_inputs, width * config.num_pieces), Maxout(config.num_pieces)]
            layers.append(nn.Dropout(config.dropout))
            num_inputs = width
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(num_inputs, config.num_classes)
        draw_weights(self, head=self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, MNIST_SIZE, is_fixed_size=True, network="maxout_mnist")
        return self.head(self.hidden(self.flatten(images)))


class ConvMaxout(nn.Module):
    """Convolutional maxout layers, then a dense one (section 5.2): images (N, C, 32, 32) -> logits (N, K)."""

    def __init__(self, config: ConvMaxoutConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.widths
        pieces = config.num_conv_pieces
        self.features = nn.Sequential(
            nn.Dropout(config.input_dropout),
            nn.Conv2d(config.in_channels, first * pieces, 8, padding=4), Maxout(pieces), pool(4),  # (N, 96, 16, 16)
            nn.Dropout(config.dropout),
            nn.Conv2d(first, second * pieces, 8, padding=3), Maxout(pieces), pool(4),  # (N, 192, 7, 7)
            nn.Dropout(config.dropout),
            nn.Conv2d(second, third * pieces, 5, padding=3), Maxout(pieces), pool(2),  # (N, 192, 5, 5)
            nn.Dropout(config.dropout),
        )  # fmt: skip
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(third * 5 * 5, config.hidden_width * config.num_dense_pieces)
        self.maxout = Maxout(config.num_dense_pieces)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_width, config.num_classes)
        draw_weights(self, head=self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, CIFAR_SIZE, is_fixed_size=True, network="maxout_cifar")
        features = self.flatten(self.features(images))
        return self.head(self.dropout(self.maxout(self.hidden(features))))


def pool(size: int) -> nn.MaxPool2d:
    """Maxima at every second place, the last window allowed to hang over the border, as cuda-convnet has it."""
    return nn.MaxPool2d(size, stride=2, ceil_mode=True)


def draw_weights(network: nn.Module, *, head: nn.Linear) -> None:
    """Normal with variance 1 / (2 fan in), since the largest of k is larger; small ones in the head; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=HEAD_STD if module is head else (2 * fan_in) ** -0.5)
            nn.init.zeros_(module.get_parameter("bias"))


def check_sizes(name: str, sizes: tuple[int, ...]) -> None:
    """Raise InputError unless there are some and each is at least 1."""
    if not sizes or min(sizes) < 1:
        raise InputError(f"{name} must be at least 1 each but are {sizes}")


_TITLE = "Maxout Networks"
_PAPER = "arXiv:1302.4389"

ENTRIES = (
    Entry(
        name="maxout_mnist", family="maxout", year=2013, title=_TITLE, paper=_PAPER, build=DenseMaxout,
        config=DenseMaxoutConfig(), input_size=(1, *MNIST_SIZE), num_params=1_233_610, macs=1_231_200, stem="hidden.1",
        head="head", min_size=MNIST_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.0094, source="arXiv:1302.4389, Table 1, permutation-invariant MNIST"),
    ),
    Entry(
        name="maxout_cifar", family="maxout", year=2013, title=_TITLE, paper=_PAPER, build=ConvMaxout,
        config=ConvMaxoutConfig(), input_size=(3, *CIFAR_SIZE), num_params=16_247_830, macs=732_290_696,
        stem="features.1", head="head", min_size=CIFAR_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.0938, source="arXiv:1302.4389, Table 3, CIFAR-10 with augmentation"),
    ),
)  # fmt: skip
