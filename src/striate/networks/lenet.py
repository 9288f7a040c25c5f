"""LeNet-5 and LeNet-300-100 for handwritten digits (LeCun, Bottou, Bengio & Haffner 1998, doi:10.1109/5.726791).

N images, C channels, K classes.

Departures, all of them what is trained under these names today: ReLU instead of scaled tanh; 2x2 max pooling instead
of averages with a trained gain and bias; every map of the second convolution sees all six maps before it (the paper
leaves some out, Table I); a linear last layer with cross-entropy instead of radial basis functions. Weights are drawn
as He et al. 2015 (arXiv:1502.01852) for ReLU, small ones in the last layer; biases start at zero. Inputs are larger
than 0, strokes bright, as the data sets have them.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

LENET5_SIZE = (32, 32)
LENET_300_100_SIZE = (28, 28)
HEAD_STD = 0.01


@dataclass(frozen=True)
class LeNetConfig:
    """Channels in, classes out; everything else is the paper's."""

    in_channels: int = 1
    num_classes: int = 10

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class LeNet5(nn.Module):
    """Three convolutions and two linear layers (section II.B, figure 2): (N, C, 32, 32) -> logits (N, K)."""

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
        draw_for_relu(self, head=self.fc2)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET5_SIZE, is_fixed_size=True, network="lenet5")
        maps = self.pool1(self.relu1(self.conv1(images)))  # (N, 6, 14, 14)
        maps = self.pool2(self.relu2(self.conv2(maps)))  # (N, 16, 5, 5)
        features = self.flatten(self.relu3(self.conv3(maps)))  # (N, 120)
        return self.fc2(self.relu4(self.fc1(features)))


class LeNet300100(nn.Module):
    """A multilayer perceptron with 300 and 100 hidden units (section III.C.4): (N, C, 28, 28) -> logits (N, K)."""

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
        draw_for_relu(self, head=self.fc3)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 28, 28) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, LENET_300_100_SIZE, is_fixed_size=True, network="lenet_300_100")
        hidden = self.relu1(self.fc1(self.flatten(images)))
        return self.fc3(self.relu2(self.fc2(hidden)))


def draw_for_relu(network: nn.Module, *, head: nn.Linear) -> None:
    """Draw weights for ReLU (He et al., eq. 10: normal, variance 2 / fan in) and set biases to zero, in place.

    The head's are small, so that training starts from even odds and not from confident mistakes.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if module is head:
                nn.init.normal_(module.weight, std=HEAD_STD)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


_TITLE = "Gradient-Based Learning Applied to Document Recognition"
_PAPER = "doi:10.1109/5.726791"

ENTRIES = (
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
)  # fmt: skip
