"""VGG networks (Simonyan & Zisserman 2014, arXiv:1409.1556). N images, C channels, K classes.

`vgg11`, `vgg13`, `vgg16` and `vgg19` are the columns A, B, D and E of Table 1, `vgg11_lrn` and `vgg16_c` its A-LRN and
C. Layout, parameter names and initialisation are torchvision's, so that its published weights load.

Departures: an image of another size than 224x224 is averaged to 7x7 before the first linear layer, as in torchvision,
where the paper applies the linear layers at every place and averages their answers. First weights are He's (by fan
out) in convolutions; the paper starts the deeper networks from a trained A. The `_bn` forms, with batch norm after
every convolution, are later than the paper. `vgg16_bn_cifar` is no network of the paper either: it is the usual form
for 32x32 images, its convolutions followed by one linear layer. torchvision's file of features alone, without a
classifier, is not among the weights.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.dense_classifier import dense_classifier
from striate.layers.local_response_norm import local_response_norm
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

Filters = tuple[tuple[int, ...], ...]
"""For each stage, which ends in a pooling, the filter sizes of its convolutions."""
Norm = Literal["none", "response", "batch"]
"""Nothing, response normalisation after the first convolution alone, or batch norm after each."""

A: Filters = ((3,), (3,), (3, 3), (3, 3), (3, 3))
B: Filters = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
C: Filters = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
D: Filters = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
E: Filters = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))
WIDTHS = (64, 128, 256, 512, 512)
MIN_SIZE = (32, 32)
"""Halved five times, one pixel is left."""


@dataclass(frozen=True)
class VGGConfig:
    """A column of Table 1: filter sizes and maps of every stage, the norm, and what the linear layers are like."""

    in_channels: int = 3
    num_classes: int = 1000
    filters: Filters = D
    widths: tuple[int, ...] = WIDTHS
    norm: Norm = "none"
    hidden_width: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        check_stages(self.filters, self.widths)
        if self.norm not in ("none", "response", "batch"):
            raise InputError(f"norm must be 'none', 'response' or 'batch' but is {self.norm!r}")
        if self.hidden_width < 1:
            raise InputError(f"hidden_width must be at least 1 but is {self.hidden_width}")


@dataclass(frozen=True)
class CifarVGGConfig:
    """For 32x32 images: filter sizes and maps of every stage, batch norm throughout."""

    in_channels: int = 3
    num_classes: int = 10
    filters: Filters = D
    widths: tuple[int, ...] = WIDTHS

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_stages(self.filters, self.widths)


def check_stages(filters: Filters, widths: tuple[int, ...]) -> None:
    """Raise InputError unless there are as many widths as stages, and filters of odd sizes in each."""
    if not filters or len(filters) != len(widths) or min(widths) < 1:
        raise InputError(f"filters {filters} and widths {widths} must pair up, each width at least 1")
    if any(not stage or any(size < 1 or size % 2 == 0 for size in stage) for stage in filters):
        raise InputError(f"every stage needs filters of odd sizes but filters are {filters}")


class VGG(nn.Module):
    """Stages of convolutions, averages of 7x7 places, linear layers: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        self.config = config
        self.features = make_features(config.in_channels, config.filters, config.widths, config.norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = dense_classifier(
            config.widths[-1] * 7 * 7, config.num_classes, hidden_width=config.hidden_width, dropout=config.dropout
        )
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K); InputError where nothing would be left after the last pooling."""
        check_images(images, self.config.in_channels, smallest_size(self.config.filters), network="this VGG")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


class CifarVGG(nn.Module):
    """Stages with batch norm, global average, one linear layer: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: CifarVGGConfig) -> None:
        super().__init__()
        self.config = config
        self.features = make_features(config.in_channels, config.filters, config.widths, "batch")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(config.widths[-1], config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K); InputError where nothing would be left after the last pooling."""
        check_images(images, self.config.in_channels, smallest_size(self.config.filters), network="this VGG")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def make_features(in_channels: int, filters: Filters, widths: tuple[int, ...], norm: Norm) -> nn.Sequential:
    """Every stage halves the image: (N, C, H, W) -> (N, last width, H / 2**stages, W / 2**stages), rounded down."""
    layers: list[nn.Module] = []
    for width, kernel_sizes in zip(widths, filters, strict=True):
        for kernel_size in kernel_sizes:
            is_first = not layers
            layers.append(nn.Conv2d(in_channels, width, kernel_size, padding=kernel_size // 2))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            if norm == "response" and is_first:
                layers.append(local_response_norm())
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def smallest_size(filters: Filters) -> tuple[int, int]:
    """Height and width of which one pixel is left after every stage has halved them."""
    return 2 ** len(filters), 2 ** len(filters)


def draw_weights(network: nn.Module) -> None:
    """Draw as torchvision does, in place: convolutions by He's rule, linear layers of deviation 0.01, biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


