"""LeNets for handwritten digits, as they were and as they are trained today. N images, C channels, K classes.

`lenet1` is the network of LeCun et al. 1989 (Handwritten Digit Recognition with a Back-Propagation Network, NIPS 2),
called LeNet-1 in the paper of 1998. Its form here is that paper's own: 2,578 parameters, 98,442 connections, a table of
which maps see which (Table 1). Forms with other counts go by the same name: the network for zip codes of the same year
(16x16 pixels, 9,760 parameters), and later ones whose second convolution sees everything.

`lenet5_1998` is LeNet-5 as
LeCun, Bottou, Bengio & Haffner 1998 (doi:10.1109/5.726791) print it in section II.B: 60,000 trained parameters, 340,908
connections.

`lenet5` and `lenet_300_100` are what is trained under these names now. `lenet5_caffe` is the form that papers on
compression call LeNet-5, from Caffe's example for MNIST: 431,080 parameters, most of them in one dense layer, and no
activation between convolutions.

Departures of the first two: cross-entropy on logits, where the 1989 paper has squared errors of ten more squashed
units. In 1998 outputs are squared distances from fixed codes; here they are negated, and cross-entropy of them is
equation 9 without its constant j, the distance of a class for rubbish. Pictures of the digits are drawn anew
(lenet_codes.py). All parameters, biases and gains too, are drawn uniformly within 2.4 / fan in, as appendix A of the
1998 paper has it for weights.

Departures of `lenet5` and `lenet_300_100`: ReLU instead of scaled tanh; 2x2 max pooling instead of sums with a trained
gain and bias; every map of the second convolution sees all six maps before it (the paper leaves some out, Table I); a
linear last layer with cross-entropy instead of radial basis functions. Weights are drawn as He et al. 2015
(arXiv:1502.01852) for ReLU, small ones in the last layer; biases start at zero.

Everywhere inputs are larger than 0, strokes bright, as the data sets have them.
"""

from dataclasses import dataclass
from itertools import chain, groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.families.lenet_codes import CODE_SIZE, make_codes

LENET1_SIZE = (28, 28)
LENET5_SIZE = (32, 32)
LENET_300_100_SIZE = (28, 28)
LENET5_CAFFE_SIZE = (28, 28)

Table = tuple[tuple[int, ...], ...]
"""For each map of a layer, which maps before it it sees."""
LENET1_TABLE: Table = (
    (0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1), (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3),
)  # fmt: skip
LENET5_TABLE: Table = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


