"""AlexNet in three forms. N images, C channels, K classes.

`alexnet_two_towers` is the network of Krizhevsky, Sutskever & Hinton 2012 (doi:10.1145/3065386): halves that see each
other only in the third convolution and the linear layers, local response normalisation, overlapping pooling.
`alexnet` is Krizhevsky's one-tower form of 2014 (arXiv:1404.5997), with torchvision's layout, parameter names and
initialisation. `alexnet_small` is a form for 32x32 images used in teaching, without a paper of its own.

Departures: the 2012 paper says 224x224, from which its 55x55 first maps do not follow; 227x227 without padding gives
them. Its regrouping into towers is `groups=2`. torchvision's `alexnet` has 64, 192, 384, 256, 256 maps (the 2014 paper
has 64, 192, 384, 384, 256) and no response normalisation, and drops what enters the two hidden layers where the
paper drops what leaves them.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.layers.dense_classifier import dense_classifier
from striate.layers.local_response_norm import local_response_norm
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (63, 63)
TWO_TOWERS_SIZE = (227, 227)
SMALL_SIZE = (32, 32)


@dataclass(frozen=True)
class AlexNetConfig:
    """Channels in, classes out, and the share of activations dropped around the hidden linear layers."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)


class AlexNet(nn.Module):
    """One tower, torchvision's layout: images (N, C, H, W) of at least 63x63 -> logits (N, K)."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(
            nn.Conv2d(config.in_channels, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = hidden_layers(256 * 6 * 6, config)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K); InputError below 63x63."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="alexnet")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


class AlexNetTwoTowers(nn.Module):
    """The 2012 network (section 3.5): images (N, C, 227, 227) -> logits (N, K)."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(
            nn.Conv2d(config.in_channels, 96, 11, stride=4), nn.ReLU(), local_response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), local_response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        )  # fmt: skip
        self.classifier = dense_classifier(256 * 6 * 6, config.num_classes, dropout=config.dropout)
        draw_as_2012(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 227, 227) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, TWO_TOWERS_SIZE, is_fixed_size=True, network="alexnet_two_towers")
        return self.classifier(self.features(images).flatten(1))


class AlexNetSmall(nn.Module):
    """AlexNet's plan with small filters: images (N, C, 32, 32) -> logits (N, K)."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(
            nn.Conv2d(config.in_channels, 64, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = hidden_layers(256 * 2 * 2, config)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, SMALL_SIZE, is_fixed_size=True, network="alexnet_small")
        return self.classifier(self.features(images).flatten(1))


def hidden_layers(num_features: int, config: AlexNetConfig) -> nn.Sequential:
    """Two hidden layers of 4096 units with dropout before each, then the classes: (N, num_features) -> (N, K)."""
    return nn.Sequential(
        nn.Dropout(config.dropout), nn.Linear(num_features, 4096), nn.ReLU(),
        nn.Dropout(config.dropout), nn.Linear(4096, 4096), nn.ReLU(),
        nn.Linear(4096, config.num_classes),
    )  # fmt: skip


def draw_as_2012(network: AlexNetTwoTowers) -> None:
    """Section 5, in place: weights normal with deviation 0.01; biases 1 where ReLUs are to start awake, else 0."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    starts_awake = (False, True, False, True, True, True, True, False)  # conv1..conv5, two hidden layers, the classes
    for layer, is_awake in zip(layers, starts_awake, strict=True):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, 1.0 if is_awake else 0.0)


ENTRIES = (
    Entry(
        name="alexnet", family="alexnet", year=2014,
        title="One weird trick for parallelizing convolutional neural networks",
        paper="arXiv:1404.5997", build=AlexNet, config=AlexNetConfig(), input_size=(3, 224, 224),
        num_params=61_100_840, macs=714_188_480, stem="features.0", head="classifier.6", min_size=MIN_SIZE,
        weights=(imagenet_weights("alexnet-owt-7be5be79.pth", size_mib=233.087, top1=0.56522, top5=0.79066),),
    ),
    Entry(
        name="alexnet_two_towers", family="alexnet", year=2012,
        title="ImageNet Classification with Deep Convolutional Neural Networks", paper="doi:10.1145/3065386",
        build=AlexNetTwoTowers, config=AlexNetConfig(), input_size=(3, *TWO_TOWERS_SIZE),
        num_params=60_965_224, macs=724_406_816, stem="features.0", head="classifier.6",
        min_size=TWO_TOWERS_SIZE, is_fixed_size=True,
        published=Published(top1_error=0.407, top5_error=0.182, source="the paper, Table 2, one network, ten crops"),
    ),
    Entry(
        name="alexnet_small", family="alexnet", year=2012,
        title="AlexNet for 32x32 images, a teaching form of the network of 2012", paper="doi:10.1145/3065386",
        build=AlexNetSmall, config=AlexNetConfig(num_classes=10), input_size=(3, *SMALL_SIZE),
        num_params=23_272_266, macs=62_742_528, stem="features.0", head="classifier.6",
        min_size=SMALL_SIZE, is_fixed_size=True,
    ),
)  # fmt: skip
