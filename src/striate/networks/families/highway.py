"""Highway networks (Srivastava, Greff & Schmidhuber 2015, arXiv:1507.06228; in short arXiv:1505.00387).

N images, C channels, H x W pixels, D features, K classes. A layer learns how much of its input to change: with the
block state H(x) and the transform gate T(x), y = H(x) T(x) + x (1 - T(x)) (equation 3). Gates start nearly shut, so
that a deep network carries its input through at first.

`highway19_cifar` is the network of section 3.3.2, layer by layer as in its authors' code: plain convolutions where
the number of maps changes, and a 1x1 convolution and an average in place of the hidden layer of Table 2's "Highway
B". `highway_mnist` is the thin network of section 3.1 with ten layers. Departures: block states of the latter are
rectified, where the paper searches between that and tanh; rectified layers draw normal weights (He et al. 2015,
arXiv:1502.01852) and gates uniform ones (Glorot & Bengio 2010), where the authors' code draws all uniformly.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (4, 4)
"""Two poolings of 2x2."""
MNIST_SIZE = (28, 28)
HEAD_STD = 0.05


@dataclass(frozen=True)
class HighwayCifarConfig:
    """A plain convolution to `widths[i]` maps and `depths[i]` highway layers in stage i, then `head_width` maps.

    `dropout` is the share dropped of the images, before the second and third stage and before the last layer;
    `gate_bias` is where the gates' biases start.
    """

    in_channels: int = 3
    num_classes: int = 10
    widths: tuple[int, ...] = (32, 80, 128)
    depths: tuple[int, ...] = (4, 5, 5)
    head_width: int = 100
    dropout: float = 0.2
    gate_bias: float = -2.0

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.widths) != 3 or len(self.depths) != 3 or min(*self.widths, *self.depths, self.head_width) < 1:
            raise InputError(
                f"widths and depths must be three numbers each, and all, with head_width, at least 1, but they are "
                f"{self.widths}, {self.depths} and {self.head_width}"
            )
        check_gate_bias(self.gate_bias)


@dataclass(frozen=True)
class HighwayMnistConfig:
    """`num_layers` layers of `width` units, the first plain, the others highways whose gates start at `gate_bias`."""

    in_channels: int = 1
    num_classes: int = 10
    num_layers: int = 10
    width: int = 50
    gate_bias: float = -1.0

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.num_layers < 1 or self.width < 1:
            raise InputError(f"num_layers and width must be at least 1 but are {self.num_layers} and {self.width}")
        check_gate_bias(self.gate_bias)


class Highway(nn.Module):
    """H(x) T(x) + x (1 - T(x)) (equation 3), whatever `state` and `gate` compute; the shape stays."""

    def __init__(self, state: nn.Conv2d | nn.Linear, gate: nn.Conv2d | nn.Linear, gate_bias: float) -> None:
        super().__init__()
        self.state = state
        self.relu = nn.ReLU()
        self.gate = gate
        self.sigmoid = nn.Sigmoid()
        nn.init.kaiming_normal_(state.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(gate.weight)
        nn.init.zeros_(state.get_parameter("bias"))
        nn.init.constant_(gate.get_parameter("bias"), gate_bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, C, H, W) or features (N, D) -> the same shape, between changed and carried through."""
        gate = self.sigmoid(self.gate(inputs))
        return self.relu(self.state(inputs)) * gate + inputs * (1 - gate)


class HighwayCifar(nn.Module):
    """Three stages of convolutional highways, halved between, average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: HighwayCifarConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout1 = nn.Dropout(config.dropout)
        self.stage1 = make_stage(config.in_channels, config.widths[0], config.depths[0], config.gate_bias)
        self.pool1 = nn.MaxPool2d(2)
        self.dropout2 = nn.Dropout(config.dropout)
        self.stage2 = make_stage(config.widths[0], config.widths[1], config.depths[1], config.gate_bias)
        self.pool2 = nn.MaxPool2d(2)
        self.dropout3 = nn.Dropout(config.dropout)
        self.stage3 = make_stage(config.widths[1], config.widths[2], config.depths[2], config.gate_bias)
        self.conv = nn.Conv2d(config.widths[2], config.head_width, 1)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout4 = nn.Dropout(config.dropout)
        self.fc = nn.Linear(config.head_width, config.num_classes)
        draw_plain(self.conv)
        draw_head(self.fc)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this highway network")
        maps = self.pool1(self.stage1(self.dropout1(images)))
        maps = self.pool2(self.stage2(self.dropout2(maps)))
        maps = self.relu(self.conv(self.stage3(self.dropout3(maps))))
        return self.fc(self.dropout4(self.avgpool(maps).flatten(1)))


class HighwayMnist(nn.Module):
    """A deep, thin multilayer perceptron: images (N, C, 28, 28) -> logits (N, K)."""

    def __init__(self, config: HighwayMnistConfig) -> None:
        super().__init__()
        self.config = config
        height, width = MNIST_SIZE
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(config.in_channels * height * width, config.width)
        self.relu = nn.ReLU()
        self.highways = nn.Sequential(
            *(
                Highway(nn.Linear(config.width, config.width), nn.Linear(config.width, config.width), config.gate_bias)
                for _ in range(config.num_layers - 1)
            )
        )
        self.fc2 = nn.Linear(config.width, config.num_classes)
        draw_plain(self.fc1)
        draw_head(self.fc2)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, MNIST_SIZE, is_fixed_size=True, network="highway_mnist")
        return self.fc2(self.highways(self.relu(self.fc1(self.flatten(images)))))


def make_stage(in_channels: int, width: int, depth: int, gate_bias: float) -> nn.Sequential:
    """A plain, rectified 3x3 convolution and `depth` highways: (N, C, H, W) -> (N, width, H, W)."""
    conv = conv3x3(in_channels, width)
    draw_plain(conv)
    highways = (Highway(conv3x3(width, width), conv3x3(width, width), gate_bias) for _ in range(depth))
    return nn.Sequential(conv, nn.ReLU(), *highways)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A padded 3x3 convolution with biases."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def draw_plain(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw a rectified layer's weights (He et al., eq. 10), in place; biases zero."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.get_parameter("bias"))


def draw_head(layer: nn.Linear) -> None:
    """Draw small weights, so that training starts from even odds, in place; biases zero."""
    nn.init.normal_(layer.weight, std=HEAD_STD)
    nn.init.zeros_(layer.bias)


def check_gate_bias(gate_bias: float) -> None:
    """Raise InputError unless the gates start nearly shut: the paper takes biases from -10 to -1."""
    if not -10 <= gate_bias < 0:
        raise InputError(f"gate_bias must lie in [-10, 0), so that gates start nearly shut, but is {gate_bias!r}")


_TITLE = "Training Very Deep Networks"
_PAPER = "arXiv:1507.06228"

ENTRIES = (
    Entry(
        name="highway_mnist", family="highway", year=2015, title=_TITLE, paper=_PAPER, build=HighwayMnist,
        config=HighwayMnistConfig(), input_size=(1, *MNIST_SIZE), num_params=85_660, macs=84_700, stem="fc1",
        head="fc2", min_size=MNIST_SIZE, is_fixed_size=True,
    ),
    Entry(
        name="highway19_cifar", family="highway", year=2015, title=_TITLE, paper=_PAPER, build=HighwayCifar,
        config=HighwayCifarConfig(), input_size=(3, 32, 32), num_params=2_256_838, macs=330_826_728, stem="stage1.0",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.076, source="arXiv:1507.06228, Table 3, best of five, with augmentation"),
    ),
)  # fmt: skip