@dataclass(frozen=True)
class LeNetConfig:
    """Channels in, classes out; everything else is the paper's."""

    in_channels: int = 1
    num_classes: int = 10

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x / 3), which leaves -1 and 1 where they are (1998, appendix A)."""

    def forward(self, sums: Tensor) -> Tensor:
        """Any shape -> the same shape, within 1.7159 of zero."""
        return 1.7159 * torch.tanh(2 / 3 * sums)


class Subsampling(nn.Module):
    """Sums over 2x2 pixels times a trained gain plus a trained bias a map: (N, C, H, W) -> (N, C, H / 2, W / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H // 2, W // 2)."""
        sums = F.avg_pool2d(maps, 2, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConv2d(nn.Module):
    """A convolution whose map i sees the maps `table[i]` only: (N, C, H, W) -> (N, len(table), H - F + 1, W - F + 1).

    Neighbouring maps that see equally many make one convolution, whose groups are the maps.
    """

    def __init__(self, table: Table, kernel_size: int) -> None:
        super().__init__()
        runs = [list(run) for _, run in groupby(table, key=len)]
        self.inputs = [list(chain.from_iterable(run)) for run in runs]
        self.parts = nn.ModuleList(
            nn.Conv2d(len(seen), len(run), kernel_size, groups=len(run))
            for seen, run in zip(self.inputs, runs, strict=True)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) -> the table's maps in its order."""
        pairs = zip(self.parts, self.inputs, strict=True)
        return torch.cat([part(maps[:, seen]) for part, seen in pairs], dim=1)


class RadialBasis(nn.Module):
    """Negated squared distances from fixed codes (1998, equation 7): features (N, D) -> logits (N, K) below 0."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(codes.shape), requires_grad=False)
        with torch.no_grad():
            self.weight.copy_(codes)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        return -(features[:, None] - self.weight).square().sum(dim=2)


class LeNet1(nn.Module):
    """Two convolutions, each followed by subsampling, and a linear layer (1989): (N, C, 28, 28) -> logits (N, K)."""

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.h1 = nn.Conv2d(config.in_channels, 4, 5)
        self.tanh1 = ScaledTanh()
        self.h2 = Subsampling(4)
        self.tanh2 = ScaledTanh()
        self.h3 = PartialConv2d(LENET1_TABLE, 5)
        self.tanh3 = ScaledTanh()
        self.h4 = Subsampling(12)
        self.tanh4 = ScaledTanh()
        self.flatten = nn.Flatten()
        self.output = nn.Linear(12 * 4 * 4, config.num_classes)
        draw_for_tanh(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET1_SIZE, is_fixed_size=True, network="lenet1")
        maps = self.tanh1(self.h1(images))  # (N, 4, 24, 24)
        maps = self.tanh2(self.h2(maps))  # (N, 4, 12, 12)
        maps = self.tanh3(self.h3(maps))  # (N, 12, 8, 8)
        maps = self.tanh4(self.h4(maps))  # (N, 12, 4, 4)
        return self.output(self.flatten(maps))


class LeNet51998(nn.Module):
    """LeNet-5 with everything that is left out of it today (1998, section II.B): (N, C, 32, 32) -> logits (N, K).

    Distances grow with the square of what the features do, so that it needs a tenth of the rate that `lenet5` can bear.
    """

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.c1 = nn.Conv2d(config.in_channels, 6, 5)
        self.tanh1 = ScaledTanh()
        self.s2 = Subsampling(6)
        self.tanh2 = ScaledTanh()
        self.c3 = PartialConv2d(LENET5_TABLE, 5)
        self.tanh3 = ScaledTanh()
        self.s4 = Subsampling(16)
        self.tanh4 = ScaledTanh()
        self.c5 = nn.Conv2d(16, 120, 5)
        self.tanh5 = ScaledTanh()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, CODE_SIZE)
        self.tanh6 = ScaledTanh()
        self.output = RadialBasis(make_codes(config.num_classes))
        draw_for_tanh(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) -> logits (N, K), never above 0; InputError for any other size."""
        check_images(images, self.config.in_channels, LENET5_SIZE, is_fixed_size=True, network="lenet5_1998")
        maps = self.tanh1(self.c1(images))  # (N, 6, 28, 28)
        maps = self.tanh2(self.s2(maps))  # (N, 6, 14, 14)
        maps = self.tanh3(self.c3(maps))  # (N, 16, 10, 10)
        maps = self.tanh4(self.s4(maps))  # (N, 16, 5, 5)
        features = self.flatten(self.tanh5(self.c5(maps)))  # (N, 120)
        return self.output(self.tanh6(self.f6(features)))


class LeNet5(nn.Module):
    """Three convolutions and two linear layers (1998, figure 2, simplified): (N, C, 32, 32) -> logits (N, K)."""

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(config.in_channels, 6, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.relu3 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc2 = nn.Linear(84, config.num_classes)
        draw_he_normal(self, heads=(self.fc2,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET5_SIZE, is_fixed_size=True, network="lenet5")
        maps = self.pool1(self.relu1(self.conv1(images)))  # (N, 6, 14, 14)
        maps = self.pool2(self.relu2(self.conv2(maps)))  # (N, 16, 5, 5)
        features = self.flatten(self.relu3(self.conv3(maps)))  # (N, 120)
        return self.fc2(self.relu4(self.fc1(features)))


class LeNet300100(nn.Module):
    """A perceptron with 300 and 100 hidden units (1998, section III.C.4): (N, C, 28, 28) -> logits (N, K)."""

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        height, width = LENET_300_100_SIZE
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(config.in_channels * height * width, 300)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(300, 100)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(100, config.num_classes)
        draw_he_normal(self, heads=(self.fc3,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET_300_100_SIZE, is_fixed_size=True, network="lenet_300_100")
        hidden = self.relu1(self.fc1(self.flatten(images)))
        return self.fc3(self.relu2(self.fc2(hidden)))


class LeNet5Caffe(nn.Module):
    """Two convolutions with max pooling and two dense layers (Caffe's examples/mnist/lenet.prototxt): (N, C, 28, 28) ->
    logits (N, K).
    """

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(config.in_channels, 20, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(500, config.num_classes)
        draw_he_normal(self, heads=(self.fc2,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET5_CAFFE_SIZE, is_fixed_size=True, network="lenet5_caffe")
        maps = self.pool1(self.conv1(images))  # (N, 20, 12, 12)
        maps = self.pool2(self.conv2(maps))  # (N, 50, 4, 4)
        return self.fc2(self.relu1(self.fc1(self.flatten(maps))))


def draw_for_tanh(network: nn.Module) -> None:
    """Draw every weight, gain and bias uniformly within 2.4 / fan in (1998, appendix A), in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | Subsampling):
            fan_in = 4 if isinstance(module, Subsampling) else module.weight[0].numel()
            for param in module.parameters():
                nn.init.uniform_(param, -2.4 / fan_in, 2.4 / fan_in)


_TITLE = "Gradient-Based Learning Applied to Document Recognition"
_PAPER = "doi:10.1109/5.726791"

ENTRIES = (
    Entry(
        name="lenet1", family="lenet", year=1989,
        title="Handwritten Digit Recognition with a Back-Propagation Network", paper="NIPS 2 (1989), pages 396-404",
        build=LeNet1, config=LeNetConfig(), input_size=(1, *LENET1_SIZE), num_params=2_578, macs=91_520, stem="h1",
        head="output", min_size=LENET1_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.017, source="doi:10.1109/5.726791, section III.C, MNIST shrunk to 16x16"),
    ),
    Entry(
        name="lenet5_1998", family="lenet", year=1998, title=_TITLE, paper=_PAPER, build=LeNet51998,
        config=LeNetConfig(), input_size=(1, *LENET5_SIZE), num_params=60_840, macs=325_680, stem="c1", head="output",
        min_size=LENET5_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.0095, source="the paper, section III.B, MNIST without distortions"),
    ),
    Entry(
        name="lenet5", family="lenet", year=1998, title=_TITLE, paper=_PAPER, build=LeNet5,
        config=LeNetConfig(), input_size=(1, *LENET5_SIZE), num_params=61_706, macs=416_520, stem="conv1", head="fc2",
        min_size=LENET5_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.0095, source="the paper, section III.B, MNIST without distortions"),
    ),
    Entry(
        name="lenet_300_100", family="lenet", year=1998, title=_TITLE, paper=_PAPER, build=LeNet300100,
        config=LeNetConfig(), input_size=(1, *LENET_300_100_SIZE), num_params=266_610, macs=266_200, stem="fc1",
        head="fc3",
        min_size=LENET_300_100_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.0305, source="the paper, section III.C.4, MNIST without distortions"),
    ),
    Entry(
        name="lenet5_caffe", family="lenet", year=1998, title=_TITLE, paper=_PAPER, build=LeNet5Caffe,
        config=LeNetConfig(), input_size=(1, *LENET5_CAFFE_SIZE), num_params=431_080, macs=2_293_000, stem="conv1",
        head="fc2", min_size=LENET5_CAFFE_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.008, source="arXiv:1510.00149, Table 1, the network before compression"),
    ),
)  # fmt: skip