_TITLE = "Very Deep Convolutional Networks for Large-Scale Image Recognition"
_PAPER = "arXiv:1409.1556"


def _published(top1_error: float, top5_error: float, scales: str) -> Published:
    """A row of Table 3: one network, one scale in testing."""
    return Published(f"arXiv:1409.1556, Table 3, {scales}", top1_error=top1_error, top5_error=top5_error)


_AT_256 = "trained and tested at 256"
_JITTERED = "trained at [256, 512], tested at 384"

ENTRIES = (
    Entry(
        name="vgg11", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG, config=VGGConfig(filters=A),
        input_size=(3, 224, 224), num_params=132_863_336, macs=7_609_090_048, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.296, 0.104, _AT_256),
        weights=(imagenet_weights("vgg11-8a719046.pth", size_mib=506.840, top1=0.69020, top5=0.88628),),
    ),
    Entry(
        name="vgg11_lrn", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG,
        config=VGGConfig(filters=A, norm="response"),
        input_size=(3, 224, 224), num_params=132_863_336, macs=7_609_090_048, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.297, 0.105, _AT_256),
    ),
    Entry(
        name="vgg11_bn", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG,
        config=VGGConfig(filters=A, norm="batch"),
        input_size=(3, 224, 224), num_params=132_868_840, macs=7_609_090_048, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE,
        weights=(imagenet_weights("vgg11_bn-6002323d.pth", size_mib=506.881, top1=0.70370, top5=0.89810),),
    ),
    Entry(
        name="vgg13", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG, config=VGGConfig(filters=B),
        input_size=(3, 224, 224), num_params=133_047_848, macs=11_308_466_176, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.287, 0.099, _AT_256),
        weights=(imagenet_weights("vgg13-19584684.pth", size_mib=507.545, top1=0.69928, top5=0.89246),),
    ),
    Entry(
        name="vgg13_bn", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG,
        config=VGGConfig(filters=B, norm="batch"),
        input_size=(3, 224, 224), num_params=133_053_736, macs=11_308_466_176, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE,
        weights=(imagenet_weights("vgg13_bn-abd245e5.pth", size_mib=507.590, top1=0.71586, top5=0.90374),),
    ),
    Entry(
        name="vgg16_c", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG, config=VGGConfig(filters=C),
        input_size=(3, 224, 224), num_params=133_638_952, macs=11_770_888_192, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.273, 0.088, _JITTERED),
    ),
    Entry(
        name="vgg16", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG, config=VGGConfig(filters=D),
        input_size=(3, 224, 224), num_params=138_357_544, macs=15_470_264_320, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.256, 0.081, _JITTERED),
        weights=(imagenet_weights("vgg16-397923af.pth", size_mib=527.796, top1=0.71592, top5=0.90382),),
    ),
    Entry(
        name="vgg16_bn", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG,
        config=VGGConfig(filters=D, norm="batch"),
        input_size=(3, 224, 224), num_params=138_365_992, macs=15_470_264_320, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE,
        weights=(imagenet_weights("vgg16_bn-6c64b313.pth", size_mib=527.866, top1=0.73360, top5=0.91516),),
    ),
    Entry(
        name="vgg19", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG, config=VGGConfig(filters=E),
        input_size=(3, 224, 224), num_params=143_667_240, macs=19_632_062_464, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE, published=_published(0.255, 0.080, _JITTERED),
        weights=(imagenet_weights("vgg19-dcbb9e9d.pth", size_mib=548.051, top1=0.72376, top5=0.90876),),
    ),
    Entry(
        name="vgg19_bn", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=VGG,
        config=VGGConfig(filters=E, norm="batch"),
        input_size=(3, 224, 224), num_params=143_678_248, macs=19_632_062_464, stem="features.0", head="classifier.6",
        min_size=MIN_SIZE,
        weights=(imagenet_weights("vgg19_bn-c79401a0.pth", size_mib=548.143, top1=0.74218, top5=0.91842),),
    ),
    Entry(
        name="vgg16_bn_cifar", family="vgg", year=2014, title=_TITLE, paper=_PAPER, build=CifarVGG,
        config=CifarVGGConfig(), input_size=(3, 32, 32), num_params=14_728_266, macs=313_201_664,
        stem="features.0", head="classifier", min_size=MIN_SIZE,
    ),
)  # fmt: skip
